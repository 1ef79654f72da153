//! Managers in one process, on a network and on disks in memory, in virtual time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use festoon_cluster::storage::{Execution, Storage};
use festoon_cluster::{
    CallError, Cluster, Identity, Lane, MemberId, OwnClock, ProposalId, ProposeError, Settings, Signer, Transport,
};
use festoon_control::registry::{
    AddNetwork, Addresses, Bootstrap, Command, CreateToken, FORMAT, JoinManager, ManagerRole, ManagerSpec, Outcome,
    RenewManager, TokenPreset, UnixMs,
};
use festoon_proto::epoch::Roster;
use festoon_proto::token::{SecretHash, TokenKind, TokenSecret};
use festoon_proto::{ClusterId, EpochId, Fingerprint, ManagerId, PublicKey, SigningKey};
use redb::Database;
use redb::backends::InMemoryBackend;
use tokio::time::{Instant, sleep, timeout};

/// One way between two managers, to begin with.
const LATENCY: Duration = Duration::from_millis(5);

type Members = HashMap<ManagerId, Cluster<Wire>>;

/// The network: who runs, and between whom nothing passes.
pub(crate) struct Net {
    members: Mutex<Members>,
    cut: Mutex<BTreeSet<(ManagerId, ManagerId)>>,
    latency: Mutex<Duration>,
    /// The connections that are there. Each lane between two members has one, which is made by the first request.
    connections: Mutex<HashSet<(ManagerId, ManagerId, Lane)>>,
    /// By how much clocks are ahead.
    ahead_ms: Mutex<HashMap<ManagerId, u64>>,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            members: Mutex::default(),
            cut: Mutex::default(),
            latency: Mutex::new(LATENCY),
            connections: Mutex::default(),
            ahead_ms: Mutex::default(),
        }
    }
}

/// One manager's way into the network.
#[derive(Clone)]
pub(crate) struct Wire {
    me: ManagerId,
    net: Arc<Net>,
}

impl Net {
    /// How long everything takes one way from now on.
    pub(crate) fn set_latency(&self, latency: Duration) {
        *self.latency.lock().unwrap() = latency;
    }

    /// A clock is ahead by so much from now on.
    pub(crate) fn set_clock(&self, number: u16, ahead_ms: u64) {
        self.ahead_ms.lock().unwrap().insert(ManagerId(number), ahead_ms);
    }

    /// TCP and TLS take a round trip each. Nothing is left of it if whoever wants a connection gives up before.
    async fn connect(&self, way: (ManagerId, ManagerId, Lane)) {
        if !self.connections.lock().unwrap().contains(&way) {
            // In virtual time: what is tested is what happens meanwhile.
            sleep(self.latency() * 4).await;
            self.connections.lock().unwrap().insert(way);
        }
    }

    /// All connections are closed.
    pub(crate) fn disconnect(&self) {
        self.connections.lock().unwrap().clear();
    }

    fn clock(&self, id: ManagerId) -> UnixMs {
        UnixMs(self.ahead_ms.lock().unwrap().get(&id).copied().unwrap_or(0))
    }

    fn latency(&self) -> Duration {
        *self.latency.lock().unwrap()
    }

    fn is_cut(&self, from: ManagerId, to: ManagerId) -> bool {
        self.cut.lock().unwrap().contains(&(from, to))
    }

    fn member(&self, id: ManagerId) -> Option<Cluster<Wire>> {
        self.members.lock().unwrap().get(&id).cloned()
    }
}

impl Transport for Wire {
    async fn call(&self, to: ManagerId, lane: Lane, request: Vec<u8>, limit: Duration) -> Result<Vec<u8>, CallError> {
        let exchange = async {
            self.net.connect((self.me, to, lane)).await;
            sleep(self.net.latency()).await;
            if self.net.is_cut(self.me, to) {
                std::future::pending::<()>().await;
            }
            let member = self.net.member(to).ok_or_else(|| CallError::NotSent("refused".to_owned()))?;
            let answer = member.answer(self.me, &request).await;
            sleep(self.net.latency()).await;
            if self.net.is_cut(to, self.me) {
                std::future::pending::<()>().await;
            }
            Ok(answer)
        };
        timeout(limit, exchange).await.unwrap_or_else(|_| Err(CallError::NoAnswer("too late".to_owned())))
    }
}

