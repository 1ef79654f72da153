//! A topic exchange of a message broker (AMQP 0.9.1). The broker confirms every message; until it has, the event counts as not
//! sent. If the connection breaks, the next event makes a new one: when that is tried is for the queue to say.

mod wire;

use std::sync::Arc;
use std::time::Duration;

use festoon_events::Kind;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::tcp::AsyncTcpStream;
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use reqwest::Url;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::guard::Guard;
use super::message::Message;
use super::sender::{BadDestination, Sent};
use super::webhook::check_host;
use crate::cluster::unix_now;
use crate::trust;
use wire::{Dialer, Kit};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a confirmation is waited for: the broker has it on disk then.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);
/// Seconds between signs of life.
const HEARTBEAT: u16 = 10;
/// Messages that outlive the broker (AMQP 0.9.1, the Basic class).
const PERSISTENT: u8 = 2;
/// The longest frame, in bytes: what brokers offer. Without a limit of ours, a broker that has none makes lapin set up buffers
/// for frames of 4 GiB.
const FRAME_MAX: u32 = 131_072;
/// More than the one channel that is used.
const CHANNEL_MAX: u16 = 16;
/// The longest short string, in bytes (AMQP 0.9.1, section 4.2.5.3). lapin panics on a longer one.
const SHORT_MAX: usize = 255;

/// The way to one exchange.
pub(super) struct Amqp {
    uri: AMQPUri,
    dialer: Dialer,
    exchange: ShortString,
    prefix: String,
    line: Mutex<Line>,
}

/// The connection of now, if there is one.
#[derive(Default)]
struct Line {
    open: Option<Open>,
    /// How many there were.
    count: u64,
    /// When connecting failed last, and why.
    failed: Option<(Instant, String)>,
}

#[derive(Clone)]
struct Open {
    number: u64,
    /// It ends with the last who has it.
    _connection: Arc<Connection>,
    channel: Channel,
}

impl std::fmt::Debug for Amqp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URI has the password by now.
        f.debug_struct("Amqp").field("dialer", &self.dialer).field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

impl Amqp {
    pub(super) fn new(
        uri: &str,
        guard: Guard,
        password: &str,
        exchange: &str,
        prefix: &str,
    ) -> Result<Self, BadDestination> {
        let (url, mut uri) = check(uri, exchange, prefix, guard)?;
        password.clone_into(&mut uri.authority.userinfo.password);
        limit(&mut uri);
        let tls = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => {
                Some(Arc::new(trust::client_config(trust::authorities()).map_err(|_| BadDestination::Tls)?))
            }
        };
        let host = url.host_str().ok_or(BadDestination::Url)?.to_owned();
        let dialer = Dialer { host, port: uri.authority.port, guard, tls };
        Ok(Self { uri, dialer, exchange: exchange.into(), prefix: prefix.to_owned(), line: Mutex::default() })
    }

    /// With `says_unrouted`, what no queue gets is noted. An exchange that nobody listens to is no failure otherwise: who
    /// listens is the broker's admin's matter.
    pub(super) async fn send(&self, message: &Message, says_unrouted: bool) -> Sent {
        let open = match self.open().await {
            Ok(open) => open,
            Err(why) => return Sent::failed(why),
        };
        match timeout(CONFIRM_LIMIT, self.publish(&open.channel, message, says_unrouted)).await {
            Ok(Ok(Confirmation::Nack(_))) => Sent::failed("the broker did not store it".to_owned()),
            Ok(Ok(confirmed)) => {
                let note = "the exchange has it, and no queue gets it: bind one to the exchange";
                Sent::Taken { note: confirmed.take_message().map(|_| note.to_owned()) }
            }
            Ok(Err(error)) => self.broken(open.number, error.to_string()).await,
            Err(_) => self.broken(open.number, "the broker did not confirm it in time".to_owned()).await,
        }
    }

    async fn publish(&self, channel: &Channel, message: &Message, mandatory: bool) -> lapin::Result<Confirmation> {
        let key = routing_key(&self.prefix, &message.kind);
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(message.event.as_str().into())
            .with_type(message.kind.as_str().into())
            .with_timestamp(unix_now().0 / 1000)
            .with_app_id("festoon".into());
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let exchange = self.exchange.clone();
        channel.basic_publish(exchange, key.into(), options, message.body.as_bytes(), properties).await?.await
    }

    /// The connection of now, or a new one. Many may want one at once; when one of them fails to get it, all have.
    async fn open(&self) -> Result<Open, String> {
        let asked = Instant::now();
        let mut line = self.line.lock().await;
        if let Some(open) = line.open.as_ref().filter(|open| open.channel.status().connected()) {
            return Ok(open.clone());
        }
        line.open = None;
        if let Some((_, why)) = line.failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(why.clone());
        }
        let connected = match timeout(CONNECT_LIMIT, self.connect()).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(_) => Err("the broker did not answer in time".to_owned()),
        };
        let (connection, channel) = connected.inspect_err(|why| line.failed = Some((Instant::now(), why.clone())))?;
        line.count += 1;
        let open = Open { number: line.count, _connection: Arc::new(connection), channel };
        line.open = Some(open.clone());
        Ok(open)
    }

    async fn connect(&self) -> lapin::Result<(Connection, Channel)> {
        let dialer = self.dialer.clone();
        let dial = async move |_, _: async_rs::Runtime<Kit>| Ok(AsyncTcpStream::Plain(dialer.dial().await?));
        let properties = ConnectionProperties::default().with_connection_name("festoon".into());
        let connection = Connection::connector(self.uri.clone(), wire::runtime(), dial, properties).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        // Only whether it is there. To make it would need more rights, and the broker's admin knows how it should be.
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(self.exchange.clone(), ExchangeKind::Topic, passive, FieldTable::default()).await?;
        Ok((connection, channel))
    }

    /// Nothing more is sent on this connection.
    async fn broken(&self, number: u64, why: String) -> Sent {
        let mut line = self.line.lock().await;
        line.open.take_if(|open| open.number == number);
        Sent::failed(why)
    }
}

