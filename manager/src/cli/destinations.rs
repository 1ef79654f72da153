//! `festoon-manager destinations`: where events are sent to, webhooks and exchanges of message brokers.

use std::time::Duration;

use anyhow::bail;
use axum::http::{Method, header};
use clap::{Args, Subcommand, ValueEnum};
use festoon_api::{
    DeadLetter, DeadLetterRedeliver, DeliveryState, EventDestination, EventDestinationCreate, EventDestinationCreated,
    EventDestinationKind, EventDestinationTest, EventDestinationUpdate, Network, SecretRotate, SecretRotated,
    SecretText,
};

use festoon_secrets::Source;

use super::args::overlap;
use super::client::{Ask, Client, Query, api};
use super::find::find;
use super::output::{Column, confirm, list_of, or_dash, second, secret_or_line, when};
use super::record::{ListArgs, Names, Record, Row, Session};

/// Where events go, and the variable of the environment that may have it.
const URL: &str = "URL of the destination";
const URL_VARIABLE: &str = "FESTOON_DESTINATION_URL";

#[derive(Debug, Subcommand)]
pub(super) enum DestinationsCommand {
    /// List destinations
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a destination, and how the delivery to it goes
    Show {
        /// Its name or id
        destination: String,
    },
    /// Add a destination: it gets what happens from now on. The secret of a webhook is printed, this once
    Add {
        /// Its name
        name: String,
        /// Where it is: https://HOST/PATH for webhooks, amqps://USER@HOST/VHOST for a broker, without the password, which is
        /// asked for. If it has a secret in it: `-` reads it from the standard input, `@FILE` from a file [default: the
        /// URL in FESTOON_DESTINATION_URL]
        url: Option<Source>,
        /// What kind of place it is, if its URL does not say
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        #[command(flatten)]
        more: More,
    },
    /// Change a destination
    Set {
        /// Its name or id
        destination: String,
        /// Its new name
        #[arg(long)]
        name: Option<String>,
        /// Where it is; `-` and `@FILE` as for `add`
        #[arg(long)]
        url: Option<Source>,
        /// Ask for a new password for a broker
        #[arg(long)]
        password: bool,
        #[command(flatten)]
        more: More,
    },
    /// Send to a destination again
    Enable {
        /// Its name or id
        destination: String,
    },
    /// Send nothing to a destination until it is enabled again
    Disable {
        /// Its name or id
        destination: String,
    },
    /// Send an event of the kind webhook.test at once, and say what became of it
    Test {
        /// Its name or id
        destination: String,
    },
    /// Give a webhook a new secret, and print it, this once
    RotateSecret {
        /// Its name or id
        destination: String,
        /// How long webhooks are signed with the one before too: 1h, 7d, or 0s; 30 days at most
        #[arg(long, default_value = "1d", value_parser = overlap)]
        overlap: Duration,
    },
    /// List events that it did not take and that were given up
    DeadLetters {
        /// Its name or id
        destination: String,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Send dead letters again
    Redeliver {
        /// Its name or id
        destination: String,
        /// Their numbers; all if none is named
        letters: Vec<u64>,
    },
    /// Remove a destination, with its secret and its dead letters
    #[command(visible_alias = "rm")]
    Remove {
        /// Its name or id
        destination: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Webhooks, signed as Standard Webhooks has it
    Webhook,
    /// A topic exchange of a message broker, AMQP 0.9.1
    Amqp,
}

/// What it gets, and how.
#[derive(Debug, Args)]
pub(super) struct More {
    /// A kind of event that it gets, as in endpoint.up; again for others; all if none is named
    #[arg(long = "event", value_name = "KIND")]
    events: Vec<String>,
    /// A network whose events it gets; again for others; all, and what is of none, if none is named
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// The topic exchange of a broker; it has to be there
    #[arg(long)]
    exchange: Option<String>,
    /// What routing keys begin with
    #[arg(long, value_name = "PREFIX")]
    routing_key_prefix: Option<String>,
    /// That it may be on an address that is not of the public internet, and unencrypted
    #[arg(long)]
    allow_private_addresses: bool,
}

#[expect(clippy::cognitive_complexity, reason = "a few lines for each command, and nothing else")]
pub(super) async fn run(session: &Session, command: DestinationsCommand) -> anyhow::Result<()> {
    let client = &session.client;
    let change = async |destination: String, update: EventDestinationUpdate, done: &str| {
        let find = async || find::<EventDestination>(client, &destination).await;
        session.change_and_say(find, |_| Ok(update.clone()), done).await
    };
    match command {
        DestinationsCommand::List { list } => {
            session.list::<EventDestination>(&Query::of(EventDestination::PATH), &list).await
        }
        DestinationsCommand::Show { destination } => {
            // What is listed does not have how the delivery goes.
            let path = find::<EventDestination>(client, &destination).await?.path();
            session.show(&client.get::<EventDestination>(&api(&path)).await?).await
        }
        DestinationsCommand::Add { name, url, kind, more } => {
            add(session, (name, read_url(url.as_ref())?, kind), more).await
        }
        DestinationsCommand::Set { destination, name, url, password, more } => {
            let url = url.map(|url| read_url(Some(&url))).transpose()?;
            let update = update(client, (name, url), password, more).await?;
            change(destination, update, "changed").await
        }
        DestinationsCommand::Enable { destination } => change(destination, enabled(true), "enabled").await,
        DestinationsCommand::Disable { destination } => change(destination, enabled(false), "disabled").await,
        DestinationsCommand::Test { destination } => test(session, &find(client, &destination).await?).await,
        DestinationsCommand::RotateSecret { destination, overlap } => {
            rotate_secret(session, &find(client, &destination).await?, overlap).await
        }
        DestinationsCommand::DeadLetters { destination, list } => {
            let path = format!("{}/dead-letters", find::<EventDestination>(client, &destination).await?.path());
            session.list::<DeadLetter>(&Query::of(&path), &list).await
        }
        DestinationsCommand::Redeliver { destination, letters } => {
            let found: EventDestination = find(client, &destination).await?;
            let path = api(&format!("{}/dead-letters/redeliver", found.path()));
            client.send::<()>(Method::POST, &path, &DeadLetterRedeliver { letters }).await?;
            session.output.say(&format!("Dead letters of {} are sent again.", found.title()))
        }
        DestinationsCommand::Remove { destination } => {
            let found: EventDestination = find(client, &destination).await?;
            session.remove(&found, "its secret and its dead letters go with it").await
        }
    }
}

fn enabled(is_enabled: bool) -> EventDestinationUpdate {
    EventDestinationUpdate { enabled: Some(is_enabled), ..EventDestinationUpdate::default() }
}

async fn networks(client: &Client, names: &[String]) -> anyhow::Result<Vec<festoon_api::NetworkId>> {
    let mut ids = Vec::new();
    for name in names {
        ids.push(find::<Network>(client, name).await?.id);
    }
    Ok(ids)
}

/// The URL that is meant. One with a password in it is no secret on the command line any more.
fn read_url(given: Option<&Source>) -> anyhow::Result<String> {
    let url = Source::read(given, URL, URL_VARIABLE)?;
    let has_password = url.parse().is_ok_and(|url: reqwest::Url| url.password().is_some() || url.query().is_some());
    if let Some(warning) = Source::warning(given, URL, URL_VARIABLE).filter(|_| has_password) {
        eprintln!("festoon-manager: {warning}");
    }
    Ok(url.to_string())
}

fn password() -> anyhow::Result<SecretText> {
    secret_or_line("Password for the broker: ", "FESTOON_BROKER_PASSWORD").map(SecretText::new)
}

async fn add(session: &Session, (name, url, kind): (String, String, Option<Kind>), more: More) -> anyhow::Result<()> {
    let is_broker = kind.map_or_else(|| url.starts_with("amqp"), |kind| kind == Kind::Amqp);
    let request = EventDestinationCreate {
        name,
        kind: if is_broker { EventDestinationKind::Amqp } else { EventDestinationKind::Webhook },
        url,
        exchange: more.exchange,
        routing_key_prefix: more.routing_key_prefix,
        password: is_broker.then(password).transpose()?,
        events: more.events,
        networks: networks(&session.client, &more.networks).await?,
        enabled: None,
        allow_private_addresses: more.allow_private_addresses,
    };
    let created: EventDestinationCreated = session.client.create(EventDestination::PATH, &request).await?;
    session.output.show(&created, || match &created.secret {
        Some(secret) => format!("{secret}\n"),
        None => format!("{} is added.\n", created.event_destination.title()),
    })
}

async fn update(
    client: &Client,
    (name, url): (Option<String>, Option<String>),
    has_password: bool,
    more: More,
) -> anyhow::Result<EventDestinationUpdate> {
    let networks = networks(client, &more.networks).await?;
    let update = EventDestinationUpdate {
        name,
        url,
        exchange: more.exchange,
        routing_key_prefix: more.routing_key_prefix,
        password: has_password.then(password).transpose()?,
        events: (!more.events.is_empty()).then_some(more.events),
        networks: (!networks.is_empty()).then_some(networks),
        enabled: None,
        allow_private_addresses: more.allow_private_addresses.then_some(true),
    };
    if update == EventDestinationUpdate::default() {
        return Err(super::fault::Fault::Usage("say what is to change: see --help".to_owned()).into());
    }
    Ok(update)
}

async fn test(session: &Session, destination: &EventDestination) -> anyhow::Result<()> {
    let path = api(&format!("{}/test", destination.path()));
    let test: EventDestinationTest = session.client.send(Method::POST, &path, &()).await?;
    let text = test.text.clone().map(|text| format!(": {text}")).unwrap_or_default();
    if !test.delivered {
        bail!("{} did not take the event {}{text}", destination.title(), test.id);
    }
    session.output.show(&test, || format!("{} took the event {}{text}.\n", destination.title(), test.id))
}

async fn rotate_secret(session: &Session, destination: &EventDestination, overlap: Duration) -> anyhow::Result<()> {
    let title = destination.title();
    let cost =
        format!("{title} is to be sent nothing signed with the secret of now; it refuses all until it has the new one");
    confirm(&cost, session.is_sure || !overlap.is_zero())?;
    let path = api(&format!("{}/rotate-secret", destination.path()));
    let ask = Ask::new(Method::POST, &path).json(&SecretRotate { overlap_s: overlap.as_secs() })?;
    let ask = ask.with(header::IF_MATCH, &format!("\"{}\"", destination.version));
    let rotated: SecretRotated = session.client.ask(&ask).await?;
    session.output.show(&rotated, || format!("{}\n", rotated.secret))
}

const fn kind(kind: EventDestinationKind) -> &'static str {
    match kind {
        EventDestinationKind::Webhook => "webhook",
        EventDestinationKind::Amqp => "amqp",
    }
}

fn all_or(items: &[impl std::fmt::Display]) -> String {
    if items.is_empty() { "all".to_owned() } else { list_of(items) }
}

fn names_of(destination: &EventDestination, names: &Names) -> String {
    all_or(&destination.networks.iter().map(|id| names.network(*id)).collect::<Vec<_>>())
}

impl Row for EventDestination {
    const COLUMNS: &'static [Column] = &[
        Column::always("DESTINATION"),
        Column::if_room(3, "ID"),
        Column::if_room(1, "KIND"),
        Column::always("ENABLED"),
        Column::always("URL"),
        Column::if_room(2, "EVENTS"),
        Column::if_room(4, "NETWORKS"),
        Column::wide("EXCHANGE"),
        Column::wide("CREATED"),
    ];
    const EMPTY: &'static str = "Events are sent nowhere: `festoon-manager destinations add` changes that.";

