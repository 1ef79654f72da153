//! The pure parts of managers and endpoints on a virtual clock and network.
//!
//! A [`World`] runs real manager and endpoint nodes; only the underlay between them, the clock and the applications are
//! simulated. Everything follows from a seed, so what failed once fails again. (boringtun draws its ephemeral keys from
//! the operating system, but nothing that a node decides depends on them.)
//!
//! A [`Run`] checks [`invariants`] while the world goes on. [`scenario`] makes worlds and faults from a seed.
//!
//! [`registry`] is a world of its own: managers that agree on the desired state, on disks that fail.

pub mod cluster;
pub mod fault;
pub mod invariants;
pub mod observation;
pub mod packet;
pub mod random;
pub mod registry;
pub mod run;
pub mod scenario;
pub mod seeds;
pub mod underlay;
pub mod world;

pub use cluster::{Cluster, Layout};
pub use fault::Fault;
pub use run::Run;
pub use underlay::Conditions;
pub use world::{NodeId, World};
