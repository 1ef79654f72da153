//! `festoon-manager status`: how the cluster is doing. The manager on this machine tells more of itself than one elsewhere.

use festoon_api::{Cluster, Manager, MemberState};
use festoon_control::registry::CLOCK_TOLERANCE_MS;
use festoon_proto::ManagerId;
use festoon_proto::map::EndpointKind;
use serde::Serialize;

use super::client::{Query, api};
use super::output::{Column, Output, Table, ago_of, bytes, details, list_of, or_dash};
use super::record::{Names, Row as _, Session};
use crate::local::STATUS;
use crate::snapshot::{Standing, readable_time};
use crate::status::{EndpointRow, ManagerRow, NetworkRow, Report};

/// The endpoints that are shown. `endpoints list` shows all.
const ROWS: usize = 100;

pub(super) async fn run(session: &Session) -> anyhow::Result<()> {
    if !session.client.is_here() {
        return elsewhere(session).await;
    }
    let report: Report = session.client.get(&format!("{STATUS}?limit={ROWS}")).await?;
    session.output.show(&report, || status(&report, session.output))
}

/// What a manager elsewhere says of the cluster.
#[derive(Debug, Serialize)]
struct Elsewhere {
    cluster: Cluster,
    managers: Vec<Manager>,
}

async fn elsewhere(session: &Session) -> anyhow::Result<()> {
    let cluster: Cluster = session.client.get(&api("/cluster")).await?;
    let managers: Vec<Manager> = session.client.list(&Query::of("/managers"), None).await?;
    let names = Names::load(&session.client).await;
    let said = Elsewhere { cluster, managers };
    session.output.show(&said, || {
        let rows = said.managers.iter().map(|manager| manager.row(&names));
        let managers = Table::new(Manager::COLUMNS, Manager::EMPTY).rows(rows);
        format!("{}\n{}", summary(&said.cluster, &names), session.output.rendered(&managers))
    })
}

fn summary(cluster: &Cluster, names: &Names) -> String {
    let leader = cluster.leader.map_or("nobody leads".to_owned(), |leader| format!("{} leads", names.manager(leader)));
    let lines = [
        ("registry", format!("{leader}, version {}", cluster.version)),
        ("changes", changes(cluster)),
        ("networks", cluster.networks.to_string()),
        ("endpoints", cluster.endpoints.to_string()),
    ];
    details(&format!("cluster {}, as manager {} sees it", cluster.id, names.manager(cluster.manager)), &lines)
}

/// Whether the registry can be changed, and what the next loss of a manager would cost.
fn changes(cluster: &Cluster) -> String {
    let voters = cluster.members.iter().filter(|member| member.state != MemberState::Learner);
    let heard = voters.clone().filter(|member| member.heard).count() as u64;
    match cluster.writable {
        false => refused(cluster.quorum as usize, voters.count()),
        true => spare(heard.saturating_sub(cluster.quorum) as usize, cluster.quorum == 1 && heard == 1),
    }
}

fn refused(quorum: usize, voters: usize) -> String {
    format!("REFUSED: {quorum} of {voters} managers must agree")
}

fn spare(spare: usize, is_alone: bool) -> String {
    match spare {
        _ if is_alone => "a single copy: take snapshots, or let another manager join".to_owned(),
        0 => "no spare manager: if one more fails, the registry can't be changed (traffic continues)".to_owned(),
        1 => "one more manager may fail".to_owned(),
        spare => format!("{spare} more managers may fail"),
    }
}

/// The whole report.
fn status(report: &Report, output: Output) -> String {
    let draining = if report.draining { ", draining" } else { "" };
    let title = format!("cluster {}, manager {}{draining}", report.cluster, name_of(report, report.manager));
    let mut lines = vec![("registry", registry(report)), ("changes", changes_here(report))];
    let network =
        |network: &NetworkRow| format!("{}: {}, mtu {}", network.name, list_of(&network.prefixes), network.mtu);
    lines.extend(report.networks.iter().map(|row| ("network", network(row))));
    if let Some(standing) = &report.snapshots {
        lines.push(("snapshots", format!("every {}: {}", standing.every, snapshot_standing(standing))));
    }
    let mut text = details(&title, &lines);
    for problem in [difference(report), clocks(report)].into_iter().flatten() {
        text.push_str(&format!("{problem}\n"));
    }
    text.push_str(&format!("\n{}", output.rendered(&managers(report))));
    if !report.endpoints.is_empty() {
        text.push_str(&format!("\n{}", output.rendered(&endpoints(report))));
    }
    if let more @ 1.. = report.endpoint_count.saturating_sub(report.endpoints.len()) {
        text.push_str(&format!("and {more} more: see `festoon-manager endpoints list`\n"));
    }
    if !report.drops.is_empty() {
        let rows = report.drops.iter().map(|(reason, count)| vec![reason.clone(), count.to_string()]);
        let columns = ["DROPPED HERE", "PACKETS"].map(Column::always);
        text.push_str(&format!("\n{}", output.rendered(&Table::new(&columns, "").rows(rows))));
    }
    text
}

