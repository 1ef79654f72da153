//! `festoon-manager events`: what happened in the cluster, and what happens.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use festoon_api::{Manager, ManagerId, Network, NetworkId, Time};

use super::client::{Query, Told, api, follow};
use super::find;
use super::moment::Moment;
use super::output::{Column, Table, or_dash, second};
use super::record::{Names, Session, now};
use super::telling::told;

/// Events on a page.
const PAGE: usize = 1000;
/// Events that are shown if nobody says how many.
const USUAL: usize = 100;

#[derive(Debug, Subcommand)]
pub(super) enum EventsCommand {
    /// List what happened, the latest last
    List {
        #[command(flatten)]
        filter: Filter,
        /// At most so many, the latest
        #[arg(long, value_name = "N", default_value_t = USUAL)]
        limit: usize,
        /// Then show what happens, until the program is stopped
        #[arg(short, long)]
        watch: bool,
    },
    /// Show what happens, until the program is stopped; a stream that breaks goes on where it was, at another manager if need be
    Watch {
        #[command(flatten)]
        filter: Filter,
        /// Behind this cursor first: the one that an earlier run ended with
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Of this kind, as in endpoint.moved; again for others
    #[arg(long)]
    kind: Vec<String>,
    /// About this endpoint, by name, id or address
    #[arg(long)]
    endpoint: Option<String>,
    /// About this manager, by name or id
    #[arg(long)]
    manager: Option<String>,
    /// In this network, by name or id
    #[arg(long)]
    network: Option<String>,
    /// Since so long ago, as in 12h, or since a time, as in 2026-11-21T15:04:05Z
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
}

/// An event, as the API has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) at: Time,
    pub(super) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) manager: Option<ManagerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<NetworkId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<String>,
    #[serde(default)]
    pub(super) details: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Event>,
    next: String,
    more: bool,
}

pub(super) async fn run(session: &Session, command: EventsCommand) -> anyhow::Result<()> {
    match command {
        EventsCommand::List { filter, limit, watch } => {
            let query = filter.query(session).await?;
            let (events, next) = latest(session, &query, limit).await?;
            let names = Names::load(&session.client).await.with_endpoints(&session.client).await;
            if !watch {
                return session.output.table(&events, || table(&events, &names));
            }
            events.iter().try_for_each(|event| tell(session, event, &names))?;
            watch_from(session, &query, Some(next), &names).await
        }
        EventsCommand::Watch { filter, after } => {
            let query = filter.query(session).await?;
            watch_from(
                session,
                &query,
                after,
                &Names::load(&session.client).await.with_endpoints(&session.client).await,
            )
            .await
        }
    }
}

impl Filter {
    async fn query(&self, session: &Session) -> anyhow::Result<Query> {
        let client = &session.client;
        let network = match &self.network {
            Some(network) => Some(find::find::<Network>(client, network).await?.id),
            None => None,
        };
        let manager = match &self.manager {
            Some(manager) => Some(find::find::<Manager>(client, manager).await?.id),
            None => None,
        };
        let endpoint = match &self.endpoint {
            // One that was removed has no name any more, and is still in the history.
            Some(endpoint) if endpoint.parse::<festoon_api::EndpointId>().is_ok() => Some(endpoint.clone()),
            Some(endpoint) => Some(find::endpoint(client, endpoint, self.network.as_deref()).await?.id.to_string()),
            None => None,
        };
        let kinds = (!self.kind.is_empty()).then(|| self.kind.join(","));
        let query = Query::of("/events").with("kind", kinds).with("endpoint", endpoint).with("manager", manager);
        Ok(query.with("network", network).with("since", self.since.and_then(before)))
    }
}

/// A length of time is meant backwards here.
fn before(moment: Moment) -> Option<Time> {
    match moment {
        Moment::In(length) => Some(Time(now().0.saturating_sub(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))),
        other => other.time(),
    }
}

/// The last events of all that the cluster keeps, and where to go on.
async fn latest(session: &Session, query: &Query, limit: usize) -> anyhow::Result<(Vec<Event>, String)> {
    let (mut events, mut after) = (Vec::new(), None::<String>);
    loop {
        let query = query.clone().with("limit", Some(PAGE)).with("after", after.as_ref());
        let page: Page = session.client.get(&api(query.as_str())).await?;
        events.extend(page.items);
        // Only the end of them is wanted, and there may be hundreds of thousands.
        let surplus = events.len().saturating_sub(limit);
        events.drain(..surplus);
        if !page.more {
            return Ok((events, page.next));
        }
        after = Some(page.next);
    }
}

async fn watch_from(session: &Session, query: &Query, after: Option<String>, names: &Names) -> anyhow::Result<()> {
    let each = |told: &Told| {
        let event: Event = serde_json::from_str(&told.data)?;
        tell(session, &event, names)
    };
    follow(&session.client, query.as_str(), after, each).await
}

fn tell(session: &Session, event: &Event, names: &Names) -> anyhow::Result<()> {
    session.output.line(event, || format!("{}  {:<16}  {}\n", second(event.at), event.kind, told(event, names)))
}

fn table(events: &[Event], names: &Names) -> Table {
    let columns = [
        Column::always("TIME"),
        Column::always("EVENT"),
        Column::always("WHAT"),
        Column::wide("ENDPOINT"),
        Column::wide("MANAGER"),
        Column::wide("NETWORK"),
        Column::wide("ID"),
    ];
    let row = |event: &Event| {
        vec![
            second(event.at),
            event.kind.clone(),
            told(event, names),
            or_dash(event.endpoint.as_ref()),
            or_dash(event.manager.map(|id| names.manager(id))),
            or_dash(event.network.map(|id| names.network(id))),
            event.id.clone(),
        ]
    };
    Table::new(&columns, "Nothing of that kind has happened.").rows(events.iter().map(row))
}