/// The lower of a limit of ours and of the broker's is kept.
const fn limit(uri: &mut AMQPUri) {
    uri.query.heartbeat = Some(HEARTBEAT);
    uri.query.frame_max = Some(FRAME_MAX);
    uri.query.channel_max = Some(CHANNEL_MAX);
}

fn routing_key(prefix: &str, kind: &str) -> String {
    if prefix.is_empty() { kind.to_owned() } else { format!("{prefix}.{kind}") }
}

/// Whether events may be sent there.
pub(super) fn check(uri: &str, exchange: &str, prefix: &str, guard: Guard) -> Result<(Url, AMQPUri), BadDestination> {
    let url = Url::parse(uri).map_err(|_| BadDestination::Url)?;
    match url.scheme() {
        "amqps" => {}
        "amqp" if guard.allows_private => {}
        "amqp" => return Err(BadDestination::Unencrypted("amqps")),
        _ => return Err(BadDestination::Url),
    }
    if url.password().is_some() {
        return Err(BadDestination::Password);
    }
    if url.query().is_some() {
        return Err(BadDestination::Query);
    }
    if exchange.is_empty() {
        return Err(BadDestination::Url);
    }
    check_host(&url, guard)?;
    let uri: AMQPUri = uri.parse().map_err(|_| BadDestination::Url)?;
    check_lengths(&uri, exchange, prefix)?;
    Ok((url, uri))
}

fn check_lengths(uri: &AMQPUri, exchange: &str, prefix: &str) -> Result<(), BadDestination> {
    let longest = Kind::ALL.iter().map(|kind| routing_key(prefix, kind.word()).len()).max().unwrap_or_default();
    let lengths = [
        ("vhost", uri.vhost.len()),
        ("user", uri.authority.userinfo.username.len()),
        ("exchange", exchange.len()),
        ("routing key, with the longest kind of event,", longest),
    ];
    let too_long = lengths.into_iter().find(|(_, length)| *length > SHORT_MAX);
    too_long.map_or(Ok(()), |(what, _)| Err(BadDestination::TooLong(what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: Guard = Guard { allows_private: true };

    /// Both what is asked for and what is stored already.
    fn is_refused(uri: &str, exchange: &str, prefix: &str) -> bool {
        let [checked, made] =
            [check(uri, exchange, prefix, GUARD).err(), Amqp::new(uri, GUARD, "password", exchange, prefix).err()];
        assert_eq!(checked.is_some(), made.is_some(), "{checked:?} {made:?}");
        checked.is_some()
    }

    #[test]
    fn what_no_frame_can_carry_is_refused() {
        let longest = Kind::ALL.iter().map(|kind| kind.word().len()).max().unwrap();
        let uri = |length| format!("amqp://u@b/{}", "v".repeat(length));
        let user = |length| format!("amqp://{}@b", "u".repeat(length));
        for (over, refused) in [(0, false), (1, true)] {
            let long = "x".repeat(255 + over);
            assert_eq!(is_refused(&uri(255 + over), "e", ""), refused);
            assert_eq!(is_refused(&user(255 + over), "e", ""), refused);
            assert_eq!(is_refused("amqp://b", &long, ""), refused);
            assert_eq!(is_refused("amqp://b", "e", &long[longest + 1..]), refused);
        }
        assert!(!is_refused(&format!("amqp://b/{}", "%2F".repeat(255)), "e", ""), "as it is decoded");
        assert!(is_refused(&format!("amqp://b/{}", "%C3%BC".repeat(128)), "e", ""), "in bytes");
        for query in ["?frame_max=0", "?channel_max=0", "?heartbeat=0", "?auth_mechanism=anonymous", "?"] {
            assert!(is_refused(&format!("amqp://b/v{query}"), "e", ""), "{query}");
        }
    }

    #[test]
    fn a_broker_without_limits_gets_those_of_ours() {
        let Amqp { uri, .. } = Amqp::new("amqp://b", GUARD, "", "e", "").unwrap();
        let AMQPUri { query, .. } = uri;
        assert_eq!((query.frame_max, query.channel_max, query.heartbeat), (Some(131_072), Some(16), Some(10)));
    }
}
