//! What a large cluster costs in memory and time. In a process of its own, so that nothing else is counted.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::fs;
use std::sync::Mutex;
use std::time::Instant;

use festoon_control::registry::*;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{ClusterId, EndpointId, NetworkId, PublicKey};

/// Without optimisation a tenth says as much and takes a tenth of the time.
const MANY: u64 = if cfg!(debug_assertions) { 10_000 } else { 100_000 };

/// So that 100,000 endpoints stay well under 150 MB.
const BYTES_PER_ENDPOINT: u64 = 1_200;

/// Memory is that of the whole process, so one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Memory of this process in bytes.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn bytes(number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    // As keys and hashes are: in no order.
    for (at, chunk) in (1..).zip(bytes.chunks_mut(8)) {
        chunk.copy_from_slice(&(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(at)).to_le_bytes());
    }
    bytes
}

struct Log {
    state: State,
    index: u64,
}

impl Log {
    fn add(&mut self, command: &Command) -> Outcome {
        self.index += 1;
        let (next, outcome) = apply(&self.state, self.index, command).unwrap();
        self.state = next;
        outcome
    }

    fn new(prefixes: &[&str]) -> Self {
        let mut log = Self { state: State::default(), index: 0 };
        let manager = ManagerSpec {
            name: "m1".to_owned(),
            role: ManagerRole::Full,
            public_key: PublicKey::from_bytes([255; 32]),
            seal_key: None,
            signing_key: festoon_proto::VerifyingKey([0; 32]),
            tls_key: Fingerprint([0; 32]),
            underlay: vec![([192, 0, 2, 1], 51820).into()],
            https: vec![([192, 0, 2, 1], 8443).into()],
            priority: 1,
            format: FORMAT,
        };
        log.add(&Command::Bootstrap(Bootstrap { cluster: ClusterId([7; 16]), manager }));
        let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        log.add(&Command::AddNetwork(AddNetwork { name: "default".to_owned(), prefixes, mtu: DEFAULT_MTU }));
        log
    }

    fn join(&mut self, number: u64) {
        let hash = SecretHash(bytes(number));
        let (now, expires) = (UnixMs(number), UnixMs(number + 3_600_000));
        let network = Some(NetworkId(1));
        let addresses = Addresses::NONE;
        let kind = TokenKind::Endpoint;
        self.add(&Command::CreateToken(CreateToken {
            hash,
            kind,
            network,
            addresses,
            preset: TokenPreset::default(),
            now,
            expires,
        }));
        let public_key = PublicKey::from_bytes(bytes(number));
        let name = format!("host-{number}");
        self.add(&Command::JoinEndpoint(JoinEndpoint { token: hash, public_key, credential: hash, name, now }));
    }

    fn add_client(&mut self, number: u64) -> EndpointId {
        let (name, public_key) = (format!("client-{number}"), PublicKey::from_bytes(bytes(number)));
        let (network, addresses, now) = (NetworkId(1), Addresses::NONE, UnixMs(1));
        match self.add(&Command::AddClient(AddClient {
            name,
            network,
            addresses,
            public_key,
            tags: Vec::new(),
            expires: None,
            now,
        })) {
            Outcome::Endpoint(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn remove(&mut self, endpoint: EndpointId) {
        self.add(&Command::RemoveEndpoint(RemoveEndpoint { endpoint, now: UnixMs(1) }));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn many_endpoints_fit_and_one_more_is_quick() {
    let _alone = ALONE.lock().unwrap();
    let mut log = Log::new(&["10.0.0.0/8", "fd00::/64"]);
    // The pages that the program and its allocator need once are not to be counted: what more endpoints add is.
    (0..MANY).for_each(|number| log.join(number));
    let (before, started) = (resident(), Instant::now());
    (MANY..2 * MANY).for_each(|number| log.join(number));
    log.add(&Command::Expire(UnixMs(30 * 24 * 3_600_000)));
    let grown = resident() - before;
    println!("{MANY} agents joined in {:?}, {} MB, {} bytes each", started.elapsed(), grown >> 20, grown / MANY);
    assert!(grown < MANY * BYTES_PER_ENDPOINT, "{} bytes an endpoint", grown / MANY);

    let (started, stored) = (Instant::now(), postcard::to_stdvec(&log.state).unwrap());
    println!("stored in {:?}, {} MB", started.elapsed(), stored.len() >> 20);
    let (started, before) = (Instant::now(), resident());
    let read: State = postcard::from_bytes(&stored).unwrap();
    println!("read in {:?}, {} MB", started.elapsed(), (resident() - before) >> 20);
    assert!(read == log.state);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn the_last_free_address_of_a_full_network_is_found_at_once() {
    let _alone = ALONE.lock().unwrap();
    // A /15 in a release build; a network as full as that in any.
    let prefix = if cfg!(debug_assertions) { "10.0.0.0/19" } else { "10.0.0.0/15" };
    let mut log = Log::new(&[prefix]);
    let room = if cfg!(debug_assertions) { 8_189 } else { 131_069 };
    let ids: Vec<_> = (0..room).map(|number| log.add_client(number)).collect();
    // One by one, addresses all over the network come free and are given again: each time there is one to be found.
    let rounds = 2_000;
    let started = Instant::now();
    for round in 0..rounds {
        log.remove(ids[(round * 7_919 % room) as usize]);
        log.add_client(room + round);
    }
    let each = started.elapsed() / u32::try_from(2 * rounds).unwrap();
    println!("{room} of {room} addresses: {each:?} a command");
    assert!(each.as_millis() < 5, "{each:?} a command");
}
