//! Hosts in network namespaces, scenarios, bars.
//!
//! [`lab`] makes the hosts and breaks the network between them; [`tools`] is what the program `festoon-labtool` does
//! inside them: measure, and delay packets. [`overlay`] puts managers and endpoints on the hosts; [`demo`] shows what that is
//! good for, [`hostile`] attacks it, and [`acceptance`] holds it against the bars.

pub mod acceptance;
pub mod clock;
pub mod demo;
pub mod hostile;
pub mod lab;
pub mod overlay;
pub mod tools;
