//! What all kinds of records have in common: how they are listed, shown, changed and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use festoon_api::{Endpoint, Manager, ManagerId, Network, NetworkId, Page, Time, User, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{Client, ClientError, Query, api};
use super::output::{Column, Output, Table, confirm, details};
use crate::cluster::unix_now;

/// How often a change is tried again that somebody else's change came before.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// A manager to ask, and how to tell what it says.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) output: Output,
    /// Whether what destroys was meant.
    pub(super) is_sure: bool,
}

/// What is listed in a table.
pub(super) trait Row: Serialize + DeserializeOwned {
    /// Of the table.
    const COLUMNS: &'static [Column];
    /// What is said when there are none.
    const EMPTY: &'static str;

    /// A row of the table.
    fn row(&self, names: &Names) -> Vec<String>;
}

/// A kind of record, each of which has an id.
pub(super) trait Record: Row {
    /// What one is called.
    const KIND: &'static str;
    /// The command that they are listed with.
    const LIST: &'static str;
    /// Where they are in the API.
    const PATH: &'static str;

    /// The id.
    fn id(&self) -> String;
    /// The name, if it has one.
    fn name(&self) -> Option<&str>;
    /// The version.
    fn version(&self) -> u64;
    /// All there is to know, beside name and id.
    fn lines(&self, names: &Names) -> Vec<(&'static str, String)>;

    /// Where it is in the API.
    fn path(&self) -> String {
        format!("{}/{}", Self::PATH, self.id())
    }

    /// What a person calls it: name and id.
    fn title(&self) -> String {
        self.name().map_or_else(|| self.id(), |name| titled(name, self.id()))
    }
}

/// How ids are called, and what time it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) managers: BTreeMap<ManagerId, String>,
    pub(super) networks: BTreeMap<NetworkId, String>,
    pub(super) users: BTreeMap<UserId, String>,
    pub(super) endpoints: BTreeMap<String, String>,
    pub(super) now: Time,
}

impl Names {
    /// As the cluster has them, as far as this login may know.
    pub(super) async fn load(client: &Client) -> Self {
        let managers: Vec<Manager> = client.list(&Query::of("/managers"), None).await.unwrap_or_default();
        let networks: Vec<Network> = client.list(&Query::of("/networks"), None).await.unwrap_or_default();
        let users: Vec<User> = client.list(&Query::of(User::PATH), None).await.unwrap_or_default();
        Self {
            managers: managers.into_iter().map(|manager| (manager.id, manager.name)).collect(),
            networks: networks.into_iter().map(|network| (network.id, network.name)).collect(),
            users: users.into_iter().map(|user| (user.id, user.name)).collect(),
            endpoints: BTreeMap::new(),
            now: now(),
        }
    }

    /// With the names of endpoints, of the first thousand at least.
    pub(super) async fn with_endpoints(self, client: &Client) -> Self {
        let some: Vec<Endpoint> = client.list(&Query::of(Endpoint::PATH), Some(1000)).await.unwrap_or_default();
        Self { endpoints: some.into_iter().map(|endpoint| (endpoint.id.to_string(), endpoint.name)).collect(), ..self }
    }

