//! Managers that agree: growing, shrinking, losing a leader, partitions.

#![expect(clippy::unwrap_used, reason = "clippy takes the helpers of an integration test for a program")]
#![expect(clippy::panic, reason = "clippy takes the helpers of an integration test for a program")]

mod clocks;
mod epochs;
mod world;

use std::time::Duration;

use festoon_cluster::{ProposeError, Role};
use festoon_control::registry::{Command, Outcome};
use festoon_proto::{EpochId, ManagerId};
use redb::Database;
use tokio::task::JoinSet;
use tokio::time::Instant;

use world::{World, insist, member, network, stranger, until};

#[tokio::test(start_paused = true)]
async fn a_cluster_grows_and_every_manager_takes_changes() {
    let world = World::of(5).await;
    for number in 1..=5 {
        let made = world.get(number.into()).propose(network(number)).await;
        assert!(matches!(made, Ok(Outcome::Network(_))), "{made:?}");
        assert!(world.get(number.into()).snapshot().network_named(&format!("n{number}")).is_some());
    }
    until("all have all", || (1..=5).all(|number| world.get(number).snapshot().networks().count() == 5)).await;
    let health = world.get(world.leader().await).health();
    assert_eq!((health.role, health.quorum(), health.spare()), (Role::Leader, 3, Some(2)));
    let again = world.get(3).propose(network(3)).await;
    assert!(matches!(again, Err(ProposeError::Refused(_))), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_is_lost_another_takes_changes_soon() {
    let world = World::of(3).await;
    let leader = world.leader().await;
    let other = world.get(leader % 3 + 1);
    other.propose(network(1)).await.unwrap();
    world.kill(leader).await;
    let gap = insist(&other, network(2)).await;
    assert!(gap < Duration::from_millis(1500), "{gap:?}");
    assert_eq!(other.snapshot().networks().count(), 2);
}

/// A vote has less time than it takes to connect.
#[tokio::test(start_paused = true)]
async fn between_continents_another_leads_though_no_connection_is_left() {
    let world = World::of(3).await;
    world.net.set_latency(Duration::from_millis(150));
    let leader = world.leader().await;
    let other = world.get(leader % 3 + 1);
    world.kill(leader).await;
    world.net.disconnect();
    let gap = insist(&other, network(1)).await;
    assert!(gap < Duration::from_secs(5), "{gap:?}");
}

#[tokio::test(start_paused = true)]
async fn the_smaller_side_of_a_partition_reads_on_and_refuses_changes() {
    let world = World::of(3).await;
    let leader = world.leader().await;
    world.get(leader).propose(network(1)).await.unwrap();
    world.isolate(&[leader]);
    let begin = Instant::now();
    let refused = world.get(leader).propose(network(2)).await;
    assert!(begin.elapsed() <= Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(matches!(refused, Err(ProposeError::NoQuorum { needed: 2, voters: 3, is_uncertain: true })), "{refused:?}");
    assert_eq!(world.get(leader).snapshot().networks().count(), 1);
    let other = world.get(leader % 3 + 1);
    insist(&other, network(3)).await;
    world.heal();
    // What it had proposed and never heard of is gone, and what the others did is there.
    until("it catches up", || world.get(leader).snapshot().network_named("n3").is_some()).await;
    assert!(world.get(leader).snapshot().network_named("n2").is_none());
}

/// Otherwise it would carry traffic as its own log says until as many changes have come, and keep alive whom they remove.
#[tokio::test(start_paused = true)]
async fn what_a_manager_begins_with_is_settled_though_its_own_changes_do_not_count() {
    let disk = tempfile::NamedTempFile::new().unwrap();
    let mut world = World::new_on(Database::create(disk.path()).unwrap()).await;
    world.join(2).await;
    world.join(3).await;
    world.settle(1..=3).await;
    assert_eq!(world.leader().await, 1);
    world.isolate(&[1]);
    for number in 1..=5 {
        let refused = world.get(1).propose(network(number)).await;
        assert!(matches!(refused, Err(ProposeError::NoQuorum { .. })), "{refused:?}");
    }
    world.kill(1).await;
    world.leader().await;
    world.heal();
    let mut database = None;
    until("its disk is let go", || {
        database = Database::create(disk.path()).ok();
        database.is_some()
    })
    .await;
    let again = world.start_on(database.unwrap(), member(1, 0), EpochId::FIRST).await;
    let begun_with = again.begun_with();
    assert_eq!(begun_with.networks().count(), 5, "they stand in its log");
    let settled = tokio::time::timeout(Duration::from_secs(10), again.applied(begun_with.version())).await;
    assert!(settled.is_ok(), "nothing else is to come");
    assert_eq!(again.snapshot().networks().count(), 0, "and nobody acknowledged them");
}

#[tokio::test(start_paused = true)]
async fn two_managers_change_nothing_alone() {
    let world = World::of(2).await;
    let leader = world.leader().await;
    let other = leader % 2 + 1;
    world.kill(leader).await;
    let refused = world.get(other).propose(network(1)).await;
    assert!(matches!(refused, Err(ProposeError::NoQuorum { needed: 2, voters: 2, .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_shrinks_to_one_even_by_its_leader() {
    let world = World::of(3).await;
    let mut left: Vec<u16> = vec![1, 2, 3];
    while left.len() > 1 {
        let leader = world.leader().await;
        let remaining: Vec<u16> = left.iter().copied().filter(|&number| number != leader).collect();
        insist(&world.get(remaining[0]), Command::RemoveManager(ManagerId(leader))).await;
        world.settle(remaining.iter().copied()).await;
        world.kill(leader).await;
        left = remaining;
        insist(&world.get(left[0]), network(left.len() as u8)).await;
    }
    assert_eq!(world.get(left[0]).snapshot().managers().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_silent_keeps_nobody_from_leaving_or_coming() {
    let mut world = World::of(3).await;
    let leader = world.leader().await;
    let (silent, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    world.isolate(&[silent]);
    world.join(4).await;
    until("the newcomer votes", || {
        world.get(leader).health().members.iter().any(|member| member.id.manager.0 == 4 && member.votes)
    })
    .await;
    world.get(other).propose(Command::RemoveManager(ManagerId(silent))).await.unwrap();
    world.settle([leader, other, 4]).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_needed_is_not_removed_and_whom_to_start_is_named() {
    let world = World::of(3).await;
    let leader = world.leader().await;
    let (silent, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    world.isolate(&[silent]);
    let sees_it = || world.get(leader).health().members.iter().any(|it| it.id.manager.0 == silent && !it.is_heard);
    until("it is missed", sees_it).await;
    let name = |number| world.get(leader).snapshot().manager(ManagerId(number)).unwrap().name.clone();
    for (asked, removed) in [(leader, other), (other, leader), (other, other)] {
        let refused = world.get(asked).propose(Command::RemoveManager(ManagerId(removed))).await;
        let still_needed =
            ProposeError::StillNeeded { manager: name(removed), silent: vec![name(silent)], is_uncertain: false };
        assert_eq!(refused.err(), Some(still_needed));
    }
    assert_eq!(world.leader().await, leader, "nobody was disturbed");
    insist(&world.get(other), Command::RemoveManager(ManagerId(silent))).await;
    insist(&world.get(leader), Command::RemoveManager(ManagerId(other))).await;
    assert_eq!(world.get(leader).snapshot().managers().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_majority_is_not_sent_from_one_lost_manager_to_the_other() {
    let world = World::of(3).await;
    let leader = world.leader().await;
    let lost = [leader % 3 + 1, (leader + 1) % 3 + 1];
    world.isolate(&[leader]);
    let are_missed = || world.get(leader).health().spare().is_none();
    until("they are missed", are_missed).await;
    for removed in lost {
        let refused = world.get(leader).propose(Command::RemoveManager(ManagerId(removed))).await;
        assert!(matches!(refused, Err(ProposeError::NoQuorum { needed: 2, voters: 3, .. })), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn far_away_managers_agree_too() {
    let world = World::of(3).await;
    world.net.set_latency(Duration::from_millis(150));
    for number in 1..=20 {
        let took = insist(&world.get(u16::from(number) % 3 + 1), network(number)).await;
        assert!(took < Duration::from_millis(1800), "{took:?}");
    }
    until("all have all", || (1..=3).all(|number| world.get(number).snapshot().networks().count() == 20)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stranger_writes_nothing_into_the_log() {
    let world = World::of(3).await;
    for latency in [5, 150] {
        world.net.set_latency(Duration::from_millis(latency));
        let leader = world.get(world.leader().await);
        let before = leader.health().last_log;
        for number in 1..=3 {
            let refused = world.get(number).propose(stranger()).await;
            assert!(matches!(refused, Err(ProposeError::Refused(_))), "{latency} ms: {refused:?}");
        }
        let (begin, mut many) = (Instant::now(), JoinSet::new());
        for _ in 0..100 {
            let leader = leader.clone();
            many.spawn(async move { leader.propose(stranger()).await });
        }
        for refused in many.join_all().await {
            assert!(matches!(refused, Err(ProposeError::Refused(_))), "{latency} ms: {refused:?}");
        }
        assert!(begin.elapsed() <= Duration::from_millis(6 * latency + 50), "the others are asked for many at once");
        assert_eq!(leader.health().last_log, before, "{latency} ms");
    }
    let leader = world.leader().await;
    let before = world.get(leader).health().last_log;
    world.isolate(&[leader]);
    let unanswered = world.get(leader).propose(stranger()).await;
    assert!(matches!(unanswered, Err(ProposeError::NoQuorum { .. })), "{unanswered:?}");
    assert_eq!(world.get(leader).health().last_log, before, "nobody says that it leads");
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_was_removed_while_it_was_away_is_told() {
    let mut world = World::of(3).await;
    let leader = world.leader().await;
    let (voter, learner) = (world.get(leader % 3 + 1), world.join(4).await);
    until("the newcomer knows itself", || learner.snapshot().manager(ManagerId(4)).is_some()).await;
    assert_eq!(learner.health().role, Role::Learner, "it has no vote to ask for");
    let away = [leader % 3 + 1, 4];
    for number in away {
        world.isolate(&[number]);
    }
    for number in away {
        insist(&world.get(leader), Command::RemoveManager(ManagerId(number))).await;
    }
    world.settle((1..=3).filter(|number| !away.contains(number))).await;
    world.heal();
    for removed in [voter, learner] {
        tokio::time::timeout(Duration::from_secs(10), removed.removed()).await.expect("it is told");
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_leader_can_be_removed_too() {
    let world = World::of(3).await;
    let leader = world.leader().await;
    let (one, other) = (world.get(leader % 3 + 1), world.get((leader + 1) % 3 + 1));
    let writer = tokio::spawn(async move {
        for number in 0..=u8::MAX {
            insist(&one, network(number)).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    other.propose(Command::RemoveManager(ManagerId(leader))).await.unwrap();
    assert!(!writer.is_finished(), "changes came in all the time");
    writer.abort();
}
