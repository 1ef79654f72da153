//! `festoon-manager endpoints`: the hosts in the networks.

mod view;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use festoon_api::{Endpoint, EndpointCreate, EndpointCreated, EndpointUpdate, Manager};
use festoon_proto::PrivateKey;
use zeroize::Zeroizing;

use super::client::{Query, api};
use super::find;
use super::moment::Moment;
use super::output::{confirm, list_of, print, qr};
use super::record::{ListArgs, Record as _, Session};
use crate::client_conf::NO_KEY;

#[derive(Debug, Subcommand)]
pub(super) enum EndpointsCommand {
    /// List endpoints
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show an endpoint
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Add a stock WireGuard client and print its configuration, private key included, this once; agents come in with a
    /// token instead
    Add {
        /// Its name
        name: String,
        /// Its network
        #[arg(long)]
        network: Option<String>,
        /// Its address, instead of a free one; again for the other of IPv4 and IPv6
        #[arg(long, value_name = "IP")]
        address: Vec<IpAddr>,
        /// A word to find it by; may be repeated
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// When it is removed by itself: in 12h, 7d, or a time as in 2026-11-21T15:04:05Z
        #[arg(long, value_name = "WHEN")]
        expires: Option<Moment>,
        #[command(flatten)]
        form: ConfigForm,
        /// That it is a stock WireGuard client
        #[arg(long, hide = true)]
        client: bool,
    },
    /// Change an endpoint
    Set {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        changes: Changes,
    },
    /// Give an endpoint another name
    Rename {
        #[command(flatten)]
        which: Which,
        /// The new name
        new_name: String,
    },
    /// Move an endpoint to another network; it gets other addresses there
    Move {
        #[command(flatten)]
        which: Which,
        /// The network that it moves to
        to: String,
        /// Its address there, instead of a free one; again for the other of IPv4 and IPv6
        #[arg(long, value_name = "IP")]
        address: Vec<IpAddr>,
    },
    /// Give an endpoint words to find it by, and take them away
    Tags {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        tags: TagChanges,
    },
    /// Say when an endpoint is removed by itself
    Expiry {
        #[command(flatten)]
        which: Which,
        /// In 12h, 7d, at 2026-11-21T15:04:05Z, or never
        when: Moment,
    },
    /// Let an endpoint use the overlay again
    Enable {
        #[command(flatten)]
        which: Which,
    },
    /// Keep an endpoint out until it is enabled again; its addresses stay
    Disable {
        #[command(flatten)]
        which: Which,
    },
    /// End the session of an endpoint now; it may come back by itself, unless it is disabled
    Disconnect {
        #[command(flatten)]
        which: Which,
    },
    /// Ask an agent for a new key; it makes one within seconds, and loses no packet
    RotateKey {
        #[command(flatten)]
        which: Which,
    },
    /// Print the configuration of a stock WireGuard client, without its private key, which only the client has
    Config {
        #[command(flatten)]
        which: Which,
        /// A file with the private key, to have it in the configuration
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        #[command(flatten)]
        form: ConfigForm,
    },
    /// Remove an endpoint
    #[command(visible_alias = "rm")]
    Remove {
        #[command(flatten)]
        which: Which,
    },
}

/// Which endpoint.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Its name, id or address
    endpoint: String,
    /// Its network, where several have an endpoint of that name
    #[arg(long)]
    network: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Kind {
    /// Our program
    Agent,
    /// Any stock WireGuard program
    Client,
}

/// Which endpoints.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Those of this network
    #[arg(long)]
    network: Option<String>,
    /// Those with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Those of this kind
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Those whose name has this in it
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// The one with this address
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Those that are kept out
    #[arg(long)]
    disabled: bool,
}

