//! Counting what arrives on a host, before anything there can judge it.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::Host;
use super::fault::sum_after;

/// Packets that arrive on a device from certain sources. Counted until dropped.
#[derive(Debug)]
pub struct Arrivals {
    host: Host,
    table: String,
}

impl Arrivals {
    /// Counts from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn count(host: &Host, device: &str, sources: &[IpAddr]) -> anyhow::Result<Self> {
        let table = format!("arrivals{}", host.site().next_serial());
        // Before fragments are put together.
        let mut lines = format!(
            "add table inet {table}\nadd chain inet {table} arriving {{ type filter hook prerouting priority -450; }}\n"
        );
        for source in sources {
            let family = if source.is_ipv4() { "ip" } else { "ip6" };
            let _ = writeln!(lines, "add rule inet {table} arriving iifname {device} {family} saddr {source} counter");
        }
        host.namespace().nft(&lines)?;
        Ok(Self { host: host.clone(), table })
    }

    /// How many so far.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn packets(&self) -> anyhow::Result<u64> {
        Ok(sum_after(&self.host.run("nft", &["list", "table", "inet", &self.table])?, "packets"))
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        // Fails when the lab has gone first, and the counter with it.
        let _ = self.host.namespace().nft(&format!("delete table inet {}\n", self.table));
    }
}