    /// A manager's name, or its id if it has none any more.
    pub(super) fn manager(&self, id: ManagerId) -> String {
        self.managers.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// A user's name.
    pub(super) fn user(&self, id: UserId) -> String {
        self.users.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// The names of networks that something is limited to, or that it is not.
    pub(super) fn scope(&self, networks: Option<&BTreeSet<NetworkId>>) -> String {
        networks.map_or_else(
            || "all".to_owned(),
            |networks| networks.iter().map(|id| self.network(*id)).collect::<Vec<_>>().join(","),
        )
    }

    /// A network's name.
    pub(super) fn network(&self, id: NetworkId) -> String {
        self.networks.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

/// The time of this machine.
pub(super) fn now() -> Time {
    Time(unix_now().0)
}

/// `name (id)`.
pub(super) fn titled(name: &str, id: impl Display) -> String {
    let id = id.to_string();
    if name == id { id } else { format!("{name} ({id})") }
}

/// What to list.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ListArgs {
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Show the list again whenever it changes, until the program is stopped
    #[arg(short, long)]
    watch: bool,
}

/// What is said instead of a table if a filter leaves nothing.
const NO_MATCH: &str = "Nothing matches this filter.";

pub(super) fn table<T: Row>(items: &[T], names: &Names) -> Table {
    table_or::<T>(items, names, T::EMPTY)
}

fn table_or<T: Row>(items: &[T], names: &Names, empty: &'static str) -> Table {
    Table::new(T::COLUMNS, empty).rows(items.iter().map(|item| item.row(names)))
}

impl Session {
    /// Lists what `query` gives.
    pub(super) async fn list<T: Row>(&self, query: &Query, args: &ListArgs) -> anyhow::Result<()> {
        let empty = if query.is_filtered() { NO_MATCH } else { T::EMPTY };
        let load = async || {
            let items: Vec<T> = self.client.list(query, args.limit).await?;
            let table = table_or(&items, &self.names().await, empty);
            Ok((items, table))
        };
        self.print_or_watch(load, args.watch).await
    }

    /// As [`Session::list`], of what comes as a whole: a short list, which takes no limit.
    pub(super) async fn list_whole<T: Row>(&self, path: &str, args: &ListArgs) -> anyhow::Result<()> {
        let load = async || {
            let Page { mut items, .. } = self.client.get::<Page<T>>(&api(path)).await?;
            items.truncate(args.limit.unwrap_or(usize::MAX));
            let table = table(&items, &self.names().await);
            Ok((items, table))
        };
        self.print_or_watch(load, args.watch).await
    }

    async fn print_or_watch<T: Serialize>(
        &self,
        mut load: impl AsyncFnMut() -> anyhow::Result<(T, Table)>,
        is_watched: bool,
    ) -> anyhow::Result<()> {
        if is_watched {
            return self.output.watch(load).await;
        }
        let (items, table) = load().await?;
        self.output.table(&items, || table)
    }

    /// How ids are called, if anybody is going to read it.
    async fn names(&self) -> Names {
        match self.output.is_for_people() {
            true => Names::load(&self.client).await,
            false => Names { now: now(), ..Names::default() },
        }
    }

    /// Shows all there is to know of `item`.
    pub(super) async fn show<T: Record>(&self, item: &T) -> anyhow::Result<()> {
        let names = self.names().await;
        self.output.show(item, || details(&item.title(), &item.lines(&names)))
    }

    /// Changes what `find` finds as `update` says. If somebody else's change came before, that of this person is made on top:
    /// it says what is to be different, and not all there is to be.
    pub(super) async fn change<T: Record, U: Serialize>(
        &self,
        find: impl AsyncFn() -> anyhow::Result<T>,
        update: impl Fn(&T) -> anyhow::Result<U>,
    ) -> anyhow::Result<T> {
        let mut tries = 1;
        loop {
            let found = find().await?;
            match self.client.change(&found.path(), found.version(), &update(&found)?).await {
                Err(ClientError::Refused(problem)) if problem.status == 412 && tries < TRIES => tries += 1,
                changed => return Ok(changed?),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// As [`Session::change`], and says so.
    pub(super) async fn change_and_say<T: Record, U: Serialize>(
        &self,
        find: impl AsyncFn() -> anyhow::Result<T>,
        update: impl Fn(&T) -> anyhow::Result<U>,
        done: &str,
    ) -> anyhow::Result<()> {
        let changed = self.change(find, update).await?;
        self.done(&changed, done)
    }

    /// What was done to `item`.
    pub(super) fn done<T: Record>(&self, item: &T, done: &str) -> anyhow::Result<()> {
        self.output.show(item, || format!("{} is {done}.\n", item.title()))
    }

    /// Removes `item`, once it is certain that this is meant. `cost` says what is lost with it.
    pub(super) async fn remove<T: Record>(&self, item: &T, cost: &str) -> anyhow::Result<()> {
        confirm(&format!("{} {} is to be removed; {cost}", T::KIND, item.title()), self.is_sure)?;
        self.client.remove(&item.path()).await?;
        self.output.say(&format!("{} is removed.", item.title()))
    }
}