/// The managers of one cluster.
pub(crate) struct World {
    pub(crate) net: Arc<Net>,
    tokens: u8,
}

impl World {
    /// A cluster of one, with the id 1.
    pub(crate) async fn new() -> Self {
        Self::new_on(in_memory()).await
    }

    /// The same on this disk.
    pub(crate) async fn new_on(database: Database) -> Self {
        let mut world = Self { net: Arc::default(), tokens: 0 };
        let first = world.start_on(database, member(1, 0), EpochId::FIRST).await;
        first.found().await.unwrap();
        let bootstrap = Bootstrap { cluster: ClusterId([1; 16]), manager: spec(1) };
        assert_eq!(first.propose(Command::Bootstrap(bootstrap)).await, Ok(Outcome::Manager(ManagerId(1))));
        world.tokens = 1;
        world
    }

    /// A cluster of so many, all of which vote.
    pub(crate) async fn of(count: u16) -> Self {
        let mut world = Self::new().await;
        for number in 2..=count {
            world.join(number).await;
        }
        world.settle(1..=count).await;
        world
    }

    /// Starts a manager with an empty disk.
    pub(crate) async fn start(&self, me: MemberId, epoch: EpochId) -> Cluster<Wire> {
        self.start_on(in_memory(), me, epoch).await
    }

    /// Starts a manager with what is on its disk.
    pub(crate) async fn start_on(&self, database: Database, me: MemberId, epoch: EpochId) -> Cluster<Wire> {
        let (_, no_delay) = tokio::sync::watch::channel(Duration::ZERO);
        let Storage { log, machine, .. } =
            Storage::open(database, Box::pin(async { Ok(in_memory()) }), Execution::Inline(no_delay)).await.unwrap();
        let wire = Wire { me: me.manager, net: Arc::clone(&self.net) };
        let signing_key = signing_key(me.manager.0);
        let (introductions, roster) = (Vec::new(), self.roster());
        let identity = Identity { me, epoch, later: None, signing_key, introductions, roster };
        // Its commands carry the times that these tests chose.
        let net = Arc::clone(&self.net);
        let settings = Settings { clock: OwnClock::new(move || net.clock(me.manager)), ..Settings::default() };
        let cluster = Cluster::start(settings, identity, log, machine, wire).await.unwrap();
        self.net.members.lock().unwrap().insert(me.manager, cluster.clone());
        cluster
    }

    /// Has a manager join, which gets the next id.
    pub(crate) async fn join(&mut self, number: u16) -> Cluster<Wire> {
        self.tokens += 1;
        let secret = TokenSecret::from_bytes([self.tokens; 32]);
        let token = create_token(secret.hash(), UnixMs(0));
        let some = self.get(self.leader().await);
        some.propose(token).await.unwrap();
        let join = JoinManager { token: secret.hash(), manager: spec(number), data_key: None, now: UnixMs(0) };
        assert_eq!(some.propose(Command::JoinManager(join)).await, Ok(Outcome::Manager(ManagerId(number))));
        self.start(member(number, 0), EpochId::FIRST).await
    }

    /// Who the managers are, as whoever joins is told.
    fn roster(&self) -> Option<Roster> {
        let members = self.net.members.lock().unwrap();
        let newest = members.values().map(Cluster::snapshot).max_by_key(|state| (state.epoch().id(), state.version()));
        newest.and_then(|state| state.roster())
    }

    pub(crate) fn get(&self, number: u16) -> Cluster<Wire> {
        self.net.member(ManagerId(number)).unwrap()
    }

    /// Ends a manager, for good.
    pub(crate) async fn kill(&self, number: u16) {
        let member = self.net.members.lock().unwrap().remove(&ManagerId(number)).unwrap();
        member.shutdown().await;
    }

    /// Cuts these off from all others, both ways.
    pub(crate) fn isolate(&self, numbers: &[u16]) {
        let all: Vec<ManagerId> = self.net.members.lock().unwrap().keys().copied().collect();
        let mut cut = self.net.cut.lock().unwrap();
        for &inside in numbers {
            for &outside in all.iter().filter(|id| !numbers.contains(&id.0)) {
                cut.insert((ManagerId(inside), outside));
                cut.insert((outside, ManagerId(inside)));
            }
        }
    }