    fn row(&self, names: &Names) -> Vec<String> {
        vec![
            self.name.clone(),
            self.id.to_string(),
            kind(self.kind).to_owned(),
            if self.enabled { "yes" } else { "no" }.to_owned(),
            self.url.clone(),
            all_or(&self.events),
            names_of(self, names),
            or_dash(self.exchange.as_ref()),
            when(self.created, names.now),
        ]
    }
}

impl Record for EventDestination {
    const KIND: &'static str = "destination";
    const LIST: &'static str = "destinations list";
    const PATH: &'static str = "/event-destinations";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn lines(&self, names: &Names) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("kind", kind(self.kind).to_owned()),
            ("url", self.url.clone()),
            ("exchange", or_dash(self.exchange.as_ref())),
            ("routing keys", self.routing_key_prefix.as_ref().map(|it| format!("{it}.KIND")).unwrap_or_default()),
            ("events", all_or(&self.events)),
            ("networks", names_of(self, names)),
            ("enabled", if self.enabled { "yes" } else { "no" }.to_owned()),
            ("private", if self.allow_private_addresses { "addresses are allowed".to_owned() } else { String::new() }),
            ("created", format!("{} ({})", self.created, when(self.created, names.now))),
        ];
        lines.extend(self.delivery.iter().flat_map(|state| delivery(state, names)));
        lines.push(("version", self.version.to_string()));
        lines
    }
}

