//! A survivor is promoted, and the others are fenced off until they begin anew.

use festoon_cluster::storage::{Execution, Label, next_epoch, seed};
use festoon_cluster::{Cluster, MemberId, ProposeError, Role};
use festoon_control::registry::{Author, UnixMs};
use festoon_proto::epoch::{EpochProof, EpochSigner};
use festoon_proto::{ClusterId, EpochId};
use redb::Database;
use redb::backends::InMemoryBackend;
use tokio::time::Duration;

use super::world::{Wire, World, insist, member, network, renew, signing_key, until};

/// Goes on alone from the copy of `number`.
async fn promote(world: &World, number: u16) -> Cluster<Wire> {
    promote_at(world, member(number, 1), UnixMs(1)).await
}

/// The same as this member, when the clock shows `now`.
async fn promote_at(world: &World, me: MemberId, now: UnixMs) -> Cluster<Wire> {
    let (copy, _) = world.get(me.manager.0).conclude(0).await.unwrap();
    let epoch = copy.state.next_epoch(me.manager, now).unwrap();
    let signer = (EpochSigner::Manager(me.manager), &signing_key(me.manager.0));
    let manager = (me.manager, signing_key(me.manager.0).verifying_key());
    let proof = EpochProof::sign(signer, ClusterId([1; 16]), epoch, copy.state.version(), manager);
    let copy = next_epoch(copy, me, proof, Author::CLUSTER).unwrap();
    let disk = tempfile::NamedTempFile::new().unwrap();
    let open = || Database::create(disk.path()).unwrap();
    let epoch = copy.state.epoch().id();
    let label = Label { cluster: ClusterId([1; 16]), member: me, epoch };
    let (_, no_delay) = tokio::sync::watch::channel(Duration::ZERO);
    seed(open(), Execution::Inline(no_delay), label, copy).await.unwrap();
    world.start_on(open(), me, epoch).await
}

#[tokio::test(start_paused = true)]
async fn a_promoted_survivor_goes_on_and_the_other_is_fenced_off_until_it_begins_anew() {
    let world = World::of(2).await;
    insist(&world.get(1), network(1)).await;
    until("both have it", || world.get(2).snapshot().network_named("n1").is_some()).await;
    world.isolate(&[2]);
    let refused = world.get(1).propose(network(2)).await;
    assert!(matches!(refused, Err(ProposeError::NoQuorum { .. })), "{refused:?}");
    let before = world.get(2).snapshot();
    let promoted = promote(&world, 1).await;
    insist(&promoted, network(3)).await;
    let state = promoted.snapshot();
    assert_eq!(state.epoch().number, 2);
    assert!(state.version().0 > before.version().0 + (1 << 31), "versions that the other may give are left out");
    assert!(state.network_named("n1").is_some() && state.network_named("n3").is_some());
    world.heal();
    let other = world.get(2);
    until("the other is told", || other.health().role == Role::Fenced).await;
    let fenced = other.propose(network(4)).await;
    assert!(
        matches!(fenced, Err(ProposeError::Fenced { ours: EpochId::FIRST, theirs: EpochId { number: 2, .. } })),
        "{fenced:?}"
    );
    assert!(other.snapshot().network_named("n1").is_some(), "it reads on");
    assert!(promoted.propose(network(5)).await.is_ok(), "and disturbs nobody");

    world.kill(2).await;
    renew(&promoted, 2, 1).await;
    let again = world.start_on(
        Database::builder().create_with_backend(InMemoryBackend::new()).unwrap(),
        member(2, 1),
        state.epoch().id(),
    );
    let again = again.await;
    world.settle([1, 2]).await;
    until("it has all", || again.snapshot().network_named("n5").is_some()).await;
    insist(&again, network(6)).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_that_were_promoted_apart_one_is_fenced_off() {
    let world = World::of(2).await;
    world.isolate(&[2]);
    let first = promote(&world, 1).await;
    let second = promote(&world, 2).await;
    insist(&first, network(1)).await;
    insist(&second, network(2)).await;
    world.heal();
    until("one is told", || first.health().role == Role::Fenced).await;
    assert_eq!(second.health().role, Role::Leader, "and the other goes on");
    insist(&second, network(3)).await;
}

#[tokio::test(start_paused = true)]
async fn an_epoch_fences_off_the_one_it_goes_on_from_though_the_clock_has_gone_back() {
    let world = World::of(2).await;
    world.isolate(&[2]);
    let ahead = promote_at(&world, member(1, 1), UnixMs(9_000_000)).await;
    renew(&ahead, 2, 1).await;
    world.kill(2).await;
    world.heal();
    world.start(member(2, 1), ahead.health().epoch).await;
    world.settle([1, 2]).await;
    world.isolate(&[2]);
    let promoted = promote_at(&world, member(2, 2), UnixMs(1)).await;
    insist(&promoted, network(1)).await;
    world.heal();
    until("the one that was left behind is told", || ahead.health().role == Role::Fenced).await;
    insist(&promoted, network(2)).await;
}
