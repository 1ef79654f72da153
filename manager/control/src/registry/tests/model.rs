//! Addresses are given as a model gives them that tries every address in turn.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;

/// So few addresses that they run out.
const PREFIXES: [&str; 3] = ["172.31.0.0/29", "fd00:1::/125", "172.31.0.32/30"];
const MORE: &str = "10.0.0.0/29";
const DAY: u64 = 24 * HOUR;

#[derive(Debug, Clone)]
enum Step {
    Add { name: u8, key: u8, fixed: Option<IpAddr> },
    Promise { token: u8, fixed: Option<IpAddr> },
    Join { token: u8, key: u8 },
    Remove(u64),
    Reserve(Vec<AddressRange>),
    Grow,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let v4 = prop_oneof![0_u8..9, 31_u8..37].prop_map(|last| IpAddr::from([172, 31, 0, last]));
    let v6 = (0_u16..9).prop_map(|last| IpAddr::from([0xfd00, 1, 0, 0, 0, 0, 0, last]));
    let fixed = prop_oneof![3 => Just(None), 1 => prop_oneof![v4, v6].prop_map(Some)];
    let range = (0_u8..8, 0_u8..4).prop_map(|(first, more)| AddressRange {
        first: [172, 31, 0, first].into(),
        last: [172, 31, 0, (first + more).min(7)].into(),
    });
    prop_oneof![
        5 => (0_u8..9, 1_u8..20, fixed.clone()).prop_map(|(name, key, fixed)| Step::Add { name, key, fixed }),
        2 => (1_u8..40, fixed).prop_map(|(token, fixed)| Step::Promise { token, fixed }),
        3 => (1_u8..40, 1_u8..20).prop_map(|(token, key)| Step::Join { token, key }),
        4 => (1_u64..30).prop_map(Step::Remove),
        1 => proptest::collection::vec(range, 0..3).prop_map(Step::Reserve),
        1 => Just(Step::Grow),
        1 => prop_oneof![Just(HOUR / 3), Just(13 * DAY)].prop_map(Step::Wait),
    ]
}

/// An endpoint that is or was there.
#[derive(Debug, Clone, PartialEq)]
struct Host {
    name: String,
    key: u8,
    addresses: Vec<IpAddr>,
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    /// With the address where the search begins.
    prefixes: Vec<(IpNet, IpAddr)>,
    reserved: Vec<AddressRange>,
    hosts: BTreeMap<u64, Host>,
    last: u64,
    kept: Vec<(Host, u64)>,
    /// Addresses, expiry, whether it was used.
    tokens: BTreeMap<u8, (Vec<IpAddr>, u64, bool)>,
}

/// All addresses of a prefix that a host may have.
fn usable(net: IpNet) -> Vec<IpAddr> {
    let all: Vec<_> = match net {
        IpNet::V4(net) => net.hosts().map(IpAddr::V4).collect(),
        IpNet::V6(net) => net.hosts().map(IpAddr::V6).filter(|address| *address != net.network()).collect(),
    };
    all[1..].to_vec()
}

impl Model {
    fn add_prefix(&mut self, net: &str) {
        let net = net.parse().unwrap();
        self.prefixes.push((net, usable(net)[0]));
    }

    fn is_promised(&self, address: IpAddr) -> bool {
        self.tokens.values().any(|(all, expires, used)| *expires > self.now && !used && all.contains(&address))
    }

    fn is_taken(&self, address: IpAddr) -> bool {
        self.hosts.values().any(|host| host.addresses.contains(&address)) || self.is_promised(address)
    }

    fn waits(&self, address: IpAddr) -> bool {
        self.kept.iter().any(|(host, _)| host.addresses.contains(&address))
    }

    fn may_be_named(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|(net, _)| usable(*net).contains(&address)) && !self.is_taken(address)
    }

    fn strike(&mut self, address: IpAddr) {
        self.kept.iter_mut().for_each(|(host, _)| host.addresses.retain(|other| *other != address));
        self.kept.retain(|(host, _)| !host.addresses.is_empty());
    }

    fn next(&mut self, is_v4: bool) -> Option<IpAddr> {
        for at in 0..self.prefixes.len() {
            let (net, start) = self.prefixes[at];
            let mut all = usable(net);
            let middle = all.iter().position(|address| *address >= start).unwrap();
            all.rotate_left(middle);
            let is_reserved = |address| self.reserved.iter().any(|range| range.contains(address));
            let is_free = |address| !self.is_taken(address) && !self.waits(address) && !is_reserved(address);
            if let Some(found) = all.iter().position(|address| is_free(*address)).filter(|_| start.is_ipv4() == is_v4) {
                self.prefixes[at].1 = all[(found + 1) % all.len()];
                return Some(all[found]);
            }
        }
        let waiting = self.kept.iter().flat_map(|(host, _)| &host.addresses).copied();
        waiting.filter(|at| at.is_ipv4() == is_v4).find(|at| !self.reserved.iter().any(|range| range.contains(*at)))
    }

    /// Lets a host in, or changes nothing.
    fn add(&mut self, name: String, key: u8, fixed: &[IpAddr]) -> Option<Vec<IpAddr>> {
        let taken = |host: &Host| host.name == name || host.key == key;
        if self.hosts.values().any(taken) || !fixed.iter().all(|address| self.may_be_named(*address)) {
            return None;
        }
        let by_key = self.kept.iter().find(|(host, _)| host.key == key);
        let before = by_key.or_else(|| self.kept.iter().find(|(host, _)| host.name == name)).cloned();
        let starts = self.prefixes.clone();
        let mut addresses = Vec::new();
        for is_v4 in [true, false] {
            let of_family = |all: &[IpAddr]| all.iter().copied().find(|address| address.is_ipv4() == is_v4);
            let had = before.as_ref().and_then(|(host, _)| of_family(&host.addresses));
            let Some(address) = of_family(fixed).or(had).or_else(|| self.next(is_v4)) else {
                self.prefixes = starts;
                return None;
            };
            addresses.push(address);
        }
        self.kept.retain(|kept| Some(kept) != before.as_ref());
        addresses.iter().for_each(|address| self.strike(*address));
        self.last += 1;
        self.hosts.insert(self.last, Host { name, key, addresses: addresses.clone() });
        Some(addresses)
    }

    fn remove(&mut self, id: u64) -> bool {
        let Some(host) = self.hosts.remove(&id) else { return false };
        self.kept.retain(|(other, _)| other.name != host.name && other.key != host.key);
        self.kept.push((host, self.now + KEEP_ADDRESSES_MS));
        true
    }

    fn promise(&mut self, token: u8, fixed: &[IpAddr]) -> bool {
        let is_good = !self.tokens.contains_key(&token) && fixed.iter().all(|address| self.may_be_named(*address));
        if is_good {
            fixed.iter().for_each(|address| self.strike(*address));
            self.tokens.insert(token, (fixed.to_vec(), self.now + HOUR, false));
        }
        is_good
    }

    fn join(&mut self, token: u8, key: u8) -> Option<Vec<IpAddr>> {
        let (fixed, expires, used) = self.tokens.get(&token).cloned()?;
        if used || expires <= self.now {
            return None;
        }
        self.tokens.insert(token, (fixed.clone(), expires, true));
        let joined = self.add(format!("j{key}"), key, &fixed);
        if joined.is_none() {
            self.tokens.insert(token, (fixed, expires, false));
        }
        joined
    }

    fn wait(&mut self, ms: u64) {
        self.now += ms;
        self.kept.retain(|(_, until)| *until > self.now);
        let week = 7 * DAY;
        self.tokens.retain(|_, (_, expires, _)| *expires + week > self.now);
    }
}

