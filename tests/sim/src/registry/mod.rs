//! The registry of a cluster in virtual time: the real consensus, membership and storage, while everything goes wrong.
//!
//! A [`Scenario`] is a cluster, its clients and what goes wrong, all from a seed. Machines lose their power, and with it
//! what was not synced; their disks are slow or full, or lost; the network loses, delays, doubles and overtakes, one way or
//! both; clocks jump by an hour; managers join and leave; one brings in changes that nobody stands for. When it is over, [`check`] judges what clients were told.
//!
//! One thread runs a world, in the paused time of tokio. All randomness follows from the seed, save one: tokio draws by
//! itself which branch of a `select!` it asks first. Ours are `biased`; openraft has one that is not, where it waits
//! before it tries an unreachable member again.

mod admin;
pub mod check;
mod clients;
mod faults;
mod forger;
mod history;
mod log;
mod machine;
mod net;
mod scenario;
mod settle;
mod sightings;
mod world;

pub use scenario::{Figures, Outcome, Scenario};
