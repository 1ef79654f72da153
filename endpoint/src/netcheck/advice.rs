//! What is wrong, in plain words, and what to do about it.

use std::fmt;

use festoon_proto::ManagerId;
use serde::{Deserialize, Serialize};

use super::mtu::overlay_mtu;
use super::{Https, Manager, Outcome, Report};
use crate::host::Code as NoteCode;

/// A clock that differs by more, in seconds, is a fault that will show.
const CLOCK_TOLERANCE_S: i64 = 30;
/// Certificates renew by themselves long before.
const CERTIFICATE_SOON_S: i64 = 14 * 86_400;
/// What IPv6 needs (RFC 8200 section 5), and so the least MTU of a network.
const LEAST_OVERLAY_MTU: u16 = 1280;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// A stable word for programs.
    pub code: Code,
    /// The manager on the way to which it is found, if it is not everywhere.
    pub manager: Option<ManagerId>,
    /// What is wrong and what to do, for people.
    pub text: String,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The agent does not run.
    AgentNotRunning,
    /// The agent has a problem with this host.
    Host,
    /// A route that came after this host joined leads into the overlay's prefixes.
    ForeignRoute,
    /// No manager can be reached in any way.
    NoManager,
    /// No manager answers over UDP, but over TCP.
    UdpBlocked,
    /// This manager does not answer over UDP.
    ManagerUdp,
    /// Probes are lost.
    Loss,
    /// The underlay does not take the largest packets of the overlay in one piece.
    SmallMtu,
    /// HTTPS does not get through.
    HttpsBlocked,
    /// What answers over HTTPS has no good certificate.
    BadCertificate,
    /// A certificate ends soon.
    CertificateEnds,
    /// A manager does not take this endpoint.
    Refused,
    /// A manager answers over HTTPS with an error.
    HttpsFailed,
    /// This host's clock, or a manager's, is wrong.
    Clock,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Warning {
    fn general(code: Code, text: impl Into<String>) -> Self {
        Self { code, manager: None, text: text.into() }
    }

    fn at(manager: &Manager, code: Code, text: String) -> Self {
        Self { code, manager: Some(manager.id), text }
    }
}

/// All that is wrong in a report. Its own warnings are not looked at.
pub fn warnings(report: &Report) -> Vec<Warning> {
    let mut all = Vec::new();
    if !report.agent_runs {
        let text = "the agent is not running, so this host is not in the overlay: start it with `systemctl start \
                    festoon` or `festoon up`";
        all.push(Warning::general(Code::AgentNotRunning, text));
    }
    all.extend(report.problems.iter().map(|problem| Warning::general(Code::Host, problem)));
    let foreign = report.notes.iter().filter(|note| note.code == NoteCode::ForeignRoute);
    all.extend(foreign.map(|note| Warning::general(Code::ForeignRoute, &note.text)));
    all.extend(reachability(report));
    for manager in &report.managers {
        all.extend(loss(manager));
        all.extend(small_mtu(report, manager));
        all.extend(manager.https.iter().filter_map(|https| over_https(manager, https)));
    }
    all.extend(clocks(report));
    all
}

/// Which managers cannot be reached, said once if it is all of them.
fn reachability(report: &Report) -> Vec<Warning> {
    let is_there = |manager: &Manager| manager.https.iter().any(|https| https.outcome.is_there());
    let silent: Vec<&Manager> = report.managers.iter().filter(|manager| !manager.udp.works()).collect();
    if silent.len() < report.managers.len() {
        return silent.into_iter().map(|manager| silent_manager(manager, is_there(manager))).collect();
    }
    if report.managers.iter().any(is_there) {
        let ports: Vec<String> = ports(report).iter().map(ToString::to_string).collect();
        let text = format!(
            "no manager answers over UDP, though over TCP: a firewall drops UDP on the way. Let this host send UDP to port \
             {} of the managers, and let their answers back in",
            ports.join(" or ")
        );
        return vec![Warning::general(Code::UdpBlocked, text)];
    }
    let text = "no manager can be reached, neither over UDP nor over TCP: look whether this host has a way to them (`ip \
                route get ADDRESS`), and whether they run";
    vec![Warning::general(Code::NoManager, text)]
}

fn silent_manager(manager: &Manager, is_there: bool) -> Warning {
    let why = if is_there {
        "over TCP it does, so a firewall on the way drops UDP, or the manager's UDP port is another than the one it is \
         declared with"
    } else {
        "nor over TCP: it is down, or there is no way to it from here"
    };
    let text = format!("{} does not answer over UDP{}; {why}", manager.name, at_underlay(manager));
    Warning::at(manager, Code::ManagerUdp, text)
}

fn at_underlay(manager: &Manager) -> String {
    manager.udp.underlay.map_or_else(String::new, |underlay| format!(" at {underlay}"))
}

