//! `festoon status` for people.

use std::fmt::{self, Display, Formatter};

use festoon_proto::harmless::harmless;

use super::AgentStatus;
use crate::host::{Code, Protection};
use crate::node::status::ManagerStatus;
use crate::output::titled;

impl Display for AgentStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { setup, node } = self;
        writeln!(f, "interface: {}", setup.interface)?;
        line(f, "endpoint", format_args!("{} ({})", setup.name, setup.endpoint))?;
        line(f, "network", format_args!("{} ({})", setup.network_name, setup.network))?;
        line(f, "addresses", list(setup.addresses.iter()))?;
        line(f, "public key", setup.public_key)?;
        line(f, "listening port", setup.listen_port)?;
        line(f, "active manager", list(self.active().map(named).into_iter()))?;
        line(f, "spare managers", list(self.spares().map(named)))?;
        line(f, "generation", node.generation)?;
        line(f, "map version", setup.map_version.0)?;
        line(f, "transfer", format_args!("{} received, {} sent", Bytes(node.rx_bytes), Bytes(node.tx_bytes)))?;
        for (reason, count) in node.drops.iter().filter(|(_, count)| *count > 0) {
            line(f, "dropped", format_args!("{count} {reason}"))?;
        }
        line(f, "routing table", format_args!("{} (ip route show table {0})", setup.routing_table))?;
        line(
            f,
            "leak protection",
            match setup.leak_protection {
                Protection::Require => "required",
                Protection::Warn => "used if nftables works",
                Protection::Off => "off: overlay traffic may leave this host outside the tunnel",
            },
        )?;
        for note in &setup.notes {
            let label = match note.code {
                Code::ForeignRoute => "foreign route",
                Code::Shadowed => "shadowed",
                Code::RefusedRoute => "refused route",
                Code::ClosedBridge => "closed bridge",
            };
            line(f, label, note)?;
        }
        for problem in &setup.problems {
            line(f, "problem", problem)?;
        }
        node.managers.iter().try_for_each(|manager| write_manager(f, manager))
    }
}

fn write_manager(f: &mut Formatter<'_>, manager: &ManagerStatus) -> fmt::Result {
    writeln!(f, "\nmanager: {}", named(manager))?;
    line(f, "state", manager.state)?;
    if let Some(underlay) = manager.underlay {
        line(f, "underlay address", underlay)?;
    }
    if let Some(observed) = manager.observed {
        line(f, "sees us as", observed)?;
    }
    if let Some(rtt) = manager.rtt_us {
        line(f, "round trip", Millis(rtt))?;
    }
    match manager.heard_ms_ago {
        Some(ms) => line(f, "last heard", Ago(ms))?,
        None => line(f, "last heard", "never")?,
    }
    match manager.handshake_ms_ago {
        Some(ms) => line(f, "latest handshake", Ago(ms)),
        None => Ok(()),
    }
}

/// Microseconds, in milliseconds.
pub(crate) struct Millis(pub(crate) u32);

impl Display for Millis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ms", self.0 / 1000, self.0 % 1000)
    }
}

/// Writes one line of a table.
pub(crate) fn line(f: &mut Formatter<'_>, label: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "  {label}: {}", harmless(&value.to_string()))
}

fn named(manager: &ManagerStatus) -> String {
    titled(&manager.name, manager.id)
}

fn list(items: impl Iterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "none".into() } else { items.join(", ") }
}

/// Bytes in the largest binary unit that leaves at least one before the point.
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match UNITS.iter().find(|(size, _)| self.0 >= *size) {
            Some((size, unit)) => write!(f, "{:.2} {unit}", self.0 as f64 / *size as f64),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// Milliseconds of the past.
struct Ago(u64);

impl Display for Ago {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms @ ..1_000 => write!(f, "{ms} ms ago"),
            ms @ ..120_000 => write!(f, "{} s ago", ms / 1_000),
            ms @ ..7_200_000 => write!(f, "{} min ago", ms / 60_000),
            ms => write!(f, "{} h ago", ms / 3_600_000),
        }
    }
}
