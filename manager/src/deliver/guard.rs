//! Which addresses may be connected to, checked on the very addresses that are.

use std::io;
use std::net::{IpAddr, SocketAddr};

use festoon_events::delivery::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

const ALLOW: &str = "allow private addresses for this destination, if that is meant, and see that the configuration of this \
    manager does not forbid them (`forbid_private_addresses` under [delivery])";

/// An address is not to be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Forbidden {
    /// It is near this manager.
    #[error("{0} is not an address of the public internet: {ALLOW}")]
    Address(IpAddr),
    /// All of a name are.
    #[error("{0} has no address of the public internet: {ALLOW}")]
    Name(String),
}

/// Whether it lets through what is not public. A clone is the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    pub(super) allows_private: bool,
}

impl Guard {
    const fn allows(self, address: IpAddr) -> bool {
        let is_some_host = !address.is_unspecified() && !address.is_multicast();
        self.allows_private && is_some_host
    }

    /// An address that was named instead of a host is not resolved, so it is checked here.
    pub(super) fn check_host(self, host: &str) -> Result<(), Forbidden> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) if !self.allows(address) && !is_public(address) => Err(Forbidden::Address(address)),
            _ => Ok(()),
        }
    }

    /// The addresses of a host that may be connected to, at least one.
    pub(super) async fn resolve(self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.check_host(host).map_err(io::Error::other)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let all = tokio::net::lookup_host((bare, port)).await?;
        let good: Vec<_> = all.filter(|at| self.allows(at.ip()) || is_public(at.ip())).collect();
        if good.is_empty() { Err(io::Error::other(Forbidden::Name(host.to_owned()))) } else { Ok(good) }
    }
}

/// The addresses that come out of here are those that are connected to, so a name that is resolved otherwise a moment later
/// leads nowhere else.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let addresses = Self::resolve(guard, name.as_str(), 0).await?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_the_place_of_a_name_is_checked() {
        let public_only = Guard { allows_private: false };
        for near in ["127.0.0.1", "[::1]", "169.254.169.254", "[fd00:ec2::254]", "[::ffff:10.0.0.1]", "0.0.0.0"] {
            assert!(public_only.check_host(near).is_err(), "{near}");
        }
        for far in ["1.1.1.1", "[2606:4700::1]", "example.com", "localhost"] {
            assert_eq!(public_only.check_host(far), Ok(()), "{far}");
        }
        let any = Guard { allows_private: true };
        assert_eq!((any.check_host("10.0.0.1"), any.check_host("[::1]")), (Ok(()), Ok(())));
        assert!(any.check_host("0.0.0.0").is_err() && any.check_host("[ff02::1]").is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_here_is_refused_when_it_is_resolved() {
        let refused = Guard { allows_private: false }.resolve("localhost", 80).await.unwrap_err();
        assert!(refused.to_string().contains("no address of the public internet"), "{refused}");
        assert!(!Guard { allows_private: true }.resolve("localhost", 80).await.unwrap().is_empty());
    }
}
