//! One endpoint floods its manager through its own tunnel, and over HTTPS: with packets for endpoints that are silent, with
//! attaches, with packets that provoke ICMP errors, with offers of routes. Others must not notice.
//!
//! Each flood through the tunnel is held against a control: the same program sends the same packets at the same rate to a port
//! of the manager's host that nftables drops. So what the sending itself costs this machine counts on both sides.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use super::size::percentile;
use crate::clock::now;
use crate::lab::{Lab, Program, tool};
use crate::overlay::{
    Agent, EventStream, Manager, Outcome, Overlay, Spec, Traffic, WireGuard, let_pass, wait_until_slowly,
};
use crate::tools::hostile::HostileReport;

/// The port that nftables drops.
const DROPPED: u16 = 9;
const TIME: Duration = Duration::from_secs(10);
/// A session of WireGuard is over after three minutes; then managers would have to make another.
const SILENCE: Duration = Duration::from_secs(195);
const SILENT_AGENTS: usize = 6;
const SILENT_CLIENTS: usize = 6;
const CHANGES: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);
const OFFERS: usize = 4000;
const MIB: f64 = 1024.0 * 1024.0;

/// A flood: its name, what the hostile program does, how often in a second, and with packets of which size.
struct Flood {
    name: &'static str,
    what: &'static str,
    rate: u32,
    size: u16,
}

const FLOODS: [Flood; 4] = [
    Flood { name: "silent", what: "packets", rate: 1000, size: 62_000 },
    Flood { name: "attaches", what: "attaches", rate: 6000, size: 28 },
    Flood { name: "generations", what: "generations", rate: 6000, size: 28 },
    Flood { name: "icmp", what: "packets", rate: 6000, size: 100 },
];

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], ..Spec::default() })?;
    let hostile = add_agent(&mut overlay, "hostile")?;
    overlay.agents[hostile].down()?;
    let targets = silent_endpoints(&mut overlay)?;
    overlay.managers[0].host.run_with_input("nft", &["-f", "-"], &format!(
        "add table inet control\nadd chain inet control arriving {{ type filter hook input priority 0; }}\nadd rule inet control arriving udp dport {DROPPED} drop\n"
    ))?;
    let_pass(SILENCE);
    for flood in &FLOODS {
        let targets = if flood.name == "icmp" { vec!["172.31.250.250".parse()?] } else { targets.clone() };
        let control = run(&mut overlay, |overlay| start(overlay, hostile, flood, &targets, Some(DROPPED)))?;
        let attack = run(&mut overlay, |overlay| start(overlay, hostile, flood, &targets, None))?;
        let sent: HostileReport = serde_json::from_str(attack.said.lines().last().context("no report")?)?;
        report.note(&format!("flood_{}: {sent:?}", flood.name));
        report.count(&format!("flood_{}_sent", flood.name), sent.sent, "packets", at_least(flood));
        add(report, flood.name, &attack, Some(&control));
    }
    let offers = run(&mut overlay, |overlay| start_offers(lab, overlay, hostile))?;
    let taken = offers.said.lines().filter(|line| *line == "204").count();
    report.note(&format!("flood_offers: {taken} of {} answered were taken", offers.said.lines().count()));
    report.count("flood_offers_taken", taken as u64, "offers", Limit::AtMost(30.0));
    add(report, "offers", &offers, None);
    check_audit(lab, &overlay, report)
}

/// Most of what the rate promises: this machine may be slow.
fn at_least(flood: &Flood) -> Limit {
    Limit::AtLeast(f64::from(flood.rate) * TIME.as_secs_f64() / 2.0)
}

fn add_agent(overlay: &mut Overlay<'_>, name: &str) -> anyhow::Result<usize> {
    let host = overlay.clouds.last().context("no cloud")?.host(name)?;
    overlay.add_agent(name, &host)?;
    Ok(overlay.agents.len() - 1)
}

