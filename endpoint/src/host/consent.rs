//! Which routes of others this host uses: an admin approves a route, and the host agrees to it. Pure.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;

use crate::config::prefix;
use serde::{Deserialize, Serialize};

use super::spans::Spans;

/// Addresses that belong to nobody on the internet: RFC 1918, RFC 6598 and RFC 4193.
const PRIVATE: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

/// One thing that this host agrees to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Every approved route to private addresses that are not on a network of this host.
    Private,
    /// Every approved route that is not on a network of this host.
    All,
    /// No route but those inside the prefixes that are listed too.
    None,
    /// Every approved route inside this prefix, whatever it is.
    Inside(IpNet),
}

impl FromStr for Consent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "private" => Ok(Self::Private),
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            text => prefix(text)
                .map(Self::Inside)
                .ok_or_else(|| format!("{text:?} is none of private, all, none, and not a prefix like 192.168.7.0/24")),
        }
    }
}

impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::Inside(prefix) => prefix.fmt(f),
        }
    }
}

/// What becomes of an approved route on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is used where this host has no network of its own.
    Used,
    /// It is used, also where this host has a network of its own, for its owner named it.
    Preferred,
    /// It is not used: it leads to public addresses.
    Public,
    /// It is not used: it leads to this network of the host itself.
    OnLink(IpNet),
    /// It is not used: the host agrees to no route that it does not list.
    NotListed,
}

/// What becomes of `route` on a host that had the networks of `home` when it joined.
pub(super) fn verdict(route: IpNet, consents: &[Consent], home: &[IpNet]) -> Verdict {
    let names = |consent: &Consent| matches!(consent, Consent::Inside(prefix) if prefix.contains(&route));
    if consents.iter().any(names) {
        return Verdict::Preferred;
    }
    if let Some(own) = home.iter().find(|own| own.contains(&route) || route.contains(*own)) {
        return Verdict::OnLink(*own);
    }
    if consents.contains(&Consent::All) {
        return Verdict::Used;
    }
    match (consents.contains(&Consent::Private), is_private(route)) {
        (true, true) => Verdict::Used,
        (true, false) => Verdict::Public,
        (false, _) => Verdict::NotListed,
    }
}

fn is_private(route: IpNet) -> bool {
    let private: Vec<IpNet> = PRIVATE.iter().filter_map(|prefix| prefix.parse().ok()).collect();
    private.iter().collect::<Spans>().covers(&Spans::of(route))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_and_on_link_routes_need_the_hosts_own_consent() {
        let on_link = Verdict::OnLink("192.168.50.0/24".parse().unwrap());
        for (route, consents, expected) in [
            ("192.168.77.0/24", "private", Verdict::Used),
            ("10.0.0.0/8", "private", Verdict::Used),
            ("fd77::/64", "private", Verdict::Used),
            ("100.64.3.0/24", "private", Verdict::Used),
            ("203.0.113.0/24", "private", Verdict::Public),
            ("8.8.8.8/32", "private", Verdict::Public),
            ("2001:db8::/32", "private", Verdict::Public),
            // Partly public.
            ("172.0.0.0/8", "private", Verdict::Public),
            ("203.0.113.0/24", "all", Verdict::Used),
            ("203.0.113.128/25", "private,203.0.113.0/24", Verdict::Preferred),
            ("203.0.113.0/24", "private,203.0.113.0/25", Verdict::Public),
            ("192.168.50.8/29", "private", on_link),
            ("192.168.50.8/29", "all", on_link),
            ("192.168.0.0/16", "private", on_link),
            ("192.168.50.8/29", "none,192.168.50.8/29", Verdict::Preferred),
            ("192.168.77.0/24", "none", Verdict::NotListed),
            ("192.168.77.0/24", "10.0.0.0/8", Verdict::NotListed),
        ] {
            let consents: Vec<Consent> = consents.split(',').map(|text| text.parse().unwrap()).collect();
            let home = ["192.168.50.0/24".parse().unwrap()];
            assert_eq!(verdict(route.parse().unwrap(), &consents, &home), expected, "{route} with {consents:?}");
        }
    }

    #[test]
    fn consents_are_written_as_they_are_read() {
        for text in ["private", "all", "none", "192.168.7.0/24", "fd00::/8"] {
            assert_eq!(text.parse::<Consent>().unwrap().to_string(), text);
        }
        assert!("some".parse::<Consent>().unwrap_err().contains("private, all, none"));
    }
}
