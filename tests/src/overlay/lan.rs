//! A network that the host of an agent shares with a hostile neighbour, who spoofs overlay addresses towards the host and has it
//! take routes, as DHCP's option 121 and router advertisements do.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;

use crate::clock::now;
use crate::lab::{Host, Program, tool};
use crate::tools::forge::forge_all;
use crate::tools::raw::RawReport;

use super::{Agent, wait_until_slowly};

const DEVICE: &str = "lan0";
const HEALED: Duration = Duration::from_secs(20);

/// Addresses on the network: of the host and of its neighbour.
#[derive(Debug, Clone, Copy)]
pub struct Numbers<'a> {
    /// Of the host, with the length of the prefix.
    pub host: [&'a str; 2],
    /// Of the neighbour, with the length of the prefix.
    pub neighbour: [&'a str; 2],
}

/// A network like those in offices.
pub const OFFICE: Numbers<'_> =
    Numbers { host: ["192.168.50.2/24", "fd50::2/64"], neighbour: ["192.168.50.66/24", "fd50::66/64"] };

/// The network.
#[derive(Debug)]
pub struct Lan {
    /// The agent's host.
    pub host: Host,
    /// The neighbour.
    pub neighbour: Host,
    /// Overlay prefixes.
    prefixes: Vec<String>,
    /// The neighbour's addresses, without lengths.
    gateways: Vec<String>,
}

/// Packets that passed the network although they belong in the tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leaks {
    /// From the neighbour into the host.
    pub arrived: u64,
    /// From the host to the neighbour.
    pub left: u64,
}

impl Lan {
    /// Connects two hosts. Both know each other's addresses only; the neighbour thinks that the overlay is behind the host.
    ///
    /// # Errors
    /// When the kernel refuses; so for all that follow.
    pub fn new(host: &Host, neighbour: &Host, numbers: &Numbers<'_>, prefixes: &[&str]) -> anyhow::Result<Self> {
        let there = neighbour.namespace();
        host.run("ip", &["link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", there.name()])?;
        for (one, addresses) in [(host, numbers.host), (neighbour, numbers.neighbour)] {
            one.run("ip", &["link", "set", DEVICE, "up"])?;
            for address in addresses {
                one.run("ip", &["address", "add", address, "dev", DEVICE])?;
            }
        }
        let bare = |address: &&str| address.split('/').next().unwrap_or_default().to_owned();
        let gateways: Vec<String> = numbers.neighbour.iter().map(bare).collect();
        for (prefix, over) in prefixes.iter().zip(numbers.host.iter().map(bare)) {
            neighbour.run("ip", &["route", "add", prefix, "via", &over, "dev", DEVICE])?;
        }
        let prefixes = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        let lan = Self { host: host.clone(), neighbour: neighbour.clone(), prefixes, gateways };
        lan.count_at(&lan.neighbour, "left", "prerouting")?;
        lan.count_arrivals()?;
        Ok(lan)
    }

