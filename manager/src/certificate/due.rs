//! When a manager needs a new certificate.

use std::collections::BTreeSet;
use std::net::IpAddr;

use festoon_control::registry::{AuthorityRole, State, UnixMs};
use festoon_proto::{Fingerprint, ManagerId};
use rustls::pki_types::CertificateDer;

use crate::pki::{Leaf, Tied, VALIDITY_MS};

/// By how much the clocks of managers may differ, in milliseconds: a day.
const CLOCKS_DIFFER_MS: u64 = 24 * 3600 * 1000;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Two thirds of its time are over: the rest is for managers that can't renew, and for clocks that are fast. Or such a
    /// clock made it good for too long.
    Age,
    /// The manager does not stand for it: its signing key is another, or an older program made it.
    Tie,
    /// The manager is reached elsewhere.
    Addresses,
    /// Another CA issues certificates, or the one before is no longer trusted.
    Authorities,
}

/// Whether `me` needs another certificate than the one it shows, and those behind it, and why.
pub fn due(chain: &[CertificateDer<'_>], leaf: &Leaf, state: &State, me: ManagerId, now: UnixMs) -> Option<Due> {
    let manager = state.manager(me)?;
    let addresses: BTreeSet<IpAddr> = manager.https.iter().map(|at| at.ip()).collect();
    if !shows(chain, state) {
        return Some(Due::Authorities);
    }
    let tied = chain.first().and_then(Tied::read);
    if tied.is_none_or(|tied| !tied.is_by(&manager.signing_key)) {
        return Some(Due::Tie);
    }
    if addresses != leaf.addresses.iter().copied().collect() {
        return Some(Due::Addresses);
    }
    let is_old = now.after(VALIDITY_MS / 3) >= leaf.until;
    (is_old || leaf.until > now.after(VALIDITY_MS + CLOCKS_DIFFER_MS)).then_some(Due::Age)
}

/// Whether a chain begins at the CA of now and leads to the one before, if that is still trusted.
fn shows(chain: &[CertificateDer<'_>], state: &State) -> bool {
    let Some(current) = state.vault().issuer() else { return true };
    let shown: Vec<_> = chain.iter().skip(1).map(|certificate| Fingerprint::of(certificate)).collect();
    let more = shown.split_first().filter(|(issuer, _)| **issuer == current).map(|(_, more)| more);
    match state.vault().authority(AuthorityRole::Previous) {
        Some(previous) => more.is_some_and(|more| more.contains(&previous.fingerprint)),
        None => more.is_some_and(<[_]>::is_empty),
    }
}
