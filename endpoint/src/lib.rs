//! The agent: joins a server to an overlay and keeps it there.
//!
//! [`node`] and [`uplink`] are pure. The rest is the shell around them, behind the feature `shell`, so that the simulation
//! can do without.

pub mod node;
pub mod uplink;

#[cfg(feature = "shell")]
pub mod bundle;
#[cfg(feature = "shell")]
pub mod cli;
#[cfg(feature = "shell")]
pub mod config;
#[cfg(feature = "shell")]
pub mod control;
#[cfg(feature = "shell")]
pub mod host;
#[cfg(feature = "shell")]
pub mod https;
#[cfg(feature = "shell")]
pub mod join;
#[cfg(feature = "shell")]
pub mod leave;
#[cfg(feature = "shell")]
pub mod log;
#[cfg(feature = "shell")]
pub mod metrics;
#[cfg(feature = "shell")]
pub mod netcheck;
#[cfg(feature = "shell")]
pub mod offer;
#[cfg(feature = "shell")]
pub mod output;
#[cfg(feature = "shell")]
pub mod ping;
#[cfg(feature = "shell")]
pub mod prober;
#[cfg(feature = "shell")]
pub mod refresh;
#[cfg(feature = "shell")]
pub mod rotate;
#[cfg(test)]
#[cfg(feature = "shell")]
#[path = "../tests/sample/mod.rs"]
mod sample;
#[cfg(feature = "shell")]
pub mod session;
#[cfg(feature = "shell")]
pub mod state;
#[cfg(feature = "shell")]
pub mod systemd;
