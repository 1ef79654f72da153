//! The admin: founds the cluster, has managers join it and removes them.

use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::{
    AddNetwork, Addresses, Bootstrap, Command, CreateToken, FORMAT, JoinManager, ManagerRole, ManagerSpec, Outcome,
    TokenPreset,
};
use festoon_proto::epoch::Roster;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{Fingerprint, ManagerId, PublicKey};
use tokio::time::{sleep, timeout};

use super::history::{Answer, Said};
use super::machine::{CLUSTER, Machine, signing_key};
use super::world::{LOOK, World};
use crate::random::Random;

const CLIENT: u64 = 0;
const TOKEN_LASTS_MS: u64 = 24 * 3_600_000;
/// How long the admin waits until a newcomer votes, and then goes on nevertheless.
const PATIENCE: Duration = Duration::from_secs(10);

/// Networks, the first of which is soon full.
const NETWORKS: [(&str, &[&str]); 2] = [("small", &["10.1.0.0/27"]), ("large", &["10.2.0.0/20", "fd00:2::/64"])];

/// Makes and unmakes managers.
pub(super) struct Admin {
    world: Arc<World>,
    random: Random,
    joined: u64,
}

impl Admin {
    pub(super) fn new(world: Arc<World>, random: Random) -> Self {
        Self { world, random, joined: 0 }
    }

    /// A cluster of one with its networks.
    pub(super) async fn found(&mut self) {
        let id = ManagerId(1);
        self.begin(id).await;
        let Some((_, process)) = self.world.some_running(&mut self.random) else { return };
        if let Err(error) = process.cluster.found().await {
            self.world.wrong(format!("the cluster is not founded: {error}"));
        }
        let bootstrap = Bootstrap { cluster: CLUSTER, manager: self.spec() };
        self.insist(Command::Bootstrap(bootstrap)).await;
        for (name, prefixes) in NETWORKS {
            let prefixes = prefixes.iter().filter_map(|prefix| prefix.parse().ok()).collect();
            self.insist(Command::AddNetwork(AddNetwork { name: name.to_owned(), prefixes, mtu: 1360 })).await;
        }
    }

    /// Makes the cluster this large, one manager after the other, and waits for newcomers to vote.
    pub(super) async fn resize(&mut self, size: usize) {
        while self.world.machines().len() < size {
            self.join().await;
        }
        while self.world.machines().len() > size {
            self.remove().await;
        }
        // They need not, while things go wrong.
        let _ = timeout(PATIENCE, self.until_all_vote()).await;
    }

    async fn until_all_vote(&self) {
        while !self.world.is_whole() {
            sleep(LOOK).await;
        }
    }

    async fn join(&mut self) {
        let (manager, token) = (self.spec(), SecretHash(self.bytes()));
        let now = self.world.clock(0);
        let expires = now.after(TOKEN_LASTS_MS);
        let kind = TokenKind::Manager;
        let create = CreateToken {
            hash: token,
            kind,
            network: None,
            addresses: Addresses::NONE,
            preset: TokenPreset::default(),
            now,
            expires,
        };
        self.insist(Command::CreateToken(create)).await;
        let join = Command::JoinManager(JoinManager { token, manager, data_key: None, now });
        match self.insist(join).await {
            Answer::Said(Said { result: Ok(Outcome::Manager(id)), .. }) => self.begin(id).await,
            other => self.world.wrong(format!("a manager may not join: {other:?}")),
        }
    }

    async fn remove(&mut self) {
        let machines = self.world.machines();
        let Some(machine) = self.random.pick(&machines) else { return };
        while !machine.take() {
            sleep(LOOK).await;
        }
        // Of two that remain neither may be lost: an admin sees to it that all are well first. It looks again and again, as an
        // admin does; the time is virtual.
        while !self.world.begin_one_less() {
            sleep(LOOK).await;
        }
        let _ = timeout(PATIENCE, self.until_all_vote()).await;
        self.world.note(&format!("{} is to be removed", machine.id));
        self.insist(Command::RemoveManager(machine.id)).await;
        machine.retire();
        self.world.remove(machine.id);
        self.world.end_one_less();
    }

    /// Starts a new machine.
    async fn begin(&mut self, id: ManagerId) {
        let machine = Machine::new(id, self.random.fork());
        if let Err(error) = machine.format().await {
            return self.world.wrong(format!("{id} can't make a registry: {error}"));
        }
        machine.note_roster(self.world.net.roster().map(|told| Roster { version: None, ..told }));
        self.world.add(&machine);
        tokio::spawn(machine.keep(Arc::clone(&self.world)));
        while self.world.net.process(id).is_none() {
            sleep(LOOK).await;
        }
    }

    async fn insist(&mut self, command: Command) -> Answer {
        self.world.insist(CLIENT, &mut self.random, command).await
    }

    fn spec(&mut self) -> ManagerSpec {
        self.joined += 1;
        let last = self.joined as u8;
        ManagerSpec {
            name: format!("m{}", self.joined),
            role: ManagerRole::Full,
            public_key: PublicKey::from_bytes(self.bytes()),
            seal_key: None,
            // Ids are given one after the other.
            signing_key: signing_key(ManagerId(u16::from(last))).verifying_key(),
            tls_key: Fingerprint([last; 32]),
            underlay: vec![([192, 0, 2, last], 51820).into()],
            https: vec![([192, 0, 2, last], 8443).into()],
            priority: 100,
            format: FORMAT,
        }
    }

    fn bytes(&mut self) -> [u8; 32] {
        let bits = self.random.bits().to_le_bytes();
        std::array::from_fn(|at| bits[at % bits.len()])
    }
}