/// The command of a step, at a time.
fn command(step: &Step, now: u64) -> Command {
    let fixed = |fixed: &Option<IpAddr>| Addresses::new(*fixed).unwrap();
    let now = UnixMs(now);
    let network = NetworkId(1);
    match step {
        Step::Add { name, key: node, fixed: at } => {
            let (name, addresses, public_key) = (format!("c{name}"), fixed(at), key(*node));
            Command::AddClient(AddClient { name, network, addresses, public_key, tags: Vec::new(), expires: None, now })
        }
        Step::Promise { token, fixed: at } => Command::CreateToken(CreateToken {
            hash: hash(*token),
            kind: TokenKind::Endpoint,
            network: Some(network),
            addresses: fixed(at),
            preset: TokenPreset::default(),
            now,
            expires: now.after(HOUR),
        }),
        Step::Join { token, key: node } => Command::JoinEndpoint(JoinEndpoint {
            token: hash(*token),
            public_key: key(*node),
            credential: hash(*node),
            name: format!("j{node}"),
            now,
        }),
        Step::Remove(endpoint) => Command::RemoveEndpoint(RemoveEndpoint { endpoint: EndpointId(*endpoint), now }),
        Step::Reserve(ranges) => {
            Command::UpdateNetwork(UpdateNetwork { reserved: Some(ranges.clone()), ..update_network() })
        }
        Step::Grow => {
            let add_prefixes = vec![MORE.parse().unwrap()];
            Command::UpdateNetwork(UpdateNetwork { add_prefixes, ..update_network() })
        }
        Step::Wait(_) => Command::Expire(now),
    }
}

/// What the model makes of a step: the addresses of a newcomer, or none; or that it is refused.
fn model_step(model: &mut Model, step: &Step) -> Option<Vec<IpAddr>> {
    let done = |is_done: bool| is_done.then(Vec::new);
    match step {
        Step::Add { name, key, fixed } => model.add(format!("c{name}"), *key, &Vec::from_iter(*fixed)),
        Step::Promise { token, fixed } => done(model.promise(*token, &Vec::from_iter(*fixed))),
        Step::Join { token, key } => model.join(*token, *key),
        Step::Remove(id) => done(model.remove(*id)),
        Step::Reserve(ranges) => {
            model.reserved.clone_from(ranges);
            Some(Vec::new())
        }
        Step::Grow => {
            let is_new = model.prefixes.len() == PREFIXES.len();
            if is_new {
                model.add_prefix(MORE);
            }
            done(is_new)
        }
        Step::Wait(ms) => {
            model.wait(*ms);
            Some(Vec::new())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn addresses_are_given_as_the_model_gives_them(steps in proptest::collection::vec(any_step(), 0..80)) {
        let (mut state, results) = replay(&[bootstrap(), network("default", &PREFIXES)]);
        prop_assert!(results.iter().all(Result::is_ok));
        let mut model = Model::default();
        PREFIXES.iter().for_each(|net| model.add_prefix(net));
        for (index, step) in (3..).zip(&steps) {
            // An agent that asks again gets the same answer; what it had is no allocation.
            if matches!(step, Step::Join { token, .. } if model.tokens.get(token).is_some_and(|(_, _, used)| *used)) {
                continue;
            }
            let before = state.clone();
            let expected = model_step(&mut model, step);
            let result = apply(&before, index, &command(step, model.now));
            prop_assert_eq!(result.as_ref().err().is_some(), expected.is_none(), "{:?}: {:?}", step, result.err());
            let Ok((next, outcome)) = result else { continue };
            if let Outcome::Endpoint(id) = outcome {
                prop_assert_eq!(Some(next.endpoint(id).unwrap().addresses.to_vec()), expected, "{:?}", step);
            }
            prop_assert!(next.index_agrees());
            state = next;
        }
    }
}