#[derive(Debug, Args)]
pub(super) struct ConfigForm {
    /// The manager it is to use, if not the one of the highest priority
    #[arg(long)]
    manager: Option<String>,
    /// As a QR code, which the WireGuard program of a telephone reads
    #[arg(long)]
    qr: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Changes {
    /// Its new name
    #[arg(long)]
    name: Option<String>,
    /// Its new address; again for the other of IPv4 and IPv6
    #[arg(long, value_name = "IP")]
    address: Vec<IpAddr>,
    /// All its tags, with commas between; none if empty
    #[arg(long, value_name = "TAGS")]
    tags: Option<String>,
    /// When it is removed by itself: in 12h, 7d, at 2026-11-21T15:04:05Z, or never
    #[arg(long, value_name = "WHEN")]
    expires: Option<Moment>,
    /// The network that it moves to; it gets other addresses there
    #[arg(long, value_name = "NETWORK")]
    move_to: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct TagChanges {
    /// One more; may be repeated
    #[arg(long, value_name = "TAG")]
    add: Vec<String>,
    /// One less; may be repeated
    #[arg(long, value_name = "TAG")]
    remove: Vec<String>,
}

#[expect(clippy::cognitive_complexity, reason = "a few lines for each command, and nothing else")]
pub(super) async fn run(session: &Session, command: EndpointsCommand) -> anyhow::Result<()> {
    match command {
        EndpointsCommand::List { filter, list } => session.list::<Endpoint>(&filter.query(), &list).await,
        EndpointsCommand::Show { which } => session.show(&which.find(session).await?).await,
        EndpointsCommand::Add { name, network, address, tags, expires, form, client: _ } => {
            let expires = expires.and_then(Moment::time);
            let create = EndpointCreate { name, network, addresses: address, public_key: None, tags, expires };
            add(session, create, &form).await
        }
        EndpointsCommand::Set { which, changes } => which.change(session, changes.update(), "changed").await,
        EndpointsCommand::Rename { which, new_name } => {
            let update = EndpointUpdate { name: Some(new_name), ..EndpointUpdate::default() };
            which.change(session, update, "renamed").await
        }
        EndpointsCommand::Move { which, to, address } => {
            let addresses = (!address.is_empty()).then_some(address);
            let update = EndpointUpdate { network: Some(to), addresses, ..EndpointUpdate::default() };
            which.change(session, update, "moved").await
        }
        EndpointsCommand::Tags { which, tags } => {
            let find = async || which.find(session).await;
            session.change_and_say(find, |endpoint| Ok(tags.update(endpoint)), "changed").await
        }
        EndpointsCommand::Expiry { which, when } => {
            let update = EndpointUpdate { expires: Some(when.time()), ..EndpointUpdate::default() };
            which.change(session, update, "changed").await
        }
        EndpointsCommand::Enable { which } => which.change(session, enabled(true), "enabled").await,
        EndpointsCommand::Disable { which } => {
            let endpoint = which.find(session).await?;
            confirm(
                &format!("endpoint {} is to be disabled; it is cut off at once", endpoint.title()),
                session.is_sure,
            )?;
            which.change(session, enabled(false), "disabled").await
        }
        EndpointsCommand::Disconnect { which } => {
            let endpoint = which.find(session).await?;
            confirm(&format!("the session of endpoint {} is to end now", endpoint.title()), session.is_sure)?;
            let path = api(&format!("{}/disconnect", endpoint.path()));
            session.client.send::<()>(axum::http::Method::POST, &path, &()).await?;
            session.output.say(&format!("{} is disconnected.", endpoint.title()))
        }
        EndpointsCommand::RotateKey { which } => {
            let path = api(&format!("{}/rotate-key", which.find(session).await?.path()));
            let endpoint: Endpoint = session.client.send(axum::http::Method::POST, &path, &()).await?;
            session.done(&endpoint, "asked for a new key")
        }
        EndpointsCommand::Config { which, key_file, form } => {
            let endpoint = which.find(session).await?;
            let key = key_file.map(std::fs::read_to_string).transpose()?.map(Zeroizing::new);
            let conf = config(session, &endpoint, &form, key.as_ref().map(|key| key.trim())).await?;
            print(&form.text(&conf)?)
        }
        EndpointsCommand::Remove { which } => {
            let endpoint = which.find(session).await?;
            session.remove(&endpoint, "it is cut off at once").await
        }
    }
}

fn enabled(is_enabled: bool) -> EndpointUpdate {
    EndpointUpdate { enabled: Some(is_enabled), ..EndpointUpdate::default() }
}

impl Which {
    async fn find(&self, session: &Session) -> anyhow::Result<Endpoint> {
        find::endpoint(&session.client, &self.endpoint, self.network.as_deref()).await
    }

    /// Sees that it is meant, if the endpoint gets other addresses.
    async fn see_that_it_is_meant(&self, session: &Session, update: &EndpointUpdate) -> anyhow::Result<()> {
        if update.network.is_none() && update.addresses.is_none() {
            return Ok(());
        }
        let endpoint = self.find(session).await?;
        let cost = format!(
            "endpoint {} is to have other addresses; at {} nobody reaches it any more, and a stock client is cut off until it has its new configuration",
            endpoint.title(),
            list_of(&endpoint.addresses)
        );
        confirm(&cost, session.is_sure)
    }

    async fn change(&self, session: &Session, update: EndpointUpdate, done: &str) -> anyhow::Result<()> {
        self.see_that_it_is_meant(session, &update).await?;
        session.change_and_say(async || self.find(session).await, |_| Ok(update.clone()), done).await
    }
}

impl Filter {
    fn query(&self) -> Query {
        let kind = self.kind.map(|kind| match kind {
            Kind::Agent => "agent",
            Kind::Client => "client",
        });
        Query::of("/endpoints")
            .with("network", self.network.as_ref())
            .with("tag", self.tag.as_ref())
            .with("kind", kind)
            .with("search", self.search.as_ref())
            .with("address", self.address)
            .with("enabled", self.disabled.then_some(false))
    }
}

impl Changes {
    fn update(self) -> EndpointUpdate {
        let Self { name, address, tags, expires, move_to } = self;
        let words = |tags: String| tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        EndpointUpdate {
            name,
            addresses: (!address.is_empty()).then_some(address),
            tags: tags.map(words),
            expires: expires.map(|when| when.time()),
            network: move_to,
            ..EndpointUpdate::default()
        }
    }
}

impl TagChanges {
    fn update(&self, endpoint: &Endpoint) -> EndpointUpdate {
        let mut tags = endpoint.tags.clone();
        tags.retain(|tag| !self.remove.contains(tag));
        tags.extend(self.add.iter().filter(|tag| !endpoint.tags.contains(tag)).cloned());
        EndpointUpdate { tags: Some(tags), ..EndpointUpdate::default() }
    }
}

impl ConfigForm {
    fn text(&self, conf: &str) -> anyhow::Result<String> {
        match self.qr {
            true => qr(conf),
            false => Ok(conf.to_owned()),
        }
    }
}

/// The private key is made here and nowhere kept: not by the managers, not on this disk.
async fn add(session: &Session, create: EndpointCreate, form: &ConfigForm) -> anyhow::Result<()> {
    // Before anything is added.
    if let Some(manager) = &form.manager {
        find::find::<Manager>(&session.client, manager).await?;
    }
    let key = PrivateKey::from_bytes(rand::random());
    let create = EndpointCreate { public_key: Some(key.public_key()), ..create };
    let created: EndpointCreated = session.client.create("/endpoints", &create).await?;
    let secret = Zeroizing::new(key.to_secret_base64());
    let conf = config(session, &created.endpoint, form, Some(&secret)).await?;
    let created = EndpointCreated { config: Some(conf.to_string()), ..created };
    let text = form.text(&conf)?;
    session.output.show(&created, || text)
}

/// The configuration of a client, with its private key if that is known. Secret then.
async fn config(
    session: &Session,
    endpoint: &Endpoint,
    form: &ConfigForm,
    key: Option<&str>,
) -> anyhow::Result<Zeroizing<String>> {
    let query = Query::of(&format!("{}/config", endpoint.path())).with("manager", form.manager.as_ref());
    let conf = session.client.text(&api(query.as_str())).await?;
    Ok(Zeroizing::new(match key {
        Some(key) => conf.replace(NO_KEY, key),
        None => conf,
    }))
}
