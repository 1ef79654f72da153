//! `make demo`: two managers in two clouds, three endpoints and a stock WireGuard client; then the manager that carries the
//! endpoints is killed under their traffic, and a table shows what they noticed.

mod keep;
mod table;

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::clock::now;
use crate::lab::{Host, Lab, remove_on_signals};
use crate::overlay::{Overlay, PREFIXES, Spec, Traffic, WireGuard, let_pass};
use table::Table;

/// Where the table also goes, as JSON.
const RESULT: &str = "target/demo.json";
/// Under way before the kill, and after it.
const CALM: Duration = Duration::from_secs(1);
const AFTERMATH: Duration = Duration::from_secs(2);

/// What one endpoint noticed.
#[derive(Debug, Serialize)]
struct Row {
    endpoint: String,
    kind: &'static str,
    address: IpAddr,
    to: String,
    manager_before: String,
    manager_after: String,
    gap_ms: f64,
    pings_lost: u64,
    tcp_kept: bool,
    bytes_sent: u64,
    bytes_lost: u64,
}

/// A host of the overlay, agent or client.
struct Member {
    name: String,
    kind: &'static str,
    host: Host,
    address: IpAddr,
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    match show() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("festoon-demo: the failover cost a connection or bytes: see the table");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("festoon-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every connection was kept and no byte lost.
fn show() -> anyhow::Result<bool> {
    remove_on_signals()?;
    let is_kept = keep::is_wanted()?;
    let lab = Lab::new()?;
    let (is_good, remains) = run(&lab, is_kept).inspect_err(|_| lab.print_logs())?;
    if let Some(remains) = remains {
        remains.hand_over(lab)?;
    }
    Ok(is_good)
}

fn run(lab: &Lab, is_kept: bool) -> anyhow::Result<(bool, Option<keep::Remains>)> {
    let start = now();
    println!(
        "Building: managers m1 and m2 in two clouds; endpoints web, db and, behind a NAT, backup; laptop, a stock"
    );
    println!("WireGuard client of m2. Their addresses are the customer's own, out of {}.", PREFIXES.join(" and "));
    let mut overlay =
        Overlay::start(lab, &Spec { priorities: &[200, 100], agents: &["web", "db"], ..Spec::default() })?;
    let office = overlay.clouds.last().context("no cloud")?.nat("office", "10.0.0.0/24")?;
    overlay.add_agent("backup", &office.host("backup")?)?;
    let laptop = WireGuard::start(&office.host("laptop")?, overlay.new_client("laptop", 1)?)?;
    overlay.wait_until_ready()?;
    println!("Ready in {:.1} s.\n", start.elapsed().as_secs_f64());
    let rows = fail_over(&mut overlay, &laptop)?;
    print!("{}", render(&rows));
    write(&rows)?;
    let is_good = rows.iter().all(|row| row.tcp_kept && row.bytes_lost == 0);
    let remains = if is_kept { Some(keep::prepare(lab, overlay, &laptop)?) } else { None };
    Ok((is_good, remains))
}

fn fail_over(overlay: &mut Overlay<'_>, laptop: &WireGuard) -> anyhow::Result<Vec<Row>> {
    let members = members(overlay, laptop)?;
    // Each to the next; the client, last, to the first.
    let pairs: Vec<(&Member, &Member)> = members.iter().zip(members.iter().take(3).cycle().skip(1)).collect();
    let begin = |(from, to): &(&Member, &Member)| Traffic::start(&from.host, &to.host, to.address);
    let traffic: Vec<Traffic> = pairs.iter().map(begin).collect::<Result<_, _>>()?;
    println!("Traffic: each pings another every 5 ms and sends it a TCP stream of 20 Mbit/s.");
    let before = carriers(overlay, 0, &members)?;
    let_pass(CALM);
    let active = overlay.active()?;
    println!("kill -9 of manager {}, which carries the three agents.", overlay.managers[active].name());
    overlay.managers[active].program()?.kill()?;
    let_pass(AFTERMATH);
    let after = carriers(overlay, 1 - active, &members)?;
    let mut rows = Vec::new();
    for (((from, to), traffic), (before, after)) in pairs.into_iter().zip(traffic).zip(before.into_iter().zip(after)) {
        let outcome = traffic.finish()?;
        rows.push(Row {
            endpoint: from.name.clone(),
            kind: from.kind,
            address: from.address,
            to: to.name.clone(),
            manager_before: before,
            manager_after: after,
            gap_ms: outcome.ping.gap_ms,
            pings_lost: outcome.ping.lost,
            tcp_kept: outcome.stream.kept,
            bytes_sent: outcome.stream.bytes,
            bytes_lost: outcome.stream.bytes_lost,
        });
    }
    Ok(rows)
}

fn members(overlay: &Overlay<'_>, laptop: &WireGuard) -> anyhow::Result<Vec<Member>> {
    let mut members = Vec::new();
    for agent in &overlay.agents {
        let (name, host) = (agent.name().to_owned(), agent.host.clone());
        members.push(Member { name, kind: "agent", host, address: agent.v4()? });
    }
    let (name, host) = ("laptop".to_owned(), laptop.host.clone());
    members.push(Member { name, kind: "client", host, address: laptop.v4()? });
    Ok(members)
}

/// The names of the managers that carry the members, as one manager has it.
fn carriers(overlay: &Overlay<'_>, asked: usize, members: &[Member]) -> anyhow::Result<Vec<String>> {
    let status = overlay.managers.get(asked).context("no such manager")?.status()?;
    let name = |member: &Member| match status.carrier(&member.name) {
        Some(id) => Ok(overlay.managers[overlay.index_of(id)?].name().to_owned()),
        None => Ok("none".to_owned()),
    };
    members.iter().map(name).collect()
}

fn render(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        "ENDPOINT",
        "KIND",
        "ADDRESS",
        "TO",
        "MANAGER BEFORE",
        "AFTER",
        "GAP",
        "TCP",
        "BYTES SENT",
        "LOST",
    ]);
    for row in rows {
        table.add([
            row.endpoint.clone(),
            row.kind.to_owned(),
            row.address.to_string(),
            row.to.clone(),
            row.manager_before.clone(),
            row.manager_after.clone(),
            format!("{:.0} ms", row.gap_ms),
            if row.tcp_kept { "kept" } else { "BROKEN" }.to_owned(),
            row.bytes_sent.to_string(),
            row.bytes_lost.to_string(),
        ]);
    }
    format!("\n{table}")
}

fn write(rows: &[Row]) -> anyhow::Result<()> {
    let path = Path::new(RESULT);
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    let text = serde_json::to_string_pretty(rows)? + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write {RESULT}"))?;
    println!("\nGap: the longest time in which no answer to a ping arrived. The table is in {RESULT} too.");
    Ok(())
}