/// Endpoints that were carried by the first manager, and are not heard any more: their addresses.
fn silent_endpoints(overlay: &mut Overlay<'_>) -> anyhow::Result<Vec<IpAddr>> {
    let mut targets = Vec::new();
    for number in 0..SILENT_AGENTS {
        let agent = add_agent(overlay, &format!("silent{number}"))?;
        wait_until_slowly(PATIENCE, "a manager", || Ok(overlay.agents[agent].status()?.active.is_some()))?;
        targets.push(overlay.agents[agent].v4()?);
        overlay.agents[agent].program()?.kill()?;
    }
    for number in 0..SILENT_CLIENTS {
        let name = format!("client{number}");
        let host = overlay.clouds.last().context("no cloud")?.host(&name)?;
        let client = WireGuard::start(&host, overlay.new_client(&name, 0)?)?;
        let gateway = ["-c", "1", "-W", "2", "172.31.0.1"];
        wait_until_slowly(PATIENCE, "a session", || Ok(host.run("ping", &gateway).is_ok() && client.has_session()?))?;
        targets.push(client.v4()?);
    }
    Ok(targets)
}

/// What others noticed of a flood.
struct Noticed {
    outcome: Outcome,
    /// How much more memory the manager had at its peak, in MiB.
    memory: f64,
    /// Changes that an admin made meanwhile, and of which no event was told.
    missing: usize,
    /// What the flooding program said.
    said: String,
}

