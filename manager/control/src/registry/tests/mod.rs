//! Tables of what is refused and why, and properties that hold after any log.

mod accounts;
mod addresses;
mod changes;
mod destinations;
mod managers;
mod model;
mod properties;
mod tables;
mod vault;
mod vouch;

use festoon_proto::epoch::{EpochProof, EpochSigner};
use festoon_proto::map::MapVersion;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{ClusterId, EndpointId, EpochId, ManagerId, NetworkId, PublicKey, SigningKey};

use super::*;

const HOUR: u64 = 3_600_000;

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn hash(number: u8) -> SecretHash {
    SecretHash([number; 32])
}

fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32])
}

/// The act by which manager 1 has an epoch begin.
fn begin_epoch(number: u32, by: u16, began: u64) -> Command {
    let epoch = EpochId { began_unix_ms: began, number, by: Some(ManagerId(by)) };
    let signer = (EpochSigner::Manager(ManagerId(1)), &signing_key(1));
    let goes_on_with = (ManagerId(by), signing_key(u8::try_from(by).unwrap()).verifying_key());
    let proof = EpochProof::sign(signer, ClusterId([7; 16]), epoch, MapVersion(5), goes_on_with);
    Command::BeginEpoch(BeginEpoch { proof })
}

fn spec(number: u8) -> ManagerSpec {
    ManagerSpec {
        name: format!("m{number}"),
        role: ManagerRole::Full,
        public_key: key(200 + number),
        seal_key: Some(key(100 + number)),
        signing_key: signing_key(number).verifying_key(),
        tls_key: Fingerprint([number; 32]),
        underlay: vec![([192, 0, 2, number], 51820).into()],
        https: vec![([192, 0, 2, number], 8443).into()],
        priority: number,
        format: FORMAT,
    }
}

fn bootstrap() -> Command {
    Command::Bootstrap(Bootstrap { cluster: ClusterId([7; 16]), manager: spec(1) })
}

fn network(name: &str, prefixes: &[&str]) -> Command {
    let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    Command::AddNetwork(AddNetwork { name: name.to_owned(), prefixes, mtu: DEFAULT_MTU })
}

fn token(number: u8, network: u32) -> Command {
    Command::CreateToken(CreateToken {
        hash: hash(number),
        kind: TokenKind::Endpoint,
        network: Some(NetworkId(network)),
        addresses: Addresses::NONE,
        preset: TokenPreset::default(),
        now: UnixMs(0),
        expires: UnixMs(HOUR),
    })
}

fn manager_token(number: u8) -> Command {
    token_for(number, TokenPreset::default())
}

fn witness_token(number: u8) -> Command {
    token_for(number, TokenPreset { is_for_witness: true, ..TokenPreset::default() })
}

fn token_for(number: u8, preset: TokenPreset) -> Command {
    Command::CreateToken(CreateToken {
        hash: hash(number),
        kind: TokenKind::Manager,
        network: None,
        addresses: Addresses::NONE,
        preset,
        now: UnixMs(0),
        expires: UnixMs(HOUR),
    })
}

fn join_as(token: u8, node: u8, now: u64) -> Command {
    Command::JoinEndpoint(JoinEndpoint {
        token: hash(token),
        public_key: key(node),
        credential: hash(node),
        name: "web".to_owned(),
        now: UnixMs(now),
    })
}

fn join_manager(token: u8, number: u8) -> Command {
    Command::JoinManager(JoinManager { token: hash(token), manager: spec(number), data_key: None, now: UnixMs(1) })
}

/// These addresses, in words.
fn addresses(texts: &[&str]) -> Addresses {
    Addresses::new(texts.iter().map(|text| text.parse().unwrap())).unwrap()
}

fn client(name: &str, node: u8) -> Command {
    client_at(name, node, &[])
}

fn client_at(name: &str, node: u8, fixed: &[&str]) -> Command {
    let (name, public_key) = (name.to_owned(), key(node));
    let (network, addresses) = (NetworkId(1), addresses(fixed));
    Command::AddClient(AddClient {
        name,
        network,
        addresses,
        public_key,
        tags: Vec::new(),
        expires: None,
        now: UnixMs(1),
    })
}

fn remove(endpoint: u64) -> Command {
    remove_at(endpoint, 1)
}

fn remove_at(endpoint: u64, now: u64) -> Command {
    Command::RemoveEndpoint(RemoveEndpoint { endpoint: EndpointId(endpoint), now: UnixMs(now) })
}

fn update_network() -> UpdateNetwork {
    UpdateNetwork {
        network: NetworkId(1),
        name: None,
        mtu: None,
        add_prefixes: Vec::new(),
        remove_prefixes: Vec::new(),
        reserved: None,
    }
}

fn reserve(ranges: &[&str]) -> Command {
    let reserved = Some(ranges.iter().map(|range| range.parse().unwrap()).collect());
    Command::UpdateNetwork(UpdateNetwork { reserved, ..update_network() })
}

/// The state after `log`, from nothing; what is refused is passed over, as a manager does on replay.
fn replay(log: &[Command]) -> (State, Vec<Result<Outcome, Refusal>>) {
    let mut state = State::default();
    let mut results = Vec::new();
    for (index, command) in (1..).zip(log) {
        results.push(apply(&state, index, command).map(|(next, outcome)| {
            state = next;
            outcome
        }));
    }
    (state, results)
}

/// A cluster with network 1 (a /16 and a ULA) and the commands in `more`, of which all but the last must succeed.
fn last_of(more: &[Command]) -> (State, Result<Outcome, Refusal>) {
    let mut log = vec![bootstrap(), network("default", &["172.31.0.0/16", "fd00:1::/64"])];
    log.extend_from_slice(more);
    let (state, mut results) = replay(&log);
    assert!(state.index_agrees());
    let last = results.pop().unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    (state, last)
}

fn refusal(more: &[Command]) -> (&'static str, String) {
    let refusal = last_of(more).1.unwrap_err();
    assert!(!refusal.to_string().contains('\n'));
    (refusal.kind(), refusal.to_string())
}
