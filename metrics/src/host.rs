//! Whether a request is meant for a listener. Pure.
//!
//! A page elsewhere can make its own name lead to this machine, so that a browser takes the listener for the page's home and
//! lets it read what that says (DNS rebinding). It can choose neither `Host` (RFC 9110 section 7.2) nor have an address for a name.
//! So a listener on loopback, which nobody has another name for, answers only who asks for an address or for `localhost`. One
//! that others reach is known by names that only they know, and its answers are for all who reach it.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::HOST;
use hyper::http::uri::Authority;

/// Whether a listener at `listener` answers a request with these headers. No browser leaves `Host` out; a probe may.
pub(crate) fn is_meant(listener: IpAddr, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, is_one) = (hosts.next(), hosts.next().is_none());
    !listener.to_canonical().is_loopback() || host.is_none_or(|host| is_one && host.to_str().is_ok_and(is_here))
}

fn is_here(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    // It has no user in front, and nothing but a port behind.
    let is_whole = host.strip_prefix(name).is_some_and(|port| port.is_empty() || port.starts_with(':'));
    is_whole && (bare.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn headers(hosts: &[&str]) -> HeaderMap {
        hosts.iter().map(|host| (HOST, host.parse().unwrap())).collect()
    }

    #[test]
    fn a_page_elsewhere_does_not_read_what_is_on_loopback() {
        for host in ["127.0.0.1:8444", "127.0.0.1", "[::1]:8444", "localhost", "LocalHost:8444", "192.0.2.7:80"] {
            assert!(is_meant(HERE, &headers(&[host])), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8444",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "localhost@evil.example",
            "127.0.0.1@evil.example:8444",
            "evil.example@127.0.0.1",
            "[::1].evil.example",
            "::1",
            "",
            "a b",
        ] {
            assert!(!is_meant(HERE, &headers(&[host])), "{host}");
        }
        assert!(is_meant(HERE, &headers(&[])), "an old probe");
        assert!(!is_meant(HERE, &headers(&["localhost", "evil.example"])), "two say nothing");
    }

    #[test]
    fn what_others_reach_goes_by_any_name() {
        for (listener, others_reach) in
            [("127.0.0.2", false), ("::1", false), ("::ffff:127.0.0.1", false), ("0.0.0.0", true), ("10.0.0.7", true)]
        {
            let met = is_meant(listener.parse().unwrap(), &headers(&["manager.example:8444"]));
            assert_eq!(met, others_reach, "{listener}");
        }
    }
}
