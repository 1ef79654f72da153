//! Members that have the same, and members that do not.

use std::collections::HashMap;

use festoon_control::registry::{
    AddNetwork, Addresses, Bootstrap, Command, CreateToken, FORMAT, JoinManager, ManagerRole, ManagerSpec, TokenPreset,
    UnixMs, apply,
};
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{ClusterId, EpochId, Fingerprint, ManagerId, PublicKey, SigningKey};
use tokio::time::{sleep, timeout};

use super::*;
use crate::storage::{Label, Seed, Storage, seed_members};
use crate::testing::{FaultyDisk, audit_on};
use crate::transport::{CallError, Lane};
use crate::{Cluster, Identity, Settings};

pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);
const EVERY: Duration = Duration::from_secs(1);

/// Everything arrives at once.
#[derive(Clone)]
pub(crate) struct Wire {
    me: ManagerId,
    members: Arc<Mutex<HashMap<ManagerId, Cluster<Wire>>>>,
}

impl Transport for Wire {
    async fn call(&self, to: ManagerId, _: Lane, request: Vec<u8>, _: Duration) -> Result<Vec<u8>, CallError> {
        let member = self.members.lock().unwrap().get(&to).cloned();
        match member {
            Some(member) => Ok(member.answer(self.me, &request).await),
            None => Err(CallError::NotSent("it does not run".to_owned())),
        }
    }
}

pub(crate) fn member(number: u16) -> MemberId {
    MemberId { manager: ManagerId(number), incarnation: 0 }
}

pub(crate) fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32])
}

pub(crate) fn spec(number: u8) -> ManagerSpec {
    ManagerSpec {
        name: format!("m{number}"),
        role: ManagerRole::Full,
        public_key: PublicKey::from_bytes([number; 32]),
        seal_key: None,
        signing_key: signing_key(number).verifying_key(),
        tls_key: Fingerprint([0; 32]),
        underlay: vec![([192, 0, 2, number], 51820).into()],
        https: vec![([192, 0, 2, number], 8443).into()],
        priority: 100,
        format: FORMAT,
    }
}

pub(crate) fn network(name: &str) -> Command {
    let prefixes = vec!["10.0.0.0/8".parse().unwrap()];
    Command::AddNetwork(AddNetwork { name: name.to_owned(), prefixes, mtu: 1360 })
}

/// The registry of two managers, with one network.
fn state(name: &str) -> State {
    state_with(name, spec(2))
}

/// The registry of a full manager and this one, with one network.
pub(crate) fn state_with(name: &str, second: ManagerSpec) -> State {
    let (token, now) = (SecretHash([1; 32]), UnixMs(0));
    let create = CreateToken {
        hash: token,
        kind: TokenKind::Manager,
        network: None,
        addresses: Addresses::NONE,
        preset: TokenPreset { is_for_witness: second.role == ManagerRole::Witness, ..TokenPreset::default() },
        now,
        expires: UnixMs(1000),
    };
    let log = [
        Command::Bootstrap(Bootstrap { cluster: CLUSTER, manager: spec(1) }),
        Command::CreateToken(create),
        Command::JoinManager(JoinManager { token, manager: second, data_key: None, now }),
        network(name),
    ];
    (1..).zip(&log).fold(State::default(), |state, (index, command)| apply(&state, index, command).unwrap().0)
}

/// Two members whose logs are the same, with these registries.
pub(crate) async fn two(registries: [State; 2]) -> [Cluster<Wire>; 2] {
    let members = Arc::default();
    let mut clusters = Vec::new();
    for (number, state) in (1..).zip(registries) {
        let (me, epoch, disk) = (member(number), EpochId::FIRST, FaultyDisk::default());
        let open = || redb::Builder::new().set_cache_size(1 << 20).create_with_backend(disk.backend()).unwrap();
        let inline = || Execution::Inline(watch::channel(Duration::ZERO).1);
        let label = Label { cluster: CLUSTER, member: me, epoch };
        seed_members(open(), inline(), label, [member(1), member(2)].into(), Seed::new(state)).await.unwrap();
        let Storage { log, machine, .. } =
            Storage::open(open(), audit_on(&FaultyDisk::default()), inline()).await.unwrap();
        let wire = Wire { me: me.manager, members: Arc::clone(&members) };
        let settings = Settings { compare_every: EVERY, ..Settings::default() };
        let signing_key = signing_key(me.manager.0 as u8);
        let identity = Identity { me, epoch, later: None, signing_key, introductions: Vec::new(), roster: None };
        let cluster = Cluster::start(settings, identity, log, machine, wire).await.unwrap();
        members.lock().unwrap().insert(me.manager, cluster.clone());
        clusters.push(cluster);
    }
    let [first, second] = &clusters[..] else { unreachable!() };
    [first.clone(), second.clone()]
}

fn differs(cluster: &Cluster<Wire>) -> bool {
    cluster.health().members.iter().any(|member| member.differs)
}

#[tokio::test(start_paused = true)]
async fn two_that_have_another_registry_both_notice() {
    let both = two([state("a"), state("b")]).await;
    let noticed = async {
        while !both.iter().all(differs) {
            sleep(EVERY).await;
        }
    };
    timeout(EVERY * 60, noticed).await.expect("they notice");
}

#[tokio::test(start_paused = true)]
async fn two_that_have_the_same_are_never_told_apart() {
    let both = two([state("a"), state("a")]).await;
    for number in 0..ROUND + 10 {
        while both[0].propose(network(&format!("n{number}"))).await.is_err() {}
        assert!(!both.iter().any(differs), "after {number} changes");
    }
    sleep(EVERY * 10).await;
    assert!(!both.iter().any(differs));
    let [first, second] = [both[0].comparison.digests().await, both[1].comparison.digests().await];
    assert_eq!(first, second);
    assert!(first.len() == 2 && first[0].version > first[1].version, "the one of now, and one at a round place");
    assert_eq!(is_same(&first, &second), Some(true));
}

#[test]
fn only_digests_of_the_same_version_say_anything() {
    let digest = |version, byte| Digest { version: MapVersion(version), sha256: [byte; 32] };
    let ours = [digest(9, 1), digest(4, 2)];
    for (theirs, expected) in [
        (&[][..], None),
        (&[digest(8, 1), digest(5, 2)], None),
        (&[digest(10, 7), digest(9, 1)], Some(true)),
        (&[digest(10, 7), digest(4, 3)], Some(false)),
        (&[digest(9, 1), digest(4, 3)], Some(false)),
    ] {
        assert_eq!(is_same(&ours, theirs), expected, "{theirs:?}");
    }
}

#[test]
fn a_member_that_was_repaired_differs_no_more() {
    let states = || watch::Sender::<Arc<State>>::default().subscribe();
    let comparison = Comparison::new(states(), states(), Execution::Threads);
    comparison.note(member(2), false);
    assert!(comparison.differs(member(2)) && !comparison.differs(member(3)));
    comparison.note(member(2), true);
    assert!(!comparison.differs(member(2)));
}

#[tokio::test]
async fn without_a_copy_there_is_nothing_to_compare() {
    let told = watch::Sender::new(Arc::new(State::before(Some(Fingerprint([1; 32]))))).subscribe();
    let none = watch::Sender::<Arc<State>>::default().subscribe();
    let comparison = Comparison::new(told, none, Execution::Threads);
    assert_eq!(comparison.digests().await, []);
}
