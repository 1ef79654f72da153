//! A topic exchange of a message broker (AMQP 0.9.1). The broker confirms every message; until it has, the event counts as not
//! sent. If the connection breaks, the next event makes a new one: when that is tried is for the queue to say.

mod wire;

use std::sync::Arc;
use std::time::Duration;

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
use super::roots;
use super::sender::{BadDestination, Sent};
use super::webhook::check_host;
use crate::cluster::unix_now;
use wire::{Dialer, Kit};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a confirmation is waited for: the broker has it on disk then.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);
/// Seconds between signs of life.
const HEARTBEAT: u16 = 10;
/// Messages that outlive the broker (AMQP 0.9.1, the Basic class).
const PERSISTENT: u8 = 2;

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
        let url = check(uri, exchange, guard)?;
        let mut uri: AMQPUri = uri.parse().map_err(|_| BadDestination::Url)?;
        password.clone_into(&mut uri.authority.userinfo.password);
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let tls = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(Arc::new(roots::client_config().map_err(|_| BadDestination::Tls)?)),
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
        let key = match self.prefix.as_str() {
            "" => message.kind.clone(),
            prefix => format!("{prefix}.{}", message.kind),
        };
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

/// Whether events may be sent there.
pub(super) fn check(uri: &str, exchange: &str, guard: Guard) -> Result<Url, BadDestination> {
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
    if exchange.is_empty() {
        return Err(BadDestination::Url);
    }
    check_host(&url, guard)?;
    Ok(url)
}