fn ports(report: &Report) -> Vec<u16> {
    let underlay = report.managers.iter().filter_map(|manager| manager.udp.underlay);
    let mut ports: Vec<u16> = underlay.map(|underlay| underlay.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn loss(manager: &Manager) -> Option<Warning> {
    let (sent, lost) = (manager.udp.sent, manager.udp.sent.saturating_sub(manager.udp.answered));
    if lost == 0 || !manager.udp.works() {
        return None;
    }
    let text = format!(
        "{lost} of {sent} probes of {} were not answered: the underlay loses packets. `festoon ping {} -c 100` says how many",
        manager.name, manager.name
    );
    Some(Warning::at(manager, Code::Loss, text))
}

fn small_mtu(report: &Report, manager: &Manager) -> Option<Warning> {
    let (underlay, needed) = (manager.udp.underlay?, manager.udp.needed_mtu?);
    let Some(found) = manager.udp.path_mtu else {
        let text = format!(
            "no larger packet that must stay in one piece passes to {}, though small ones do: something on the way drops them. \
             The tunnel works as long as fragments pass",
            manager.name
        );
        return manager.udp.works().then(|| Warning::at(manager, Code::SmallMtu, text));
    };
    if found.bytes >= needed {
        return None;
    }
    let fitting = overlay_mtu(found.bytes, underlay);
    let cure = if fitting >= LEAST_OVERLAY_MTU {
        let network = &report.network;
        format!(
            "Set the network's MTU to {fitting} (on a manager: `festoon-manager networks set {network} --mtu {fitting}`)"
        )
    } else {
        format!("No overlay can have an MTU of {fitting}, for IPv6 needs 1280: raise that of the underlay to {needed}")
    };
    let text = format!(
        "packets of up to {} bytes pass to {} in one piece, but the overlay's MTU of {} takes {needed}: larger packets go in \
         fragments, which is slow, and which some networks drop. {cure}",
        found.bytes, manager.name, report.overlay_mtu
    );
    Some(Warning::at(manager, Code::SmallMtu, text))
}

fn over_https(manager: &Manager, https: &Https) -> Option<Warning> {
    let (name, at) = (&manager.name, https.address);
    let (code, text) = match &https.outcome {
        Outcome::Answered { certificate_left_s: Some(left), .. } if *left < CERTIFICATE_SOON_S => (
            Code::CertificateEnds,
            format!(
                "the certificate of {name} ends in {} days. Managers renew theirs by themselves: see what `festoon-manager ca \
                 show` and that manager's log say",
                left / 86_400
            ),
        ),
        Outcome::Answered { .. } => return None,
        Outcome::Unreachable { reason } => (
            Code::HttpsBlocked,
            format!(
                "{name} cannot be reached over TCP at {at} ({reason}): let this host connect there. Traffic goes on without, \
                 but this host hears of no change while no manager can be reached so"
            ),
        ),
        Outcome::Untrusted { reason } => (
            Code::BadCertificate,
            format!(
                "what answers over TCP at {at} does not prove to be {name} ({reason}): something on the way breaks TLS open, or \
                 this host's clock is wrong, or the address is another's now"
            ),
        ),
        Outcome::Refused { reason } => (
            Code::Refused,
            format!("{name} refuses this endpoint ({reason}): if it was removed, `festoon leave` and join again"),
        ),
        Outcome::Failed { reason } => {
            (Code::HttpsFailed, format!("{name} is in trouble over HTTPS ({reason}): see its log"))
        }
    };
    Some(Warning::at(manager, code, text))
}

/// Managers whose time differs from this host's. If it is all of them, the clock here is wrong.
fn clocks(report: &Report) -> Vec<Warning> {
    let ahead = |manager: &Manager| {
        manager.https.iter().find_map(|https| match https.outcome {
            Outcome::Answered { clock_ahead_s, .. } => clock_ahead_s,
            _ => None,
        })
    };
    let told: Vec<(&Manager, i64)> = report.managers.iter().filter_map(|it| Some((it, ahead(it)?))).collect();
    let wrong = || told.iter().filter(|(_, ahead)| ahead.abs() > CLOCK_TOLERANCE_S);
    if let (Some(&(_, ahead)), true) = (told.first(), wrong().count() == told.len()) {
        let text = format!(
            "this host's clock is {} the managers': have it set by NTP (systemd-timesyncd or chrony), for certificates and \
             tokens depend on it",
            apart(ahead)
        );
        return vec![Warning::general(Code::Clock, text)];
    }
    let one = |(manager, ahead): &(&Manager, i64)| {
        let text = format!(
            "this host's clock is {} that of {}, and not of the others: have the clock there set by NTP",
            apart(*ahead),
            manager.name
        );
        Warning::at(manager, Code::Clock, text)
    };
    wrong().map(one).collect()
}

fn apart(ahead_s: i64) -> String {
    format!("{} s {}", ahead_s.unsigned_abs(), if ahead_s > 0 { "ahead of" } else { "behind" })
}

#[cfg(test)]
mod tests;
