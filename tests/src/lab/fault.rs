//! Faults made by rules: packets dropped in a router, and rate limits.

use std::fmt::Write as _;
use std::sync::Arc;

use super::path::{Flow, Path};
use super::router::Router;
use super::{Host, Site};

/// A rule in a router that drops packets and tells nobody. Ends when healed or dropped.
#[must_use = "a fault ends when it is dropped"]
#[derive(Debug)]
pub struct Fault {
    router: Arc<Router>,
    table: String,
    healed: bool,
}

impl Fault {
    /// Drops packets along `path` that match one of `conditions`.
    pub(super) fn make(internet: &Arc<Router>, path: &Path, conditions: &[&str]) -> anyhow::Result<Self> {
        let router = path.router(internet);
        let table = format!("fault{}", router.site.next_serial());
        // Before the router's own filters, and before a delay: its packets come by a second time.
        let mut lines = format!(
            "add table inet {table}\nadd chain inet {table} forward {{ type filter hook forward priority -200; }}\n"
        );
        for flow in path.flows(&router) {
            for condition in conditions {
                let _ = writeln!(
                    lines,
                    "add rule inet {table} forward iifname != \"relay*\" {} {condition} counter drop",
                    select(flow)
                );
            }
        }
        router.namespace.nft(&lines)?;
        Ok(Self { router, table, healed: false })
    }

    /// How many packets it has dropped so far, and their bytes (IP headers included).
    ///
    /// # Errors
    /// When the router does not say.
    pub fn dropped(&self) -> anyhow::Result<(u64, u64)> {
        let rules = self.router.namespace.run("nft", &["list", "table", "inet", &self.table], "")?;
        Ok((sum_after(&rules, "packets"), sum_after(&rules, "bytes")))
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the router refuses.
    pub fn heal(mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.healed = true;
        self.router.namespace.nft(&format!("delete table inet {}\n", self.table))
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if !self.healed && !self.router.site.is_kept() {
            // Fails when the lab has gone first, and the fault with it.
            let _ = self.end();
        }
    }
}

fn select(flow: Flow) -> String {
    let family = if flow.v6 { "ip6" } else { "ip" };
    let mut rule = format!("meta nfproto {}", if flow.v6 { "ipv6" } else { "ipv4" });
    for (field, address) in [("saddr", flow.from), ("daddr", flow.to)] {
        if let Some(address) = address {
            let _ = write!(rule, " {family} {field} {address}");
        }
    }
    rule
}

/// The sum of the numbers that follow `word`.
pub(super) fn sum_after(text: &str, word: &str) -> u64 {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == word).filter_map(|pair| pair[1].parse::<u64>().ok()).sum()
}

/// A rate limit on both ends of a host's cable: the router's for what it receives, its own for what it sends. Ends when healed
/// or dropped.
#[must_use = "a rate limit ends when it is dropped"]
#[derive(Debug)]
pub struct Slowed {
    site: Arc<Site>,
    host: Host,
    healed: bool,
}

impl Slowed {
    pub(super) fn make(host: &Host, mbit_per_s: u32) -> anyhow::Result<Self> {
        // The bucket must hold what passes between two ticks of the slowest kernel clock, 100 Hz.
        let burst = (u64::from(mbit_per_s) * 1_000_000 / 8 / 100).max(16_000);
        let slowed = Self { site: Arc::clone(host.site()), host: host.clone(), healed: false };
        slowed.each_end(&[
            "add",
            "root",
            "tbf",
            "rate",
            &format!("{mbit_per_s}mbit"),
            "burst",
            &burst.to_string(),
            "latency",
            "50ms",
        ])?;
        Ok(slowed)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn heal(mut self) -> anyhow::Result<()> {
        self.healed = true;
        self.each_end(&["del", "root"])
    }

    fn each_end(&self, words: &[&str]) -> anyhow::Result<()> {
        let place = self.host.place();
        let ends = [(self.host.namespace(), "eth0"), (Arc::clone(&place.cloud.router().namespace), &*place.cable)];
        for (namespace, device) in ends {
            let args = [&["qdisc", words[0], "dev", device], &words[1..]].concat();
            namespace.run("tc", &args, "")?;
        }
        Ok(())
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        if !self.healed && !self.site.is_kept() {
            // Fails when the lab, or the cable, has gone first, and the limit with it.
            let _ = self.each_end(&["del", "root"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed() {
        let rules = "counter packets 3 bytes 180 drop\n counter packets 4 bytes 20 drop";
        assert_eq!((sum_after(rules, "packets"), sum_after(rules, "bytes")), (7, 200));
    }

    #[test]
    fn a_rule_names_only_the_ends_that_matter() {
        let to = Some("192.0.2.2".parse().expect("an address"));
        assert_eq!(select(Flow { v6: false, from: None, to }), "meta nfproto ipv4 ip daddr 192.0.2.2");
        assert_eq!(select(Flow { v6: true, from: None, to: None }), "meta nfproto ipv6");
    }
}
