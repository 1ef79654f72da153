//! Reports as text.

use std::fmt::Display;

use festoon_proto::ManagerId;
use festoon_proto::map::EndpointKind;

use crate::snapshot::{Entry, Standing, readable_time};
use crate::status::{EndpointRow, ManagerRow, NetworkRow, Report};

/// The whole report.
pub(super) fn status(report: &Report) -> String {
    let registry = registry(report);
    let draining = if report.draining { ", draining" } else { "" };
    let mut text = format!("cluster {}, manager {}{draining}\n", report.cluster, name_of(report, report.manager));
    text.push_str(&format!("registry at version {}: {registry}\n", report.version));
    if let Some(difference) = difference(report) {
        text.push_str(&format!("{difference}\n"));
    }
    for network in &report.networks {
        text.push_str(&format!("network {}: {}, mtu {}\n", network.name, list(&network.prefixes), network.mtu));
    }
    if let Some(standing) = &report.snapshots {
        text.push_str(&format!("snapshots every {}: {}\n", standing.every, snapshot_standing(standing)));
    }
    text.push_str(&format!("\n{}", table(&manager_rows(report))));
    if !report.endpoints.is_empty() {
        text.push_str(&format!("\n{}", endpoints(report)));
    }
    if let more @ 1.. = report.endpoint_count.saturating_sub(report.endpoints.len()) {
        text.push_str(&format!("and {more} more: see `festoon-manager endpoint list`\n"));
    }
    if !report.drops.is_empty() {
        let rows = report.drops.iter().map(|(reason, count)| vec![reason.clone(), count.to_string()]);
        let head = vec!["DROPPED HERE".to_owned(), "PACKETS".to_owned()];
        text.push_str(&format!("\n{}", table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())));
    }
    text
}

/// Whether the registry can be changed, and what the next loss of a manager would cost.
fn registry(report: &Report) -> String {
    let health = &report.registry;
    if let Some(later) = health.later_epoch {
        return format!(
            "FENCED OFF in epoch {}, the cluster is in {later}: run `festoon-manager rejoin` here",
            health.epoch
        );
    }
    let voters = health.members.iter().filter(|member| member.votes).count();
    let leader =
        health.leader.map_or("nobody leads".to_owned(), |leader| format!("{} leads", name_of(report, leader.manager)));
    let change = match health.spare() {
        _ if health.leader.is_none() => {
            format!("changes are REFUSED, {} of {voters} managers must agree", health.quorum())
        }
        None => format!("changes are REFUSED, {} of {voters} managers must agree", health.quorum()),
        Some(0) if voters == 1 => "a single copy: take snapshots, or let another manager join".to_owned(),
        Some(0) => "the next manager lost stops changes, and nothing else".to_owned(),
        Some(1) => "one manager may be lost at no cost".to_owned(),
        Some(spare) => format!("{spare} managers may be lost at no cost"),
    };
    format!("{leader}, epoch {}, term {}; {change}", health.epoch, health.term)
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

/// Snapshots.
pub(super) fn snapshots(all: &[Entry]) -> String {
    let head = ["SNAPSHOT", "TAKEN", "SIZE"].map(str::to_owned).to_vec();
    let row = |entry: &Entry| vec![entry.name.clone(), readable_time(entry.created), bytes(entry.bytes)];
    table(&std::iter::once(head).chain(all.iter().map(row)).collect::<Vec<_>>())
}

/// The networks alone.
pub(super) fn networks(networks: &[NetworkRow]) -> String {
    let head = ["NETWORK", "ID", "PREFIXES", "RESERVED", "MTU", "ENDPOINTS"].map(str::to_owned).to_vec();
    let row = |row: &NetworkRow| {
        vec![
            row.name.clone(),
            row.id.to_string(),
            list(&row.prefixes),
            list(&row.reserved),
            row.mtu.to_string(),
            row.endpoints.to_string(),
        ]
    };
    table(&std::iter::once(head).chain(networks.iter().map(row)).collect::<Vec<_>>())
}

/// The endpoints alone.
pub(super) fn endpoints(report: &Report) -> String {
    let head = [
        "ENDPOINT",
        "ID",
        "KIND",
        "NETWORK",
        "ADDRESS",
        "MANAGER",
        "GENERATION",
        "UNDERLAY",
        "HANDSHAKE",
        "HEARD",
        "RECEIVED",
        "SENT",
    ];
    let rows = report.endpoints.iter().map(|row| endpoint_row(report, row));
    table(&std::iter::once(head.map(str::to_owned).to_vec()).chain(rows).collect::<Vec<_>>())
}

fn manager_rows(report: &Report) -> Vec<Vec<String>> {
    let head = ["MANAGER", "ID", "STATE", "PRIORITY", "UNDERLAY", "LINK", "RTT", "ENDPOINTS", "REGISTRY"];
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
            list(&row.underlay),
            link,
            row.rtt_us.map_or("-".to_owned(), |us| format!("{:.1} ms", f64::from(us) / 1000.0)),
            row.endpoints.to_string(),
            part_in_registry(report, row.id),
        ]
    };
    std::iter::once(head.map(str::to_owned).to_vec()).chain(report.managers.iter().map(row)).collect()
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
        list(&row.addresses),
        row.manager.map_or("-".to_owned(), |id| name_of(report, id)),
        or_dash(row.generation),
        or_dash(row.underlay),
        row.last_handshake_ms_ago.map_or("-".to_owned(), ago),
        row.heard_ms_ago.map_or("-".to_owned(), ago),
        bytes(row.rx_bytes),
        bytes(row.tx_bytes),
    ]
}

fn name_of(report: &Report, id: ManagerId) -> String {
    report.managers.iter().find(|row| row.id == id).map_or_else(|| id.to_string(), |row| row.name.clone())
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn list<T: Display>(items: &[T]) -> String {
    if items.is_empty() { "-".to_owned() } else { items.iter().map(T::to_string).collect::<Vec<_>>().join(",") }
}

/// So many seconds, in the largest unit that divides them.
pub(super) fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3600, "h"), (60, "m")];
    let unit = UNITS.iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, letter)| format!("{}{letter}", seconds / unit))
}

fn ago(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..60 => format!("{seconds}s ago"),
        seconds @ 60..3600 => format!("{}m{}s ago", seconds / 60, seconds % 60),
        seconds => format!("{}h{}m ago", seconds / 3600, seconds / 60 % 60),
    }
}

fn bytes(count: u64) -> String {
    let mut scaled = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if scaled < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{scaled:.1} {unit}") };
        }
        scaled /= 1024.0;
    }
    format!("{scaled:.1} TiB")
}

/// Columns as wide as their widest cell.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([5, 90, 3600, 604_800].map(duration), ["5s", "90s", "1h", "7d"]);
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 40), "5.0 TiB");
        assert_eq!(ago(59_999), "59s ago");
        assert_eq!(ago(61_000), "1m1s ago");
        assert_eq!(ago(7_260_000), "2h1m ago");
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
        assert!(!status(&report([false; 3])).contains("DIFFERS"));
        let shown = status(&report([false, true, true]));
        assert!(shown.contains("\nthe registry of m1 DIFFERS from that of m2, m3"), "{shown}");
        assert!(shown.contains("delete registry.redb"), "{shown}");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["A".to_owned(), "B".to_owned()], vec!["long".to_owned(), "x".to_owned()]];
        assert_eq!(table(&rows), "A     B\nlong  x\n");
    }
}
