//! What the owner of a host should know of its routes.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// One thing to know. It is no fault of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// A stable word for programs.
    pub code: Code,
    /// What it is about.
    pub prefix: IpNet,
    /// For people: what is so, why, and what to do.
    pub text: String,
}

/// What there is to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A route that came after the host joined leads into the overlay's prefixes. It gets no packet.
    ForeignRoute,
    /// Overlay addresses cannot be reached, because the host has a network there.
    Shadowed,
    /// An approved route that the host does not agree to.
    RefusedRoute,
    /// Guests of the host on a bridge, as it seems, whose packets do not get into the overlay.
    ClosedBridge,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
