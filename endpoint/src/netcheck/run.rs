//! Gathers the facts of a [`Report`].
//!
//! Tasks: one a manager for its tunnel and one for its HTTPS listener, all at once. They only ask, so they may be cancelled at
//! any point.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use festoon_proto::ManagerId;
use festoon_proto::map::{EndpointMap, ManagerInfo};
use tokio::task::{JoinSet, spawn};

use super::mtu::{self, PathMtu, Search};
use super::nat::{Nat, Sighting};
use super::{Family, Https, Manager, Outcome, Report, Udp, advice};
use crate::config::Config;
use crate::https::{Checked, Client, RequestError};
use crate::node::measure::Measured;
use crate::node::status::ManagerStatus;
use crate::prober::Prober;
use crate::state::{Membership, StateDir};

/// Whether a manager answers at all is asked so many times, for a loss is not silence, and a handshake may be needed first.
const FIRST: Tries = Tries { count: 8, spacing: Duration::from_millis(300), patience: Duration::from_secs(3) };
/// Probes of a manager that answers.
const PROBES: u32 = 5;
const SPACING: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(1);
/// Packets of one size that are sent at once: if all are lost, it is hardly by chance.
const TRIES_OF_SIZE: u32 = 3;
const LEAST_SIZE_PATIENCE: Duration = Duration::from_millis(200);

/// How often to ask the same.
#[derive(Debug, Clone, Copy)]
struct Tries {
    count: u32,
    spacing: Duration,
    /// For each.
    patience: Duration,
}