fn delivery(state: &DeliveryState, names: &Names) -> Vec<(&'static str, String)> {
    let time = |at: Option<festoon_api::Time>| or_dash(at.map(|at| when(at, names.now)));
    let count = |count: u64| if count == 0 { String::new() } else { count.to_string() };
    vec![
        ("sent by", or_dash(state.manager.map(|id| names.manager(id)))),
        ("last taken", time(state.last_success)),
        ("failing", state.failing_since.map(|at| format!("since {}", second(at))).unwrap_or_default()),
        ("failures", count(u64::from(state.failures))),
        ("last error", or_dash(state.last_error.as_ref())),
        ("next try", time(state.next_try)),
        ("waiting", state.waiting.to_string()),
        ("behind", state.lag.to_string()),
        ("missed", count(state.missed)),
        ("dead letters", state.dead_letters.to_string()),
    ]
}

impl Row for DeadLetter {
    const COLUMNS: &'static [Column] = &[
        Column::always("NUMBER"),
        Column::always("EVENT"),
        Column::if_room(2, "ID"),
        Column::if_room(3, "TRIES"),
        Column::if_room(1, "GIVEN UP"),
        Column::always("WHY"),
        Column::wide("SENT AGAIN"),
    ];
    const EMPTY: &'static str = "No event was given up.";

    fn row(&self, names: &Names) -> Vec<String> {
        vec![
            self.number.to_string(),
            self.kind.clone(),
            self.event.clone(),
            self.attempts.to_string(),
            when(self.given_up, names.now),
            self.error.clone(),
            if self.redelivering { "yes" } else { "-" }.to_owned(),
        ]
    }
}
