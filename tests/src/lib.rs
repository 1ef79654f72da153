//! Hosts in network namespaces, scenarios, bars.
//!
//! [`lab`] makes the hosts and breaks the network between them; [`tools`] is what the program `festoon-labtool` does
//! inside them: measure, and delay packets.

pub mod lab;
pub mod tools;
