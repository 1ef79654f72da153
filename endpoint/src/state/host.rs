//! What the agent remembers of its host.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::{Config, prefixes};
use crate::host::{Choice, Consent, Home};

/// What the host had when it joined, and what its owner chose since.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostRecord {
    /// What it had. It is not looked up again: what a network brings later may be an attack.
    pub home: Home,
    /// The overlay's interface when the agent last ran: its routes, rules and filter are found again by that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Prefixes that are the host's own, too.
    #[serde(default)]
    pub local: Vec<IpNet>,
    /// Prefixes behind it that may send into the overlay through it.
    #[serde(default)]
    pub forward_from: Vec<IpNet>,
    /// The approved routes that it uses; the default if none is named.
    #[serde(default)]
    pub accept_routes: Vec<Consent>,
}

impl HostRecord {
    /// Takes over the lists that are given now; the others stay.
    pub fn choose(&mut self, config: &Config) {
        if !config.local.is_empty() {
            self.local = prefixes(&config.local);
        }
        if !config.forward_from.is_empty() {
            self.forward_from = prefixes(&config.forward_from);
        }
        if !config.accept_routes.is_empty() {
            self.accept_routes.clone_from(&config.accept_routes);
        }
    }

    /// What its owner chose.
    pub fn choice(&self) -> Choice {
        let consents = if self.accept_routes.is_empty() { vec![Consent::Private] } else { self.accept_routes.clone() };
        Choice { local: self.local.clone(), forward_from: self.forward_from.clone(), consents }
    }
}