    /// Counts what gets past the host's filter. Again after somebody has flushed it away; then from zero.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn count_arrivals(&self) -> anyhow::Result<()> {
        self.count_at(&self.host, "input", "input")?;
        self.count_at(&self.host, "forward", "forward")
    }

    fn count_at(&self, host: &Host, table: &str, hook: &str) -> anyhow::Result<()> {
        let mut lines = format!(
            "add table inet leak_{table}\nadd chain inet leak_{table} passing {{ type filter hook {hook} priority 0; }}\n"
        );
        for prefix in &self.prefixes {
            let family = if prefix.contains(':') { "ip6" } else { "ip" };
            for side in ["saddr", "daddr"] {
                lines +=
                    &format!("add rule inet leak_{table} passing iifname {DEVICE} {family} {side} {prefix} counter\n");
            }
        }
        host.run_with_input("nft", &["-f", "-"], &lines).map(drop)
    }

    /// What has passed so far.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn leaks(&self) -> anyhow::Result<Leaks> {
        let sum = |host: &Host, table: &str| -> anyhow::Result<u64> {
            let text = host.run("nft", &["list", "table", "inet", &format!("leak_{table}")])?;
            let words: Vec<&str> = text.split_whitespace().collect();
            let counts = words.windows(2).filter(|pair| pair[0] == "packets").map(|pair| pair[1].parse::<u64>());
            Ok(counts.sum::<Result<u64, _>>()?)
        };
        let arrived = sum(&self.host, "input")? + sum(&self.host, "forward")?;
        Ok(Leaks { arrived, left: sum(&self.neighbour, "left")? })
    }

    /// The neighbour sends packets of every kind from each of `sources` to each of `targets`; how many.
    ///
    /// # Errors
    /// When it cannot.
    pub fn spoof(&self, sources: &[IpAddr], targets: &[IpAddr], rounds: u32) -> anyhow::Result<u64> {
        let pairs = sources.iter().flat_map(|source| targets.iter().map(move |target| (*source, *target)));
        let packets: Vec<String> = pairs
            .flat_map(|(source, target)| forge_all(source, target))
            .map(|packet| packet.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        let args = [
            "raw-send".to_owned(),
            format!("--device={DEVICE}"),
            format!("--rounds={rounds}"),
            format!("--packets={}", packets.join(",")),
        ];
        let text = self.neighbour.run(&tool("festoon-labtool")?.to_string_lossy(), &args)?;
        let report: RawReport = serde_json::from_str(&text)?;
        Ok(report.sent)
    }

    /// The host takes a route to each of `targets` over the neighbour, as DHCP brings them, or a router advertisement.
    ///
    /// # Errors
    /// When it cannot.
    pub fn lure(&self, targets: &[IpAddr]) -> anyhow::Result<()> {
        for target in targets {
            let is_mine = |gateway: &&String| gateway.contains(':') == target.is_ipv6();
            let gateway = self.gateways.iter().find(is_mine).context("the neighbour has no address of this family")?;
            let proto = if target.is_ipv6() { "ra" } else { "dhcp" };
            let to = target.to_string();
            self.host.run("ip", &["route", "replace", &to, "via", gateway, "dev", DEVICE, "proto", proto])?;
        }
        Ok(())
    }

    /// The host sends into the overlay without pause, until the programs are dropped.
    ///
    /// # Errors
    /// When it cannot.
    pub fn talk(&self, targets: &[IpAddr]) -> anyhow::Result<Vec<Program>> {
        targets.iter().map(|target| self.host.spawn("ping", &["-q", "-i", "0.005", &target.to_string()])).collect()
    }

    /// Somebody flushes the packet filter; how long until the agent has set its own again.
    ///
    /// # Errors
    /// When it never does.
    pub fn flush_filter(&self, agent: &Agent) -> anyhow::Result<Duration> {
        let table = format!("festoon-{}", agent.status()?.routing_table);
        self.host.run("nft", &["flush", "ruleset"])?;
        let start = now();
        wait_until_slowly(HEALED, "the packet filter is set again", || {
            Ok(self.host.run("nft", &["list", "table", "inet", &table]).is_ok())
        })?;
        let healed = start.elapsed();
        self.count_arrivals()?;
        Ok(healed)
    }

    /// Somebody removes the agent's rules, as systemd-networkd does when it starts; waits until they are there again.
    ///
    /// # Errors
    /// When they never are.
    pub fn remove_rules(&self, agent: &Agent) -> anyhow::Result<()> {
        let table = agent.status()?.routing_table.to_string();
        for family in ["-4", "-6"] {
            self.host.run("ip", &[family, "rule", "del", "lookup", &table])?;
        }
        wait_until_slowly(HEALED, "the rules are there again", || {
            let rules = self.host.run("ip", &["-4", "rule"])?.contains(&table);
            Ok(rules && self.host.run("ip", &["-6", "rule"])?.contains(&table))
        })
    }
}
