//! `festoon-manager api-tokens`: what programs show.

use std::time::Duration;

use clap::Subcommand;
use festoon_api::{ApiToken, ApiTokenCreate, ApiTokenCreated, User};

use super::args::lifetime;
use super::client::Query;
use super::find::find;
use super::output::{Column, when};
use super::record::{ListArgs, Names, Record, Row, Session};
use super::users::{Grant, role, scope};

#[derive(Debug, Subcommand)]
pub(super) enum ApiTokensCommand {
    /// List API tokens, without their secrets
    List {
        /// Those of this user
        #[arg(long)]
        user: Option<String>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show an API token, without its secret
    Show {
        /// Its id or name
        token: String,
    },
    /// Make an API token, and print it, this once
    Add {
        /// What to call it
        name: String,
        #[command(flatten)]
        grant: Grant,
        /// Whose it is to be; one's own if it is not said
        #[arg(long)]
        user: Option<String>,
        /// It may also do what a session has to be confirmed for: make owners, change what owners log in with, make join tokens for
        /// managers, download snapshots, change the recovery key. Only a user makes such a token, and is asked for the password
        #[arg(long)]
        sensitive: bool,
        /// How long it is good for: 30m, 12h, 90d; a year at most
        #[arg(long, default_value = "90d", value_parser = lifetime)]
        expires: Duration,
    },
    /// Remove an API token: it is good no more
    #[command(visible_alias = "rm")]
    Remove {
        /// Its id or name
        token: String,
    },
}

pub(super) async fn run(session: &Session, command: ApiTokensCommand) -> anyhow::Result<()> {
    let client = &session.client;
    let user_id = async |user: Option<String>| match user {
        Some(user) => anyhow::Ok(Some(find::<User>(client, &user).await?.id)),
        None => Ok(None),
    };
    match command {
        ApiTokensCommand::List { user, list } => {
            let query = Query::of(ApiToken::PATH).with("user", user_id(user).await?);
            session.list::<ApiToken>(&query, &list).await
        }
        ApiTokensCommand::Show { token } => session.show(&find::<ApiToken>(client, &token).await?).await,
        ApiTokensCommand::Add { name, grant, user, sensitive, expires } => {
            let (user, networks) = (user_id(user).await?, scope(client, &grant.networks).await?);
            let expires_in_s = Some(expires.as_secs());
            let role = grant.role.into();
            let request = ApiTokenCreate { name, user, role, networks, sensitive, expires_in_s };
            let created: ApiTokenCreated = client.create(ApiToken::PATH, &request).await?;
            session.output.show(&created, || format!("{}\n", created.secret))
        }
        ApiTokensCommand::Remove { token } => {
            session.remove(&find::<ApiToken>(client, &token).await?, "programs that show it are refused").await
        }
    }
}

impl Row for ApiToken {
    const COLUMNS: &'static [Column] = &[
        Column::always("API TOKEN"),
        Column::if_room(1, "ID"),
        Column::always("USER"),
        Column::always("ROLE"),
        Column::always("NETWORKS"),
        Column::always("EXPIRES"),
        Column::if_room(2, "CREATED"),
    ];
    const EMPTY: &'static str = "There are no API tokens: `festoon-manager api-tokens add` makes one.";

    fn row(&self, names: &Names) -> Vec<String> {
        vec![
            self.name.clone(),
            self.id.to_string(),
            names.user(self.user),
            role(self.role).to_owned(),
            names.scope(self.networks.as_ref()),
            when(self.expires, names.now),
            when(self.created, names.now),
        ]
    }
}

impl Record for ApiToken {
    const KIND: &'static str = "API token";
    const LIST: &'static str = "api-tokens list";
    const PATH: &'static str = "/api-tokens";

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
        vec![
            ("user", names.user(self.user)),
            ("role", role(self.role).to_owned()),
            ("networks", names.scope(self.networks.as_ref())),
            ("sensitive", if self.sensitive { "yes" } else { "no" }.to_owned()),
            ("created", format!("{} ({})", self.created, when(self.created, names.now))),
            ("expires", format!("{} ({})", self.expires, when(self.expires, names.now))),
            ("version", self.version.to_string()),
        ]
    }
}
