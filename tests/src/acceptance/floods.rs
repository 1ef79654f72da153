//! A stranger floods a manager's port: with handshakes that carry the right cookie and nothing else that is right, or with
//! bytes that mean nothing. Everything is held against a control in the same run: the same program sends the same to a port
//! of that host where the kernel drops it. So what the machine spends on sending and carrying the flood is in both.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use super::series::{median, two_equal_managers};
use crate::clock::now;
use crate::lab::{Flood, Host, Lab, Receiver, Stream};
use crate::overlay::{Overlay, Traffic, let_pass, wait_until_slowly};
use crate::tools::flood::FloodReport;
use crate::tools::outcome::EchoReport;

const PORT: u16 = 51820;
const CONTROL_PORT: u16 = 51999;
const ADDRESSES: usize = 16;
/// How long round trips are taken, and throughput, of which the median of some counts.
const TIME: Duration = Duration::from_secs(10);
const STREAM: Duration = Duration::from_secs(3);
const STREAMS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);
/// The bars.
const JOIN_S: f64 = 5.0;
const RTT_MORE_MS: f64 = 5.0;
const THROUGHPUT: f64 = 0.8;
/// Of the rate that was asked for. The clock of the sender is not exact.
const RATE_REACHED: f64 = 0.99;

/// A flood: its name, its rate, and what the tool is told beside.
struct Kind {
    name: &'static str,
    rate: f64,
    args: Vec<String>,
}

/// 30,000 handshakes with a cookie in a second, from 16 addresses.
pub(super) fn handshakes(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = two_equal_managers(lab)?;
    let active = overlay.active()?;
    let conf = overlay.new_client("reader", active)?;
    let key = conf.wg.lines().find_map(|line| line.strip_prefix("PublicKey = ")).context("no key of the manager")?;
    let manager = SocketAddr::new(overlay.managers[active].host.ip(), PORT);
    let args = vec![format!("--key={key}"), format!("--cookies-from={manager}")];
    compare(&mut overlay, &Kind { name: "handshake_flood", rate: 30_000.0, args }, report)
}

/// 100,000 datagrams of random bytes in a second.
pub(super) fn junk(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = two_equal_managers(lab)?;
    compare(&mut overlay, &Kind { name: "junk_flood", rate: 100_000.0, args: vec!["--size=148".to_owned()] }, report)
}

fn compare(overlay: &mut Overlay<'_>, kind: &Kind, report: &mut Report) -> anyhow::Result<()> {
    let stranger = overlay.clouds.last().context("no cloud")?.host("stranger")?;
    let addresses = stranger.add_addresses(ADDRESSES)?;
    overlay.managers[overlay.active()?].host.drop_udp(CONTROL_PORT)?;
    let control = Stage::run(overlay, kind, &stranger, &addresses, CONTROL_PORT)?;
    let flood = Stage::run(overlay, kind, &stranger, &addresses, PORT)?;
    let name = |figure: &str| format!("{}_{figure}", kind.name);
    report.note(&format!("{}, control: {control:?}", kind.name));
    report.note(&format!("{}, flood:   {flood:?}", kind.name));
    let rate = control.flood.rate.min(flood.flood.rate);
    report.add(&name("rate"), rate, "/s", Limit::AtLeast(kind.rate * RATE_REACHED));
    let throughput = flood.mbit_per_s / control.mbit_per_s;
    report.add(&name("throughput"), throughput, "of control", Limit::AtLeast(THROUGHPUT));
    report.add(&name("rtt_p99_more"), flood.rtt_p99_ms - control.rtt_p99_ms, "ms", Limit::AtMost(RTT_MORE_MS));
    report.count(&name("false_switches"), flood.switches, "switches", Limit::Exactly(0.0));
    report.add(&name("join"), flood.join_s, "s", Limit::AtMost(JOIN_S));
    report.count(&name("bytes_lost"), flood.bytes_lost, "bytes", Limit::Exactly(0.0));
    Ok(())
}

/// What was measured during one flood.
#[derive(Debug)]
struct Stage {
    flood: FloodReport,
    rtt_p99_ms: f64,
    mbit_per_s: f64,
    join_s: f64,
    switches: u64,
    bytes_lost: u64,
}

impl Stage {
    fn run(
        overlay: &mut Overlay<'_>,
        kind: &Kind,
        stranger: &Host,
        addresses: &[IpAddr],
        port: u16,
    ) -> anyhow::Result<Self> {
        // Of the two that talk: one that came late may be with the other manager, which is as good.
        let active = overlay.index_of(overlay.agents[0].active()?)?;
        let generations = |overlay: &Overlay<'_>| -> anyhow::Result<u64> {
            overlay.agents.iter().map(|agent| Ok(agent.status()?.generation)).sum()
        };
        let (agents, before) = (overlay.agents.len(), generations(overlay)?);
        let to = SocketAddr::new(overlay.managers[active].host.ip(), port);
        let from: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let own = [format!("--to={to}"), format!("--rate={}", kind.rate), format!("--from={}", from.join(","))];
        let flood = Flood::start(stranger, &[&own[..], &kind.args].concat())?;

        let (a, b) = (&overlay.agents[0], &overlay.agents[1]);
        let traffic = Traffic::start(&a.host, &b.host, b.v4()?)?;
        let_pass(TIME);
        let outcome = traffic.finish()?;
        let streams: Vec<f64> =
            (0..STREAMS).map(|_| stream(&a.host, &b.host, b.v4()?)).collect::<anyhow::Result<_>>()?;
        let switches = generations(overlay)? - before;
        let join_s = join(overlay, &format!("late{agents}"))?;
        let flood = flood.finish()?;
        Ok(Self {
            flood,
            rtt_p99_ms: percentile(&outcome.ping, 0.99),
            mbit_per_s: median(&streams),
            join_s,
            switches,
            bytes_lost: outcome.stream.bytes_lost,
        })
    }
}

/// Megabits a second of payload.
fn stream(from: &Host, to: &Host, address: IpAddr) -> anyhow::Result<f64> {
    let receiver = Receiver::start(to, SocketAddr::new(address, 5301))?;
    let sent = Stream::flood(from, receiver.at(), STREAM)?.wait(PATIENCE)?;
    Ok(sent.receiver.with_context(|| format!("the stream broke: {:?}", sent.error))?.mbit_per_s)
}

/// How long it takes a new agent from its first request until a manager carries it, in seconds.
fn join(overlay: &mut Overlay<'_>, name: &str) -> anyhow::Result<f64> {
    let host = overlay.clouds.first().context("no cloud")?.host(name)?;
    let start = now();
    overlay.add_agent(name, &host)?;
    let agent = overlay.agents.last().context("no agent")?;
    wait_until_slowly(PATIENCE, "a manager that carries the new agent", || Ok(agent.status()?.active.is_some()))?;
    Ok(start.elapsed().as_secs_f64())
}

/// The round trip that so great a share of all requests did not exceed. One that was lost took for ever.
pub(super) fn percentile(ping: &EchoReport, share: f64) -> f64 {
    let mut trips: Vec<f64> =
        ping.echoes.iter().map(|echo| echo.reply_ms.map_or(f64::INFINITY, |at| at - echo.sent_ms)).collect();
    trips.sort_by(f64::total_cmp);
    let index = (trips.len() as f64 * share).ceil() as usize;
    trips.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
