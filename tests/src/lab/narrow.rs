//! A cable that takes only small packets.

use std::sync::Arc;

use super::{Host, Site};

const USUAL_MTU: u16 = 1500;

/// A smaller MTU on both ends of a host's cable: the router cuts larger packets into fragments or answers with an ICMP error, as
/// the packet wants. Ends when healed or dropped.
#[must_use = "a small MTU ends when it is dropped"]
#[derive(Debug)]
pub struct Narrowed {
    site: Arc<Site>,
    host: Host,
    healed: bool,
}

impl Narrowed {
    pub(super) fn make(host: &Host, mtu: u16) -> anyhow::Result<Self> {
        let narrowed = Self { site: Arc::clone(host.site()), host: host.clone(), healed: false };
        narrowed.set(mtu)?;
        Ok(narrowed)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn heal(mut self) -> anyhow::Result<()> {
        self.healed = true;
        self.set(USUAL_MTU)
    }

    fn set(&self, mtu: u16) -> anyhow::Result<()> {
        let place = self.host.place();
        self.host.namespace().ip(&format!("link set eth0 mtu {mtu}\n"))?;
        place.cloud.router().namespace.ip(&format!("link set {} mtu {mtu}\n", place.cable))
    }
}

impl Drop for Narrowed {
    fn drop(&mut self) {
        if !self.healed && !self.site.is_kept() {
            // Fails when the lab, or the cable, has gone first.
            let _ = self.set(USUAL_MTU);
        }
    }
}
