//! What is between this host and the managers, in the words of RFC 4787.
//!
//! The tunnels to all managers have one local port, so what they see of it tells how a NAT maps: the same for each destination,
//! or not. How it filters would take somebody to send from an address that was never sent to, and that is not measured.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What a manager sees of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The manager.
    pub to: SocketAddr,
    /// Our own address on the way there.
    pub local: SocketAddr,
    /// What it sees.
    pub observed: SocketAddr,
}

/// The kind of NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nat {
    /// No manager told.
    Unknown,
    /// Managers see our own address.
    None,
    /// There is one, but only one manager told, so that its mapping is not known.
    SomeMapping,
    /// Managers see the same address and port ("endpoint-independent mapping", section 4.1).
    EndpointIndependent,
    /// Managers see different ones ("address-dependent" or "address and port-dependent mapping").
    AddressDependent,
}

impl Nat {
    /// What follows from what the managers see, all with one version of IP.
    pub fn of(sightings: &[Sighting]) -> Self {
        let Some(first) = sightings.first() else { return Self::Unknown };
        if sightings.iter().all(|it| it.observed == it.local) {
            Self::None
        } else if sightings.iter().any(|it| it.observed != first.observed) {
            Self::AddressDependent
        } else if sightings.iter().any(|it| it.to.ip() != first.to.ip()) {
            Self::EndpointIndependent
        } else {
            Self::SomeMapping
        }
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not known",
            Self::None => "no NAT",
            Self::SomeMapping => "NAT; to know its mapping takes two managers that answer",
            Self::EndpointIndependent => "NAT with endpoint-independent mapping: all managers see the same",
            Self::AddressDependent => "NAT with address-dependent mapping: managers see different addresses or ports",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "10.0.0.2:4000";
    const M1: &str = "192.0.2.1:51820";
    const M2: &str = "198.51.100.1:51820";

    fn nat(sightings: &[(&str, &str, &str)]) -> Nat {
        let [to, local, observed] = [0, 1, 2].map(|field| {
            let pick = move |it: &(&str, &str, &str)| [it.0, it.1, it.2][field].parse::<SocketAddr>().unwrap();
            sightings.iter().map(pick).collect::<Vec<_>>()
        });
        let all: Vec<Sighting> = (0..to.len())
            .map(|index| Sighting { to: to[index], local: local[index], observed: observed[index] })
            .collect();
        Nat::of(&all)
    }

    #[test]
    fn a_nat_is_known_by_what_managers_see() {
        for (sightings, expected) in [
            (&[][..], Nat::Unknown),
            (&[(M1, HERE, HERE)], Nat::None),
            (&[(M1, HERE, HERE), (M2, "10.9.0.2:4000", "10.9.0.2:4000")], Nat::None),
            (&[(M1, HERE, "203.0.113.9:4000")], Nat::SomeMapping),
            (&[(M1, HERE, "203.0.113.9:4000"), ("192.0.2.1:9", HERE, "203.0.113.9:4000")], Nat::SomeMapping),
            (&[(M1, HERE, "203.0.113.9:4000"), (M2, HERE, "203.0.113.9:4000")], Nat::EndpointIndependent),
            (&[(M1, HERE, "203.0.113.9:61000"), (M2, HERE, "203.0.113.9:61001")], Nat::AddressDependent),
            (&[(M1, HERE, "203.0.113.9:4000"), (M2, HERE, "203.0.113.10:4000")], Nat::AddressDependent),
            (&[(M1, HERE, HERE), (M2, HERE, "203.0.113.9:4000")], Nat::AddressDependent),
            (&[(M1, HERE, "10.0.0.2:4001")], Nat::SomeMapping),
        ] {
            assert_eq!(nat(sightings), expected, "{sightings:?}");
        }
    }
}