/// Finds out all it can, through the agent or without it.
pub async fn netcheck(config: &Config) -> anyhow::Result<Report> {
    let membership = Arc::new(StateDir::new(&config.state_dir).membership()?);
    let map = membership.map.clone();
    let prober = Arc::new(Prober::any(config)?);
    let https = spawn(ask_all(membership));
    let tunnels = probe_all(&prober, &map).await?;
    let status = prober.status().await?;
    // A node that only measures has a favourite too, but is not carried by it.
    let active = status.active.filter(|_| prober.agent_status().is_some());
    let managers = map.managers.iter().zip(tunnels).zip(https.await?);
    let managers: Vec<Manager> = managers
        .map(|((info, udp), https)| {
            let (id, name, active) = (info.id, info.name.clone(), active == Some(info.id));
            let underlay = underlay_of(&status.managers, id);
            Manager { id, name, active, udp: complete(udp, underlay, prober.listen_port()), https }
        })
        .collect();
    let mut report = Report {
        endpoint: map.endpoint,
        name: map.name,
        network: map.network.name,
        overlay_mtu: map.network.mtu,
        agent_runs: prober.agent_status().is_some(),
        problems: prober.agent_status().map_or_else(Vec::new, |status| status.setup.problems.clone()),
        notes: prober.agent_status().map_or_else(Vec::new, |status| status.setup.notes.clone()),
        ipv4: family(&managers, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        ipv6: family(&managers, IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
        managers,
        warnings: Vec::new(),
    };
    report.warnings = advice::warnings(&report);
    Ok(report)
}

/// Every tunnel, in the order of the map.
async fn probe_all(prober: &Arc<Prober>, map: &EndpointMap) -> anyhow::Result<Vec<Udp>> {
    let mut tasks = Vec::new();
    for manager in &map.managers {
        tasks.push(spawn(probe(Arc::clone(prober), manager.id, map.network.mtu)));
    }
    let mut tunnels = Vec::new();
    for task in tasks {
        tunnels.push(task.await??);
    }
    Ok(tunnels)
}

async fn probe(prober: Arc<Prober>, manager: ManagerId, overlay_mtu: u16) -> anyhow::Result<Udp> {
    let Some(first) = any_answer(&prober, manager, None, FIRST).await? else {
        return Ok(Udp { sent: FIRST.count, ..Udp::default() });
    };
    // Its round trip may have had a handshake in it.
    let mut udp = Udp { observed: first.observed, sent: 1, answered: 1, ..Udp::default() };
    while udp.sent < PROBES {
        udp.sent += 1;
        if let Some(measured) = prober.measure(manager, None, PATIENCE).await? {
            udp.answered += 1;
            udp.observed = measured.observed;
            udp.rtt_us = udp.rtt_us.map_or(Some(measured.rtt_us), |rtt| Some(rtt.min(measured.rtt_us)));
        }
        tokio::time::sleep(SPACING).await;
    }
    let underlay = underlay_of(&prober.status().await?.managers, manager);
    if let (Some(rtt_us), Some(underlay)) = (udp.rtt_us, underlay) {
        let needed = mtu::needed(overlay_mtu, underlay);
        udp.needed_mtu = Some(needed);
        let rtt = Duration::from_micros(u64::from(rtt_us));
        udp.path_mtu = find_mtu(&prober, manager, Search::new(needed, underlay), rtt).await?;
    }
    Ok(udp)
}

async fn find_mtu(
    prober: &Arc<Prober>,
    manager: ManagerId,
    mut search: Search,
    rtt: Duration,
) -> anyhow::Result<Option<PathMtu>> {
    let patience = (rtt * 3).clamp(LEAST_SIZE_PATIENCE, PATIENCE);
    while let Some(size) = search.next_size() {
        let tries = Tries { count: TRIES_OF_SIZE, spacing: Duration::ZERO, patience };
        search.handle(size, any_answer(prober, manager, Some(size), tries).await?.is_some());
    }
    Ok(search.result())
}

/// The first answer to several probes, each sent whether those before were answered or not.
async fn any_answer(
    prober: &Arc<Prober>,
    manager: ManagerId,
    size: Option<u16>,
    tries: Tries,
) -> anyhow::Result<Option<Measured>> {
    let mut asked = JoinSet::new();
    for number in 0..tries.count {
        let prober = Arc::clone(prober);
        asked.spawn(async move {
            tokio::time::sleep(tries.spacing * number).await;
            prober.measure(manager, size, tries.patience).await
        });
    }
    while let Some(answer) = asked.join_next().await {
        if let Some(measured) = answer?? {
            return Ok(Some(measured));
        }
    }
    Ok(None)
}

/// Every address of every HTTPS listener, in the order of the map.
async fn ask_all(membership: Arc<Membership>) -> Vec<Vec<Https>> {
    let mut tasks = Vec::new();
    for manager in membership.map.managers.clone() {
        tasks.push(spawn(ask(Arc::clone(&membership), manager)));
    }
    let mut listeners = Vec::new();
    for task in tasks {
        listeners.push(task.await.unwrap_or_default());
    }
    listeners
}

async fn ask(membership: Arc<Membership>, manager: ManagerInfo) -> Vec<Https> {
    let mut listeners = Vec::new();
    for &address in &manager.https {
        let outcome = outcome(check(&membership, &manager, address).await);
        listeners.push(Https { address, outcome });
    }
    listeners
}

async fn check(membership: &Membership, manager: &ManagerInfo, at: SocketAddr) -> Result<Checked, RequestError> {
    Client::of_manager(manager, at, &membership.map.authorities)?.check(&membership.credential).await
}

fn outcome(checked: Result<Checked, RequestError>) -> Outcome {
    match checked {
        Ok(checked) => Outcome::Answered {
            clock_ahead_s: checked.clock_ahead_s,
            certificate_until: checked.certificate_until,
            certificate_left_s: checked.certificate_until.map(|until| until - checked.now),
        },
        Err(RequestError::Unreachable { reason, .. }) => Outcome::Unreachable { reason },
        Err(RequestError::Untrusted { reason, .. }) => Outcome::Untrusted { reason },
        Err(RequestError::Refused { reason, .. }) => Outcome::Refused { reason },
        Err(RequestError::Failed { reason, .. }) => Outcome::Failed { reason },
    }
}

fn underlay_of(managers: &[ManagerStatus], manager: ManagerId) -> Option<SocketAddr> {
    managers.iter().find(|status| status.id == manager)?.underlay
}

/// Adds the addresses that the tunnel has.
fn complete(udp: Udp, underlay: Option<SocketAddr>, port: u16) -> Udp {
    let source = underlay.and_then(source_towards);
    Udp { underlay, local: source.map(|source| SocketAddr::new(source, port)), ..udp }
}

/// The address that this host sends from to `to`. Nothing is sent.
fn source_towards(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// What is known with one version of IP. `somewhere` is any address outside, for a host whose managers have none of it.
fn family(managers: &[Manager], somewhere: IpAddr) -> Family {
    let is_ours = |address: &SocketAddr| address.is_ipv4() == somewhere.is_ipv4();
    let tunnels = || managers.iter().map(|it| &it.udp).filter(|udp| udp.underlay.as_ref().is_some_and(is_ours));
    let sightings: Vec<Sighting> = tunnels()
        .filter_map(|udp| Some(Sighting { to: udp.underlay?, local: udp.local?, observed: udp.observed? }))
        .collect();
    let mut observed: Vec<SocketAddr> = sightings.iter().map(|sighting| sighting.observed).collect();
    observed.sort_unstable();
    observed.dedup();
    let listeners = managers.iter().flat_map(|it| &it.https).filter(|https| is_ours(&https.address));
    let answers = tunnels().any(Udp::works) || listeners.clone().any(|https| https.outcome.is_there());
    let known = tunnels().filter_map(|udp| udp.underlay).chain(listeners.map(|https| https.address));
    let source = known.chain([SocketAddr::new(somewhere, 9)]).find_map(source_towards);
    Family { source, answers, nat: Nat::of(&sightings), observed }
}