/// Floods beside the traffic of others, while an admin makes changes and another manager tells of them.
fn run(
    overlay: &mut Overlay<'_>,
    flood: impl FnOnce(&mut Overlay<'_>) -> anyhow::Result<Program>,
) -> anyhow::Result<Noticed> {
    let heard = listen(overlay.managers[1].admin().events()?);
    let before = memory(&mut overlay.managers[0], "VmRSS")?;
    reset_peak(&mut overlay.managers[0])?;
    let traffic = Traffic::start(&overlay.agents[0].host, &overlay.agents[1].host, overlay.agents[1].v4()?)?;
    let mut program = flood(overlay)?;
    let (end, mut admin) = (now() + TIME, overlay.managers[0].admin());
    for number in 0..CHANGES {
        admin.add_client(&format!("c{number}-{}", rand::random::<u32>()))?;
        let_pass(PAUSE);
    }
    let_pass(end.saturating_duration_since(now()));
    let outcome = traffic.finish()?;
    program.wait(PATIENCE)?;
    let memory = memory(&mut overlay.managers[0], "VmHWM")? - before;
    Ok(Noticed { outcome, memory, missing: CHANGES - count(&heard, CHANGES), said: program.log() })
}

fn add(report: &mut Report, name: &str, attack: &Noticed, control: Option<&Noticed>) {
    report.add(&format!("flood_{name}_memory"), attack.memory, "MiB", Limit::AtMost(16.0));
    report.count(&format!("flood_{name}_events_missing"), attack.missing as u64, "events", Limit::Exactly(0.0));
    let rtt = round_trip(&attack.outcome);
    match control.map(|control| (round_trip(&control.outcome), control.outcome.stream.bytes)) {
        Some((usual, bytes)) => {
            report.note(&format!("flood_{name}: p99 {rtt:.1} ms, the control's {usual:.1} ms"));
            report.add(&format!("flood_{name}_rtt_p99_more"), rtt - usual, "ms", Limit::AtMost(5.0));
            let part = 100.0 * attack.outcome.stream.bytes as f64 / bytes as f64;
            report.add(&format!("flood_{name}_throughput"), part, "%", Limit::AtLeast(80.0));
        }
        None => report.note(&format!("flood_{name}: p99 {rtt:.1} ms")),
    }
}

/// The 99th percentile of the pings; one that was lost is worse than any.
fn round_trip(outcome: &Outcome) -> f64 {
    let times = outcome.ping.echoes.iter();
    let times: Vec<f64> = times.map(|echo| echo.reply_ms.map_or(f64::INFINITY, |reply| reply - echo.sent_ms)).collect();
    percentile(&times, 99)
}

/// Starts the hostile program. The control sends the same to where nobody takes it.
fn start(
    overlay: &Overlay<'_>,
    hostile: usize,
    flood: &Flood,
    targets: &[IpAddr],
    port: Option<u16>,
) -> anyhow::Result<Program> {
    let agent = &overlay.agents[hostile];
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let mut args = vec![
        "hostile".to_owned(),
        format!("--state-dir={}", agent.state_dir().display()),
        format!("--manager={}", overlay.managers[0].id),
        format!("--what={}", flood.what),
        format!("--targets={}", targets.join(",")),
        format!("--rate={}", flood.rate),
        format!("--size={}", flood.size),
        format!("--duration-s={}", TIME.as_secs_f64()),
    ];
    args.extend(port.map(|port| format!("--port={port}")));
    let mut program = agent.host.spawn(tool("festoon-labtool")?, &args)?;
    program.wait_for_log(PATIENCE, "carried as")?;
    Ok(program)
}

/// Offers other routes with every request, over one connection.
fn start_offers(lab: &Lab, overlay: &Overlay<'_>, hostile: usize) -> anyhow::Result<Program> {
    let agent = &overlay.agents[hostile];
    let options = agent.curl_options(&overlay.managers[0])?;
    let mut config = String::new();
    for number in 0..OFFERS {
        for (option, value) in &options {
            writeln!(config, "{option} = \"{value}\"")?;
        }
        let (high, low) = (number / 256, number % 256);
        writeln!(
            config,
            "header = \"content-type: application/json\"\nrequest = PUT\nurl = \"{}\"",
            Agent::url("routes")
        )?;
        writeln!(config, "data = \"{{\\\"prefixes\\\":[\\\"10.{high}.{low}.0/24\\\"]}}\"")?;
        writeln!(config, "silent\noutput = \"/dev/null\"\nwrite-out = \"%{{http_code}}\\n\"\nnext")?;
    }
    let file: PathBuf = lab.dir().join("offers.curl");
    fs::write(&file, config.trim_end_matches("next\n"))?;
    agent.host.spawn("curl", &["--config".to_owned(), file.display().to_string()])
}

/// Of every change that was made, the audit log has an entry, and none is missing between.
fn check_audit(lab: &Lab, overlay: &Overlay<'_>, report: &mut Report) -> anyhow::Result<()> {
    let file = lab.dir().join("audit.jsonl");
    overlay.managers[1].run(&["audit", "export", &file.display().to_string()])?;
    let is_whole = overlay.managers[1].run(&["audit", "verify", &file.display().to_string()]).is_ok();
    let text = fs::read_to_string(&file)?;
    let made = (2 * FLOODS.len() + 1) * CHANGES + SILENT_CLIENTS;
    let there = text.lines().filter(|line| line.contains("\"action\":\"endpoint.add\"")).count();
    report.count("flood_audit_missing", made.saturating_sub(there) as u64, "entries", Limit::Exactly(0.0));
    report.count("flood_audit_verifies", u64::from(is_whole), "of 1", Limit::Exactly(1.0));
    let offers = text.lines().filter(|line| line.contains("\"action\":\"endpoint.offer-routes\"")).count();
    report.count("flood_audit_of_offers", offers as u64, "entries", Limit::AtMost(30.0));
    Ok(())
}

fn listen(mut stream: EventStream) -> Receiver<()> {
    let (hear, heard) = channel();
    thread::spawn(move || {
        while let Ok(event) = stream.wait_next() {
            if event["details"]["action"] == "endpoint.add" && hear.send(()).is_err() {
                return;
            }
        }
    });
    heard
}

/// How many were heard of, of so many that must be.
fn count(heard: &Receiver<()>, wanted: usize) -> usize {
    let deadline = now() + PATIENCE;
    (0..wanted).take_while(|_| heard.recv_timeout(deadline.saturating_duration_since(now())).is_ok()).count()
}

/// A figure of the kernel's about the manager's memory, in MiB.
fn memory(manager: &mut Manager, figure: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{}/status", manager.program()?.pid());
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    let kib: f64 = line.and_then(|line| line.split_whitespace().next()).context("no such figure")?.parse()?;
    Ok(kib * 1024.0 / MIB)
}

/// Has the kernel forget the peak of the manager's memory.
fn reset_peak(manager: &mut Manager) -> anyhow::Result<()> {
    let path = format!("/proc/{}/clear_refs", manager.program()?.pid());
    fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
}