    pub(crate) fn heal(&self) {
        self.net.cut.lock().unwrap().clear();
    }

    /// Waits until exactly these vote, and one of them leads.
    pub(crate) async fn settle(&self, numbers: impl IntoIterator<Item = u16>) {
        let wanted: BTreeSet<ManagerId> = numbers.into_iter().map(ManagerId).collect();
        until("the voters are as wanted", || {
            let members = self.net.members.lock().unwrap();
            wanted.iter().all(|id| {
                let health = members[id].health();
                let voters: BTreeSet<_> =
                    health.members.iter().filter(|member| member.votes).map(|member| member.id.manager).collect();
                voters == wanted
                    && !health.is_changing
                    && health.leader.is_some_and(|leader| wanted.contains(&leader.manager))
            })
        })
        .await;
    }

    /// The one that the others follow.
    pub(crate) async fn leader(&self) -> u16 {
        let mut found = None;
        until("a leader that the majority follows", || {
            let members = self.net.members.lock().unwrap();
            let mut votes = BTreeMap::new();
            for member in members.values() {
                if let Some(leader) = member.health().leader {
                    *votes.entry(leader.manager.0).or_insert(0) += 1;
                }
            }
            found = votes.into_iter().find(|&(_, count)| count * 2 > members.len()).map(|(leader, _)| leader);
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

fn in_memory() -> Database {
    Database::builder().create_with_backend(InMemoryBackend::new()).unwrap()
}

pub(crate) fn member(number: u16, incarnation: u32) -> MemberId {
    MemberId { manager: ManagerId(number), incarnation }
}

pub(crate) fn signing_key(number: u16) -> SigningKey {
    SigningKey::from_seed([number as u8; 32])
}

fn spec(number: u16) -> ManagerSpec {
    ManagerSpec {
        name: format!("m{number}"),
        role: ManagerRole::Full,
        seal_key: None,
        signing_key: signing_key(number).verifying_key(),
        tls_key: Fingerprint([0; 32]),
        format: FORMAT,
        public_key: PublicKey::from_bytes([number as u8; 32]),
        underlay: vec![([192, 0, 2, number as u8], 51820).into()],
        https: vec![([192, 0, 2, number as u8], 8443).into()],
        priority: 100,
    }
}

/// A change that can be told from others.
pub(crate) fn network(number: u8) -> Command {
    let prefixes = vec![format!("10.{number}.0.0/16").parse().unwrap()];
    Command::AddNetwork(AddNetwork { name: format!("n{number}"), prefixes, mtu: 1360 })
}

/// A join with a token that nobody has made.
pub(crate) fn stranger() -> Command {
    let token = TokenSecret::from_bytes([0xff; 32]).hash();
    Command::JoinManager(JoinManager { token, manager: spec(0xff), data_key: None, now: UnixMs(0) })
}

/// A token for a manager, that is good for a quarter of an hour.
pub(crate) fn create_token(hash: SecretHash, now: UnixMs) -> Command {
    Command::CreateToken(CreateToken {
        hash,
        kind: TokenKind::Manager,
        network: None,
        addresses: Addresses::NONE,
        preset: TokenPreset::default(),
        now,
        expires: now.after(900_000),
    })
}

/// Proposes until it is acknowledged, as an admin would.
pub(crate) async fn insist(cluster: &Cluster<Wire>, command: Command) -> Duration {
    let begin = Instant::now();
    loop {
        match cluster.propose(command.clone()).await {
            Ok(_) => return begin.elapsed(),
            Err(ProposeError::Refused(refusal)) => panic!("{refusal}"),
            Err(_) => assert!(begin.elapsed() < Duration::from_secs(30), "nobody takes a change"),
        }
    }
}

/// A manager begins anew: it signs that itself, and another brings it into the registry.
pub(crate) async fn renew(through: &Cluster<Wire>, number: u16, incarnation: u32) {
    let manager = ManagerId(number);
    let signer = Signer::new(manager, signing_key(number));
    let (_, seen) = through.to_sign();
    let command = Command::RenewManager(RenewManager { manager, incarnation });
    let id = ProposalId(u128::from(number) << 32 | u128::from(incarnation));
    let proposal = signer.propose(&through.snapshot(), seen, id, command.into());
    through.propose_signed(proposal).await.unwrap();
}

pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