/// Who leads the registry, and how far it is.
fn registry(report: &Report) -> String {
    let health = &report.registry;
    let leader = health.leader.map(|leader| format!("{} leads", name_of(report, leader.manager)));
    let leader = leader.unwrap_or_else(|| "nobody leads".to_owned());
    format!("{leader}, version {}, epoch {}, term {}", report.version, health.epoch, health.term)
}

fn changes_here(report: &Report) -> String {
    let health = &report.registry;
    if let Some(later) = health.later_epoch {
        return format!("FENCED OFF: the cluster is in epoch {later}; run `festoon-manager rejoin` here");
    }
    let voters = health.members.iter().filter(|member| member.votes).count();
    match health.spare().filter(|_| health.leader.is_some()) {
        None => refused(health.quorum(), voters),
        Some(count) => spare(count, count == 0 && voters == 1),
    }
}

/// That managers do not have the same registry, and what to do.
fn difference(report: &Report) -> Option<String> {
    let health = &report.registry;
    let others = health.members.iter().filter(|member| member.differs);
    let others: Vec<_> = others.map(|member| name_of(report, member.id.manager)).collect();
    if others.is_empty() {
        return None;
    }
    Some(format!(
        "the registry of {} DIFFERS from that of {}, which must never be: please report it. Take a snapshot of each. Then stop the one that is wrong (of several, the one that differs from all others), delete registry.redb in its --data-dir and start it: it gets a copy of the others",
        name_of(report, health.me.manager),
        others.join(", ")
    ))
}

/// That clocks are wrong, and what to do.
fn clocks(report: &Report) -> Option<String> {
    let health = &report.registry;
    let is_wrong = |ahead: &i64| ahead.unsigned_abs() > CLOCK_TOLERANCE_MS;
    let wrong = health.members.iter().filter_map(|member| Some((member.id, member.clock_ahead_ms.filter(is_wrong)?)));
    let side = |ahead: i64| if ahead < 0 { "behind" } else { "ahead" };
    let wrong = wrong.map(|(id, ahead)| {
        format!("the clock of {} is {} s {}", name_of(report, id.manager), ahead.unsigned_abs() / 1000, side(ahead))
    });
    let wrong: Vec<_> = wrong.collect();
    if !wrong.is_empty() {
        return Some(format!(
            "{}: the others go by the clocks of the majority, and it changes nothing. Set it (`timedatectl` says whether NTP runs)",
            wrong.join(", ")
        ));
    }
    // Each has its own clock at least.
    let is_unknown = health.leader.is_some() && health.members.iter().all(|member| member.clock_ahead_ms.is_none());
    is_unknown.then(|| {
        "the clocks of the managers DIFFER by more than 5 minutes, and no majority agrees: nothing can be changed that depends on time. Set them (`timedatectl` says whether NTP runs)"
            .to_owned()
    })
}

fn snapshot_standing(standing: &Standing) -> String {
    let directory = standing.directory.display();
    let last = match &standing.last {
        Some(last) => format!("the last good one is of {}, in {directory}", readable_time(last.created)),
        None => "there is none yet".to_owned(),
    };
    match &standing.failure {
        Some(failure) => format!("the last attempt FAILED: {failure}; {last}"),
        None => last,
    }
}

fn endpoints(report: &Report) -> Table {
    let columns = [
        Column::always("ENDPOINT"),
        Column::if_room(2, "ID"),
        Column::if_room(6, "KIND"),
        Column::if_room(1, "NETWORK"),
        Column::always("ADDRESS"),
        Column::always("MANAGER"),
        Column::if_room(9, "GENERATION"),
        Column::if_room(4, "UNDERLAY"),
        Column::if_room(5, "HANDSHAKE"),
        Column::if_room(3, "HEARD"),
        Column::if_room(8, "RECEIVED"),
        Column::if_room(7, "SENT"),
    ];
    Table::new(&columns, "").rows(report.endpoints.iter().map(|row| endpoint_row(report, row)))
}

