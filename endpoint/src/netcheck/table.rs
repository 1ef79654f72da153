//! `festoon netcheck` for people.

use std::fmt::{self, Display, Formatter};

use super::nat::Nat;
use super::{Family, Https, Manager, Outcome, Report};
use crate::control::{Millis, line};
use crate::host::Code;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "endpoint: {} ({}) in network {}", self.name, self.endpoint, self.network)?;
        line(f, "agent", if self.agent_runs { "runs" } else { "does not run: measured without it" })?;
        line(f, "IPv4", &self.ipv4)?;
        line(f, "IPv6", &self.ipv6)?;
        line(f, "overlay MTU", format_args!("{} bytes", self.overlay_mtu))?;
        self.managers.iter().try_for_each(|manager| write_manager(f, manager))?;
        if self.warnings.is_empty() {
            writeln!(f, "\nnothing is wrong")?;
        } else {
            writeln!(f, "\nwrong:")?;
            self.warnings.iter().try_for_each(|warning| writeln!(f, "  - {warning}"))?;
        }
        // A foreign route is among the warnings.
        let mut notes = self.notes.iter().filter(|note| note.code != Code::ForeignRoute).peekable();
        if notes.peek().is_some() {
            writeln!(f, "\nto know:")?;
        }
        notes.try_for_each(|note| writeln!(f, "  - {note}"))
    }
}

impl Display for Family {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(source) = self.source else { return f.write_str("this host has no route") };
        write!(f, "{source}")?;
        if self.nat == Nat::Unknown {
            return f.write_str(if self.answers { "" } else { ", but no manager answers over it" });
        }
        write!(f, ", {}", self.nat)?;
        if self.nat != Nat::None {
            let observed: Vec<String> = self.observed.iter().map(ToString::to_string).collect();
            write!(f, " ({})", observed.join(", "))?;
        }
        Ok(())
    }
}

fn write_manager(f: &mut Formatter<'_>, manager: &Manager) -> fmt::Result {
    let active = if manager.active { ", carries this endpoint" } else { "" };
    writeln!(f, "\nmanager: {} ({}){active}", manager.name, manager.id)?;
    let udp = &manager.udp;
    let underlay = udp.underlay.map_or_else(|| "no address".into(), |underlay| underlay.to_string());
    line(f, "UDP", format_args!("{underlay}, {} of {} probes answered", udp.answered, udp.sent))?;
    if let Some(rtt) = udp.rtt_us {
        line(f, "shortest round trip", Millis(rtt))?;
    }
    if let Some(observed) = udp.observed {
        line(f, "sees us as", observed)?;
    }
    if let (Some(found), Some(needed)) = (udp.path_mtu, udp.needed_mtu) {
        line(f, "path MTU", format_args!("{found}; the overlay needs {needed}"))?;
    }
    manager.https.iter().try_for_each(|https| line(f, "HTTPS", https))
}

impl Display for Https {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.address)?;
        match &self.outcome {
            Outcome::Answered { clock_ahead_s, certificate_left_s, .. } => {
                f.write_str("answers")?;
                if let Some(left) = certificate_left_s {
                    write!(f, ", certificate good for {} days", left / 86_400)?;
                }
                clock_ahead_s.map_or(Ok(()), |ahead| write!(f, ", clocks {} s apart", ahead.abs()))
            }
            Outcome::Unreachable { reason } => write!(f, "is unreachable: {reason}"),
            Outcome::Untrusted { reason } => write!(f, "is not to be trusted: {reason}"),
            Outcome::Refused { reason } => write!(f, "refuses this endpoint: {reason}"),
            Outcome::Failed { reason } => write!(f, "is in trouble: {reason}"),
        }
    }
}
