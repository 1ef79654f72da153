//! `festoon-manager tokens`: join tokens, which let nodes in.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use festoon_api::{JoinToken, JoinTokenCreate, JoinTokenCreated, JoinTokenKind};

use super::args::lifetime;
use super::client::Query;
use super::find::find;
use super::output::{Column, list_of, or_dash, when};
use super::record::{ListArgs, Names, Record, Row, Session, titled};

#[derive(Debug, Subcommand)]
pub(super) enum TokensCommand {
    /// List join tokens, without their secrets; one that expired is remembered for a week
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a join token, without its secret
    Show {
        /// Its id or name
        token: String,
    },
    /// Make a token that lets a node in, and print it, this once
    #[command(alias = "create")]
    Add {
        #[command(flatten)]
        preset: Preset,
    },
    /// Remove a token: it lets nobody in any more. Who came in with it stays
    #[command(visible_alias = "rm")]
    Remove {
        /// Its id or name
        token: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Preset {
    /// For a full manager instead of an endpoint
    #[arg(long, conflicts_with_all = ["network", "address", "tags", "ephemeral"])]
    manager: bool,
    /// For a witness instead of an endpoint
    #[arg(long, conflicts_with_all = ["manager", "network", "address", "tags", "ephemeral"])]
    witness: bool,
    /// What to call the token
    #[arg(long)]
    name: Option<String>,
    /// The network the endpoint gets into
    #[arg(long)]
    network: Option<String>,
    /// The address the endpoint gets, instead of a free one; again for the other of IPv4 and IPv6
    #[arg(long, value_name = "IP")]
    address: Vec<IpAddr>,
    /// A word that its endpoints are found by; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// For any number of endpoints, until it expires
    #[arg(long, conflicts_with = "address")]
    reusable: bool,
    /// Its endpoints are removed once they have been away for a while
    #[arg(long)]
    ephemeral: bool,
    /// How long it is good for: 30m, 12h, 7d; a year at most
    #[arg(long, default_value = "1h", value_parser = lifetime)]
    expires: Duration,
}

impl From<Preset> for JoinTokenCreate {
    fn from(preset: Preset) -> Self {
        let Preset { manager, witness, name, network, address, tags, reusable, ephemeral, expires } = preset;
        Self {
            kind: match (manager, witness) {
                (true, _) => JoinTokenKind::Manager,
                (_, true) => JoinTokenKind::Witness,
                _ => JoinTokenKind::Endpoint,
            },
            name,
            network,
            reusable,
            ephemeral,
            tags,
            addresses: address,
            expires_in_s: Some(expires.as_secs()),
        }
    }
}

pub(super) async fn run(session: &Session, command: TokensCommand) -> anyhow::Result<()> {
    let client = &session.client;
    match command {
        TokensCommand::List { list } => session.list::<JoinToken>(&Query::of("/join-tokens"), &list).await,
        TokensCommand::Show { token } => session.show(&find::<JoinToken>(client, &token).await?).await,
        TokensCommand::Add { preset } => {
            let created: JoinTokenCreated = client.create("/join-tokens", &JoinTokenCreate::from(preset)).await?;
            session.output.show(&created, || format!("{}\n", created.secret))
        }
        TokensCommand::Remove { token } => {
            let token = find::<JoinToken>(client, &token).await?;
            session.remove(&token, "nobody gets in with it any more").await
        }
    }
}

fn kind(kind: JoinTokenKind) -> String {
    match kind {
        JoinTokenKind::Endpoint => "endpoint",
        JoinTokenKind::Manager => "manager",
        JoinTokenKind::Witness => "witness",
    }
    .to_owned()
}

/// How often it is good.
fn good_for(token: &JoinToken) -> &'static str {
    match (token.reusable, token.uses) {
        (true, _) => "many",
        (false, 0) => "one",
        (false, _) => "used up",
    }
}

impl Row for JoinToken {
    const COLUMNS: &'static [Column] = &[
        Column::always("TOKEN"),
        Column::if_room(2, "NAME"),
        Column::always("FOR"),
        Column::if_room(1, "NETWORK"),
        Column::always("GOOD FOR"),
        Column::if_room(3, "USES"),
        Column::always("EXPIRES"),
        Column::if_room(5, "TAGS"),
        Column::if_room(4, "ADDRESSES"),
        Column::wide("EPHEMERAL"),
        Column::wide("CREATED"),
        Column::wide("LAST USED BY"),
    ];
    const EMPTY: &'static str = "There are no join tokens: `festoon-manager tokens add` makes one.";

    fn row(&self, names: &Names) -> Vec<String> {
        vec![
            self.id.to_string(),
            or_dash(self.name.as_ref()),
            kind(self.kind),
            or_dash(self.network.map(|network| names.network(network))),
            good_for(self).to_owned(),
            self.uses.to_string(),
            when(self.expires, names.now),
            list_of(&self.tags),
            list_of(&self.addresses),
            if self.ephemeral { "yes" } else { "-" }.to_owned(),
            when(self.created, names.now),
            or_dash(self.last_used_by.as_ref()),
        ]
    }
}

impl Record for JoinToken {
    const KIND: &'static str = "join token";
    const LIST: &'static str = "tokens list";
    const PATH: &'static str = "/join-tokens";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn lines(&self, names: &Names) -> Vec<(&'static str, String)> {
        vec![
            ("for", kind(self.kind)),
            ("network", or_dash(self.network.map(|network| titled(&names.network(network), network)))),
            ("good for", good_for(self).to_owned()),
            ("ephemeral", if self.ephemeral { "yes".to_owned() } else { String::new() }),
            ("tags", list_of(&self.tags)),
            ("addresses", list_of(&self.addresses)),
            ("uses", self.uses.to_string()),
            ("last used by", or_dash(self.last_used_by.as_ref())),
            ("created", format!("{} ({})", self.created, when(self.created, names.now))),
            ("expires", format!("{} ({})", self.expires, when(self.expires, names.now))),
            ("version", self.version.to_string()),
        ]
    }
}
