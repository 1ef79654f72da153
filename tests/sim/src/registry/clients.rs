//! Clients: each proposes something through some manager, waits for the answer, and goes on.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use festoon_control::registry::{
    AddClient, Addresses, Command, CreateToken, JoinEndpoint, Outcome, RemoveEndpoint, State, TokenPreset, UnixMs,
    UpdateManager,
};
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{EndpointId, NetworkId, PublicKey};
use tokio::time::sleep;

use super::history::{Answer, Said};
use super::world::{LOOK, World};
use crate::random::Random;

/// How long a client does nothing after an answer.
const PAUSE: Range<Duration> = Duration::ZERO..Duration::from_millis(120);

/// How long a join token is good, in milliseconds.
const TOKEN_LASTS_MS: u64 = 60_000;

/// What clients have in common.
#[derive(Default)]
pub(super) struct Memory(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Endpoints that nobody has tried to remove.
    endpoints: Vec<EndpointId>,
    /// Names of endpoints that were removed.
    gone: Vec<(NetworkId, String)>,
    /// Tokens that were acknowledged. Each is good once.
    tokens: Vec<SecretHash>,
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
            // Some managers believe their own clock, as all once did.
            let believes_itself = self.random.chance(100);
            let now = if believes_itself { machine.clock(&self.world) } else { process.cluster.now() };
            let state = process.cluster.snapshot();
            let Some(command) = self.command(now, &state) else { continue };
            let token = if let Command::CreateToken(command) = &command { Some(command.hash) } else { None };
            let answer = self.world.propose(self.number, machine.id, &process, command).await;
            match answer {
                Answer::Said(Said { result: Ok(Outcome::Endpoint(id)), .. }) => self.memory.known().endpoints.push(id),
                Answer::Said(Said { result: Ok(Outcome::JoinToken(_)), .. }) => {
                    self.memory.known().tokens.extend(token);
                }
                _ => {}
            }
        }
    }

    /// Something to ask for; nothing if what was drawn makes no sense in this state.
    fn command(&mut self, now: UnixMs, state: &State) -> Option<Command> {
        match self.random.in_range(0..28) {
            0..9 => Some(self.add(now, Addresses::NONE, None)),
            9 | 10 => {
                let address = [10, 1, 0, self.random.in_range(2..31) as u8];
                let addresses = Addresses::new([address.into()]).ok()?;
                Some(self.add(now, addresses, Some(NetworkId(1))))
            }
            11 | 12 => self.bring_back(now),
            13..17 => self.remove(now, state),
            17 | 18 => self.rename(state),
            19..22 => Some(self.create_token(now)),
            22..27 => Some(self.join(now)),
            _ => Some(Command::Expire(now)),
        }
    }

    fn add(&mut self, now: UnixMs, addresses: Addresses, network: Option<NetworkId>) -> Command {
        let network = network.unwrap_or(NetworkId(1 + self.random.in_range(0..2) as u32));
        let name = format!("h{}", self.made());
        self.add_as(name, network, addresses, now)
    }

    fn create_token(&mut self, now: UnixMs) -> Command {
        Command::CreateToken(CreateToken {
            hash: self.secret(),
            kind: TokenKind::Endpoint,
            network: Some(NetworkId(1 + self.random.in_range(0..2) as u32)),
            addresses: Addresses::NONE,
            preset: TokenPreset::default(),
            now,
            expires: now.after(TOKEN_LASTS_MS),
        })
    }

    /// With the token that was made last, or one before it, which may be used up, or one that nobody made.
    fn join(&mut self, now: UnixMs) -> Command {
        let made = self.memory.known().tokens.clone();
        let token = match self.random.in_range(0..4) {
            0 => None,
            1 => self.random.pick(&made).copied(),
            _ => made.last().copied(),
        };
        Command::JoinEndpoint(JoinEndpoint {
            token: token.unwrap_or_else(|| self.secret()),
            public_key: self.public_key(),
            credential: self.secret(),
            name: "host".to_owned(),
            now,
        })
    }

    /// With a new key: a host that was installed again under the name it had.
    fn bring_back(&mut self, now: UnixMs) -> Option<Command> {
        let (network, name) = self.random.pick(&self.memory.known().gone).cloned()?;
        Some(self.add_as(name, network, Addresses::NONE, now))
    }

    fn add_as(&mut self, name: String, network: NetworkId, addresses: Addresses, now: UnixMs) -> Command {
        Command::AddClient(AddClient {
            name,
            network,
            addresses,
            public_key: self.public_key(),
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

    fn public_key(&self) -> PublicKey {
        PublicKey::from_bytes(self.bytes(2))
    }

    fn secret(&self) -> SecretHash {
        SecretHash(self.bytes(3))
    }

    /// 32 bytes that nobody else has.
    fn bytes(&self, kind: u8) -> [u8; 32] {
        let mut bytes = [kind; 32];
        bytes[..8].copy_from_slice(&self.made().to_le_bytes());
        bytes
    }

    /// A number that no other call of this has given.
    fn made(&self) -> u64 {
        let mut known = self.memory.known();
        known.made += 1;
        known.made
    }
}
