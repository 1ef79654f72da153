//! The manager: a virtual switch and router for the endpoints of an overlay.
//!
//! This package is the shell around two pure ones: `festoon-control` decides what the overlay should be, and
//! `festoon-dataplane` carries its packets. The shell has the files, the sockets and the clock.

#[cfg(feature = "shell")]
pub mod accounts;
#[cfg(feature = "shell")]
pub mod agents;
#[cfg(feature = "shell")]
pub mod api;
#[cfg(feature = "shell")]
pub mod app;
#[cfg(feature = "shell")]
pub mod audit;
#[cfg(feature = "shell")]
mod bounded;
#[cfg(feature = "shell")]
pub mod certificate;
#[cfg(feature = "shell")]
pub mod cli;
#[cfg(feature = "shell")]
pub mod client_conf;
#[cfg(feature = "shell")]
pub mod cluster;
#[cfg(feature = "shell")]
pub mod config;
#[cfg(feature = "shell")]
pub mod data_dir;
#[cfg(feature = "shell")]
pub mod deliver;
#[cfg(feature = "shell")]
pub mod driver;
#[cfg(feature = "shell")]
pub mod ephemeral;
#[cfg(feature = "shell")]
pub mod events;
#[cfg(feature = "shell")]
pub mod expiry;
#[cfg(feature = "shell")]
pub mod https;
#[cfg(feature = "shell")]
pub mod local;
#[cfg(feature = "shell")]
pub mod metrics;
pub mod node;
#[cfg(feature = "shell")]
pub mod own_key;
#[cfg(feature = "shell")]
pub mod pki;
#[cfg(feature = "shell")]
pub mod snapshot;
#[cfg(feature = "shell")]
pub mod status;
#[cfg(feature = "shell")]
pub mod telemetry;
#[cfg(feature = "shell")]
mod trust;
#[cfg(feature = "shell")]
pub mod vault;
