//! Whether a request is meant for us: its `Host` is one of our names, and no page of somebody else made it. Pure.
//!
//! A page elsewhere can have a browser send us requests, with our cookies (CSRF), and can make its own name lead to our
//! address, so that the browser takes us for the page's home (DNS rebinding). What it can't do is choose `Host` and `Origin`.

use std::net::IpAddr;

use axum::http::{HeaderMap, header, uri::Authority};
use festoon_control::registry::State;
use festoon_proto::address::MANAGER_TLS_NAME;

use super::Denied;

/// What managers are called besides what the registry knows, in lower case: names of load balancers, or public addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    /// These, as an admin wrote them.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect())
    }

    /// Whether `host`, a name or an address without a port, is a manager of this cluster.
    fn knows(&self, state: &State, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if host == "localhost" || host == MANAGER_TLS_NAME || self.0.contains(&host) {
            return true;
        }
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => {
                let is_here = |manager: &festoon_control::registry::Manager| {
                    manager.https.iter().any(|at| at.ip().to_canonical() == address.to_canonical())
                };
                address.is_loopback() || state.managers().any(is_here)
            }
            Err(_) => state.managers().any(|manager| manager.name == host),
        }
    }
}

/// Whether `Host` is a name of ours, and `Origin`, if there is one, the same.
pub(super) fn check(state: &State, names: &Names, headers: &HeaderMap) -> Result<(), Denied> {
    let host = only(headers, header::HOST).and_then(|host| host.parse::<Authority>().ok()).ok_or(Denied::Host)?;
    // It has no user in front.
    if host.as_str().contains('@') || !names.knows(state, host.host()) {
        return Err(Denied::Host);
    }
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let origin =
        only(headers, header::ORIGIN).and_then(|origin| origin.strip_prefix("https://")).ok_or(Denied::Origin)?;
    if without_default_port(origin).eq_ignore_ascii_case(without_default_port(host.as_str())) {
        Ok(())
    } else {
        Err(Denied::Origin)
    }
}

fn without_default_port(authority: &str) -> &str {
    authority.strip_suffix(":443").unwrap_or(authority)
}

/// The value of a header that may be there once.
pub(super) fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut all = headers.get_all(name).iter();
    let value = all.next()?.to_str().ok()?;
    if all.next().is_none() { Some(value) } else { None }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::super::testing;
    use super::*;

    #[test]
    fn only_our_names_and_our_own_pages() {
        let state = testing::state();
        let names = Names::new(["Festoon.Example.".to_owned(), "203.0.113.9".to_owned()]);
        let table: &[(&str, Option<&str>, Result<(), Denied>)] = &[
            ("192.0.2.1:8443", None, Ok(())),
            ("192.0.2.1", None, Ok(())),
            ("[2001:db8::1]:8443", None, Ok(())),
            ("[::ffff:192.0.2.1]:8443", None, Ok(())),
            ("m1:8443", None, Ok(())),
            ("M1.", None, Ok(())),
            ("festoon.example", None, Ok(())),
            ("203.0.113.9", None, Ok(())),
            ("localhost:8443", None, Ok(())),
            ("manager.festoon.internal:8443", None, Ok(())),
            ("127.0.0.1:8443", None, Ok(())),
            ("[::1]:8443", None, Ok(())),
            ("m2", None, Err(Denied::Host)),
            ("192.0.2.2", None, Err(Denied::Host)),
            ("evil.example", None, Err(Denied::Host)),
            ("festoon.example.evil.example", None, Err(Denied::Host)),
            ("m1@evil.example", None, Err(Denied::Host)),
            ("evil.example@m1", None, Err(Denied::Host)),
            ("m1 evil.example", None, Err(Denied::Host)),
            ("", None, Err(Denied::Host)),
            ("m1:8443", Some("https://m1:8443"), Ok(())),
            ("m1:443", Some("https://M1"), Ok(())),
            ("m1", Some("https://m1"), Ok(())),
            ("m1:8443", Some("https://m1"), Err(Denied::Origin)),
            ("m1:8443", Some("http://m1:8443"), Err(Denied::Origin)),
            ("m1:8443", Some("https://192.0.2.1:8443"), Err(Denied::Origin)),
            ("m1:8443", Some("https://evil.example"), Err(Denied::Origin)),
            ("m1:8443", Some("null"), Err(Denied::Origin)),
            ("m1:8443", Some(""), Err(Denied::Origin)),
        ];
        for (host, origin, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(check(&state, &names, &headers), *expected, "{host} {origin:?}");
        }
        assert_eq!(check(&state, &names, &HeaderMap::new()), Err(Denied::Host), "none at all");
        let mut twice = HeaderMap::new();
        twice.append(header::HOST, HeaderValue::from_static("m1"));
        twice.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(check(&state, &names, &twice), Err(Denied::Host));
    }
}
