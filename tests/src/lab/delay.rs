//! Delay, jitter and duplicates: packets along a path are routed into a TUN device of the router, whose `festoon-labtool relay`
//! gives them back later. What comes out of the device is routed as if nothing had happened.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::command::tool;
use super::path::{Flow, Path};
use super::program::Program;
use super::router::Router;

/// Rules that keep relayed packets from going round again come before those that divert.
const PASS_PRIORITY: u32 = 100;
const DIVERT_PRIORITY: u32 = 200;
const START: Duration = Duration::from_secs(5);

/// What happens to each packet, each way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delay {
    /// What every packet waits.
    pub delay: Duration,
    /// Up to this much more, for each packet on its own: packets closer together than this change places.
    pub jitter: Duration,
    /// How many packets in a hundred arrive twice.
    pub duplicate_percent: f64,
    /// Seed of every choice.
    pub seed: u64,
}

impl Delay {
    /// The same wait for every packet.
    #[must_use]
    pub fn of(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }
}

/// A path under delay. A packet under several delays is held by the first made. Ends when healed or dropped.
#[must_use = "a delay ends when it is dropped"]
#[derive(Debug)]
pub struct Delayed {
    router: Arc<Router>,
    relay: Program,
    rules: Vec<(Flow, String)>,
    healed: bool,
}

impl Delayed {
    pub(super) fn make(internet: &Arc<Router>, path: &Path, delay: Delay) -> anyhow::Result<Self> {
        let router = path.router(internet);
        let serial = router.site.next_serial();
        let device = format!("relay{serial}");
        let table = 1000 + serial;
        let mut relay = spawn(&router, &device, delay)?;
        relay.wait_for_log(START, "relaying on")?;
        router.namespace.ip(&format!(
            "link set {device} txqueuelen 10000\n\
             route add 0.0.0.0/0 dev {device} table {table}\n\
             route add ::/0 dev {device} table {table}\n"
        ))?;
        let mut rules = Vec::new();
        for v6 in [false, true] {
            let any = Flow { v6, from: None, to: None };
            rules.push((any, format!("pref {PASS_PRIORITY} iif {device} lookup main")));
        }
        for flow in path.flows(&router) {
            rules.push((flow, format!("pref {} {} lookup {table}", DIVERT_PRIORITY + serial, select(flow))));
        }
        let delayed = Self { router, relay, rules, healed: false };
        delayed.set_rules("add", delayed.rules.iter())?;
        Ok(delayed)
    }

    /// Ends it. What is still held arrives at its time, before this returns.
    ///
    /// # Errors
    /// When the router refuses.
    pub fn heal(mut self) -> anyhow::Result<()> {
        self.healed = true;
        // Packets on their way still need the rule that lets them pass: so it goes last.
        self.set_rules("del", self.rules.iter().skip(2))?;
        self.relay.terminate()?;
        self.relay.wait(START + START)?;
        self.set_rules("del", self.rules.iter().take(2))
    }

    fn set_rules<'a>(&self, verb: &str, rules: impl Iterator<Item = &'a (Flow, String)>) -> anyhow::Result<()> {
        let (mut v4, mut v6) = (String::new(), String::new());
        for (flow, rule) in rules {
            let _ = writeln!(if flow.v6 { &mut v6 } else { &mut v4 }, "rule {verb} {rule}");
        }
        self.router.namespace.ip(&v4)?;
        self.router.namespace.ip6(&v6)
    }
}

impl Drop for Delayed {
    fn drop(&mut self) {
        if !self.healed && !self.router.site.is_kept() {
            // Fails when the lab has gone first, and the rules with it.
            let _ = self.set_rules("del", self.rules.iter());
        }
    }
}

fn spawn(router: &Router, device: &str, delay: Delay) -> anyhow::Result<Program> {
    let ms = |time: Duration| (time.as_secs_f64() * 1000.0).to_string();
    let args = [
        ["relay".to_owned(), format!("--device={device}")],
        [format!("--delay-ms={}", ms(delay.delay)), format!("--jitter-ms={}", ms(delay.jitter))],
        [format!("--duplicate-percent={}", delay.duplicate_percent), format!("--seed={}", delay.seed)],
    ];
    let at = (&*router.namespace, device);
    Program::spawn(&router.site, at, Vec::new(), &tool("festoon-labtool")?, args.as_flattened())
}

fn select(flow: Flow) -> String {
    let end = |word: &str, address: Option<std::net::IpAddr>| {
        address.map_or_else(|| format!("{word} all"), |address| format!("{word} {address}"))
    };
    format!("{} {}", end("from", flow.from), end("to", flow.to))
}
