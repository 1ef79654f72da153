//! The way to a destination, whatever kind it is.

use festoon_control::registry::{EventDestination, State, Target};

use super::amqp::Amqp;
use super::guard::Guard;
use super::message::Message;
use super::webhook::Webhook;
use crate::vault::{Vault, VaultError};

/// How sending ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// The receiver has it.
    Taken {
        /// What an admin who tries it out should know.
        note: Option<String>,
    },
    /// It does not.
    Failed { why: String, retry_after_ms: Option<u64> },
    /// It does not, and wants nothing any more.
    Gone { why: String },
}

impl Sent {
    pub(super) const fn failed(why: String) -> Self {
        Self::Failed { why, retry_after_ms: None }
    }
}

/// Nothing can be sent to a destination as it is.
#[derive(Debug, thiserror::Error)]
pub enum BadDestination {
    /// It says no place.
    #[error("this is no URL to send events to: write https://HOST/PATH, or amqps://USER@HOST/VHOST for a broker")]
    Url,
    /// It has a password in it.
    #[error(
        "a URL must not have a password in it, nor that of a webhook a user: give the password of a broker by itself"
    )]
    Password,
    /// It has a query, which could set what is not its to set.
    #[error("the URL of a broker must have no query: leave out what is behind the ?")]
    Query,
    /// A part of it is too long for AMQP.
    #[error("the {0} is too long for a broker: at most 255 bytes")]
    TooLong(&'static str),
    /// It is not encrypted.
    #[error(
        "events go over {0}://, unless private addresses are allowed, both for this destination and by `forbid_private_addresses` under [delivery] in the configuration of the manager"
    )]
    Unencrypted(&'static str),
    /// It is near this manager.
    #[error("{0}")]
    Forbidden(String),
    /// Its secret is none.
    #[error("the secret of this destination is damaged: rotate it")]
    Secret,
    /// Its secret can't be read.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// TLS can't be set up.
    #[error("TLS can't be set up on this machine")]
    Tls,
}

/// The way to a destination.
#[derive(Debug)]
pub(super) enum Sender {
    Webhook(Box<Webhook>),
    Amqp(Box<Amqp>),
}

impl Sender {
    pub(super) fn new(
        destination: &EventDestination,
        vault: &Vault,
        state: &State,
        guard: Guard,
    ) -> Result<Self, BadDestination> {
        let secret = vault.read(state, &destination.secret)?;
        let secret = std::str::from_utf8(&secret).map_err(|_| BadDestination::Secret)?;
        Ok(match &destination.target {
            Target::Webhook { url } => {
                Self::Webhook(Box::new(Webhook::new(url, guard, secret, destination.former_secret_until)?))
            }
            Target::Amqp { uri, exchange, routing_key_prefix } => {
                Self::Amqp(Box::new(Amqp::new(uri, guard, secret, exchange, routing_key_prefix)?))
            }
        })
    }

    /// How many may be on their way at once.
    pub(super) const fn in_flight(&self) -> usize {
        match self {
            Self::Webhook(_) => 32,
            Self::Amqp(_) => 256,
        }
    }

    pub(super) async fn send(&self, message: &Message) -> Sent {
        match self {
            Self::Webhook(webhook) => webhook.send(message).await,
            Self::Amqp(amqp) => amqp.send(message, false).await,
        }
    }

    /// As [`send`](Self::send), and notes if nobody gets it.
    pub(super) async fn try_out(&self, message: &Message) -> Sent {
        match self {
            Self::Webhook(webhook) => webhook.send(message).await,
            Self::Amqp(amqp) => amqp.send(message, true).await,
        }
    }
}

/// Whether events may be sent there.
pub fn check_target(target: &Target, allows_private: bool) -> Result<(), BadDestination> {
    let guard = Guard { allows_private };
    match target {
        Target::Webhook { url } => super::webhook::check_url(url, guard).map(drop),
        Target::Amqp { uri, exchange, routing_key_prefix } => {
            super::amqp::check(uri, exchange, routing_key_prefix, guard).map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, allows_private: bool) -> bool {
        let target = match url.starts_with("amqp") {
            true => Target::Amqp { uri: url.to_owned(), exchange: "e".to_owned(), routing_key_prefix: String::new() },
            false => Target::Webhook { url: url.to_owned() },
        };
        check_target(&target, allows_private).is_ok()
    }

    #[test]
    fn a_url_says_where_to_send_and_nothing_secret() {
        for good in ["https://example.com/hook?a=b", "https://1.1.1.1:8443", "amqps://broker.example", "amqps://u@b/v"]
        {
            assert!(check(good, false) && check(good, true), "{good}");
        }
        for near in [
            "http://example.com",
            "amqp://broker.example",
            "https://127.0.0.1",
            "https://[::1]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://169.254.169.254/latest",
            "amqps://10.0.0.1",
            "amqps://[::1]:5671",
            "https://[::ffff:192.168.1.1]/",
        ] {
            assert!(!check(near, false) && check(near, true), "{near}");
        }
        for bad in [
            "",
            "example.com",
            "ftp://example.com",
            "https://u:p@example.com",
            "https://u@example.com",
            "https://",
            "amqps://u:p@b",
            "https://0.0.0.0",
            "file:///etc/passwd",
        ] {
            assert!(!check(bad, true), "{bad}");
        }
        let target =
            Target::Amqp { uri: "amqps://b".to_owned(), exchange: String::new(), routing_key_prefix: String::new() };
        assert!(check_target(&target, true).is_err(), "an exchange needs a name");
    }
}
