//! How many connections one host has: a stranger must not hold all that there are for everybody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::accounts::site_of;

/// Many agents may be behind one address, each for a moment. Sixteen such hosts hold all connections.
const AT_ONCE: usize = 256;

/// The connections of each host: an address, of IPv6 a /64. A clone counts with the others.
#[derive(Debug, Clone, Default)]
pub(super) struct Sites(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    sites: Sites,
    site: IpAddr,
}

impl Sites {
    /// Counts a connection from this address, unless that host has too many.
    pub(super) fn count(&self, from: IpAddr) -> Option<Counted> {
        let site = site_of(from);
        let mut all = self.lock();
        let open = all.entry(site).or_default();
        if *open >= AT_ONCE {
            return None;
        }
        *open += 1;
        drop(all);
        Some(Counted { sites: self.clone(), site })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut all = self.sites.lock();
        if let Some(open) = all.get_mut(&self.site) {
            *open -= 1;
            if *open == 0 {
                all.remove(&self.site);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_so_many_and_no_more_and_others_have_theirs() {
        let sites = Sites::default();
        let from = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut open: Vec<_> = (0..AT_ONCE).map(|n| sites.count(from(&format!("2001:db8::{n:x}"))).unwrap()).collect();
        assert!(sites.count(from("2001:db8::ffff")).is_none(), "a /64 is one");
        let other = [from("2001:db8:0:1::1"), from("192.0.2.1"), from("::ffff:192.0.2.1")].map(|at| sites.count(at));
        assert!(other.iter().all(Option::is_some));
        assert_eq!(sites.lock()[&from("192.0.2.1")], 2);
        open.pop();
        assert!(sites.count(from("2001:db8::ffff")).is_some(), "one went");
        drop((open, other));
        assert!(sites.lock().is_empty(), "nothing is remembered of who is gone");
    }
}