fn managers(report: &Report) -> Table {
    let columns = [
        Column::always("MANAGER"),
        Column::if_room(4, "ID"),
        Column::always("STATE"),
        Column::if_room(3, "PRIORITY"),
        Column::if_room(5, "UNDERLAY"),
        Column::if_room(1, "LINK"),
        Column::if_room(2, "RTT"),
        Column::if_room(1, "ENDPOINTS"),
        Column::always("REGISTRY"),
    ];
    let row = |row: &ManagerRow| {
        let link = match (row.id == report.manager, row.direct, row.next_hop) {
            (true, ..) => "here".to_owned(),
            (_, true, _) => "direct".to_owned(),
            (_, _, Some(hop)) => format!("via {}", name_of(report, hop)),
            _ => "-".to_owned(),
        };
        vec![
            row.name.clone(),
            row.id.to_string(),
            row.state.clone(),
            row.priority.to_string(),
            list_of(&row.underlay),
            link,
            row.rtt_us.map_or("-".to_owned(), |us| format!("{:.1} ms", f64::from(us) / 1000.0)),
            row.endpoints.to_string(),
            part_in_registry(report, row.id),
        ]
    };
    Table::new(&columns, "").rows(report.managers.iter().map(row))
}

fn part_in_registry(report: &Report, id: ManagerId) -> String {
    let health = &report.registry;
    let Some(member) = health.members.iter().find(|member| member.id.manager == id) else { return "-".to_owned() };
    let part = match (health.leader == Some(member.id), member.votes, member.is_heard) {
        (true, ..) => "leads",
        (_, _, false) => "silent",
        (_, true, _) => "votes",
        (_, false, _) => "learns",
    };
    match member.lag {
        Some(lag @ 1..) => format!("{part}, {lag} behind"),
        _ => part.to_owned(),
    }
}

fn endpoint_row(report: &Report, row: &EndpointRow) -> Vec<String> {
    vec![
        row.name.clone(),
        row.id.to_string(),
        match row.kind {
            EndpointKind::Agent => "agent".to_owned(),
            EndpointKind::Client => "client".to_owned(),
        },
        row.network.clone(),
        list_of(&row.addresses),
        row.manager.map_or("-".to_owned(), |id| name_of(report, id)),
        or_dash(row.generation),
        or_dash(row.underlay),
        ago_of(row.last_handshake_ms_ago),
        ago_of(row.heard_ms_ago),
        bytes(row.rx_bytes),
        bytes(row.tx_bytes),
    ]
}

fn name_of(report: &Report, id: ManagerId) -> String {
    report.managers.iter().find(|row| row.id == id).map_or_else(|| id.to_string(), |row| row.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(report: &Report) -> String {
        status(report, Output::default())
    }

    #[test]
    fn copies_that_differ_are_named_with_what_to_do() {
        let report = |differs: [bool; 3]| -> Report {
            let id = |number: u16| serde_json::json!({ "manager": number, "incarnation": 0 });
            let members = (1..).zip(differs).map(|(number, differs)| {
                serde_json::json!({ "id": id(number), "votes": true, "is_heard": true, "lag": null, "differs": differs })
            });
            let epoch = serde_json::json!({ "began_unix_ms": 0, "number": 1, "by": null });
            serde_json::from_value(serde_json::json!({
                "cluster": "c", "manager": 1, "draining": false, "version": 9, "networks": [], "managers": [],
                "endpoint_count": 0, "endpoints": [], "snapshots": null, "drops": {},
                "registry": {
                    "me": id(1), "role": "leader", "leader": id(1), "epoch": epoch, "later_epoch": null, "term": 1,
                    "last_log": 9, "applied": 9, "is_changing": false, "members": members.collect::<Vec<_>>(),
                },
            }))
            .unwrap()
        };
        assert!(!text(&report([false; 3])).contains("DIFFERS"));
        let shown = text(&report([false, true, true]));
        assert!(shown.contains("\nthe registry of m1 DIFFERS from that of m2, m3"), "{shown}");
        assert!(shown.contains("delete registry.redb"), "{shown}");
    }
}
