//! Clients: each proposes something through some manager, waits for the answer, and goes on.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use festoon_control::registry::{AddClient, Addresses, Command, Outcome, RemoveEndpoint, State, UnixMs, UpdateManager};
use festoon_proto::{EndpointId, NetworkId, PublicKey};
use tokio::time::sleep;

use super::history::{Answer, Said};
use super::world::{LOOK, World};
use crate::random::Random;

/// How long a client does nothing after an answer.
const PAUSE: Range<Duration> = Duration::ZERO..Duration::from_millis(120);

/// What clients have in common.
#[derive(Default)]
pub(super) struct Memory(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Endpoints that nobody has tried to remove.
    endpoints: Vec<EndpointId>,
    /// Names of endpoints that were removed.
    gone: Vec<(NetworkId, String)>,
    made: u64,
}

impl Memory {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client.
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) world: Arc<World>,
    pub(super) random: Random,
    pub(super) memory: Arc<Memory>,
    /// No call is made when all clients together have made so many.
    pub(super) calls: usize,
}

impl Client {
    /// Goes on until the world is over.
    pub(super) async fn run(mut self) {
        while !self.world.is_over() && self.world.history.count() < self.calls {
            sleep(self.random.duration(PAUSE)).await;
            let Some((machine, process)) = self.world.some_running(&mut self.random) else {
                sleep(LOOK).await;
                continue;
            };
            let (now, state) = (machine.clock(&self.world), process.cluster.snapshot());
            let Some(command) = self.command(now, &state) else { continue };
            let answer = self.world.propose(self.number, machine.id, &process, command).await;
            if let Answer::Said(Said { result: Ok(Outcome::Endpoint(id)), .. }) = answer {
                self.memory.known().endpoints.push(id);
            }
        }
    }

    /// Something to ask for; nothing if what was drawn makes no sense in this state.
    fn command(&mut self, now: UnixMs, state: &State) -> Option<Command> {
        match self.random.in_range(0..20) {
            0..9 => Some(self.add(now, Addresses::NONE, None)),
            9 | 10 => {
                let address = [10, 1, 0, self.random.in_range(2..31) as u8];
                let addresses = Addresses::new([address.into()]).ok()?;
                Some(self.add(now, addresses, Some(NetworkId(1))))
            }
            11 | 12 => self.bring_back(now),
            13..17 => self.remove(now, state),
            17 | 18 => self.rename(state),
            _ => Some(Command::Expire(now)),
        }
    }

    fn add(&mut self, now: UnixMs, addresses: Addresses, network: Option<NetworkId>) -> Command {
        let network = network.unwrap_or(NetworkId(1 + self.random.in_range(0..2) as u32));
        let name = format!("h{}", self.made());
        self.add_as(name, network, addresses, now)
    }

    /// With a new key: a host that was installed again under the name it had.
    fn bring_back(&mut self, now: UnixMs) -> Option<Command> {
        let (network, name) = self.random.pick(&self.memory.known().gone).cloned()?;
        Some(self.add_as(name, network, Addresses::NONE, now))
    }

    fn add_as(&mut self, name: String, network: NetworkId, addresses: Addresses, now: UnixMs) -> Command {
        let mut key = [2; 32];
        key[..8].copy_from_slice(&self.made().to_le_bytes());
        Command::AddClient(AddClient {
            name,
            network,
            addresses,
            public_key: PublicKey::from_bytes(key),
            tags: Vec::new(),
            expires: None,
            now,
        })
    }

    /// Removes an endpoint that nobody else tries to remove, so that it is known afterwards who did.
    fn remove(&mut self, now: UnixMs, state: &State) -> Option<Command> {
        let mut known = self.memory.known();
        let at = self.random.in_range(0..known.endpoints.len().max(1) as u64) as usize;
        let &endpoint = known.endpoints.get(at)?;
        let record = state.endpoint(endpoint)?;
        known.gone.push((record.network, record.name.to_string()));
        known.endpoints.swap_remove(at);
        Some(Command::RemoveEndpoint(RemoveEndpoint { endpoint, now }))
    }

    fn rename(&mut self, state: &State) -> Option<Command> {
        let managers: Vec<_> = state.managers().map(|manager| manager.id).collect();
        let &manager = self.random.pick(&managers)?;
        let name = Some(format!("n{}", self.made()));
        Some(Command::UpdateManager(UpdateManager {
            manager,
            name,
            underlay: None,
            https: None,
            priority: None,
            ..UpdateManager::of(manager)
        }))
    }

    /// A number that no other call of this has given.
    fn made(&self) -> u64 {
        let mut known = self.memory.known();
        known.made += 1;
        known.made
    }
}
