//! `festoon-manager users`: people who may look at a cluster, or change it.

mod credentials;
mod view;

use std::collections::BTreeSet;

use axum::http::Method;
use clap::{Args, Subcommand, ValueEnum};
use festoon_api::{
    Identity, NetworkId, Role, SecretText, Session as WebSession, SetUpSecret, User, UserCreate, UserUpdate,
};

use super::client::{Client, Query, api, escaped};
use super::find::find;
use super::output::confirm;
use super::record::{ListArgs, Record as _, Session};
use credentials::{new_password, password, totp};

pub(super) use view::role;

#[derive(Debug, Subcommand)]
pub(super) enum UsersCommand {
    /// List users
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a user
    Show {
        /// Its name or id
        user: String,
    },
    /// Add a user
    Add {
        /// The name it logs in with
        name: String,
        #[command(flatten)]
        grant: Grant,
        /// Without a password: it logs in with an identity provider
        #[arg(long, requires = "issuer")]
        no_password: bool,
        #[command(flatten)]
        identity: IdentityArgs,
    },
    /// Change a user: a change of what it logs in with ends all its sessions
    Set {
        /// Its name or id
        user: String,
        #[command(flatten)]
        changes: Changes,
    },
    /// Let a user log in again
    Enable {
        /// Its name or id
        user: String,
    },
    /// Keep a user and its tokens out
    Disable {
        /// Its name or id
        user: String,
    },
    /// Give a user another password, asked for at the terminal or read from the standard input; oneself if nobody is named
    Password {
        /// Its name or id
        user: Option<String>,
    },
    /// The second factor of a user; of oneself if nobody is named
    #[command(subcommand)]
    Totp(TotpCommand),
    /// List where a user is logged in
    Sessions {
        /// Its name or id
        user: String,
        #[command(flatten)]
        list: ListArgs,
    },
    /// End a session of a user, or all
    EndSessions {
        /// Its name or id
        user: String,
        /// The session, as in s12; all of them if none is named
        session: Option<String>,
    },
    /// Make another set-up secret, with which `login --set-up` makes the first owner; only on a manager, while there is none
    SetUpSecret,
    /// Remove a user, with its sessions and tokens
    #[command(visible_alias = "rm")]
    Remove {
        /// Its name or id
        user: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TotpCommand {
    /// Make a second factor, in the place of one before: shows a QR code for an authenticator app and asks for a code of it
    Enable {
        /// Its name or id
        user: Option<String>,
    },
    /// Take the second factor away
    Disable {
        /// Its name or id
        user: Option<String>,
    },
    /// Make new recovery codes, in the place of those before
    RecoveryCodes {
        /// Its name or id
        user: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RoleArg {
    /// Reads
    Viewer,
    /// Changes endpoints, join tokens and routes
    Operator,
    /// Changes networks, managers, snapshots and settings
    Admin,
    /// Changes users, and decides about the cluster as a whole
    Owner,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Viewer => Self::Viewer,
            RoleArg::Operator => Self::Operator,
            RoleArg::Admin => Self::Admin,
            RoleArg::Owner => Self::Owner,
        }
    }
}

/// What somebody may do.
#[derive(Debug, Args)]
pub(super) struct Grant {
    /// What it may do
    #[arg(long, value_enum)]
    pub(super) role: RoleArg,
    /// In this network alone, by name or id; again for others
    #[arg(long = "network", value_name = "NETWORK")]
    pub(super) networks: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct IdentityArgs {
    /// The identity provider it logs in with: its issuer
    #[arg(long, value_name = "URL", requires = "subject")]
    issuer: Option<String>,
    /// Who it is there: the subject
    #[arg(long, value_name = "SUB", requires = "issuer")]
    subject: Option<String>,
}

impl From<IdentityArgs> for Option<Identity> {
    fn from(args: IdentityArgs) -> Self {
        args.issuer.zip(args.subject).map(|(issuer, subject)| Identity { issuer, subject })
    }
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Changes {
    /// Its new name
    #[arg(long)]
    name: Option<String>,
    /// What it may do
    #[arg(long, value_enum)]
    role: Option<RoleArg>,
    /// In this network alone, by name or id; again for others
    #[arg(long = "network", value_name = "NETWORK", conflicts_with = "all_networks")]
    networks: Vec<String>,
    /// In all networks, and outside of them
    #[arg(long)]
    all_networks: bool,
    /// The identity provider it logs in with: its issuer
    #[arg(long, value_name = "URL", requires = "subject")]
    issuer: Option<String>,
    /// Who it is there: the subject
    #[arg(long, value_name = "SUB", requires = "issuer")]
    subject: Option<String>,
    /// It logs in with no identity provider
    #[arg(long, conflicts_with = "issuer")]
    no_identity: bool,
}

#[expect(clippy::cognitive_complexity, reason = "a few lines for each command, and nothing else")]
pub(super) async fn run(session: &Session, command: UsersCommand) -> anyhow::Result<()> {
    let client = &session.client;
    let change = async |user: String, update: UserUpdate, done: &str| {
        session.change_and_say(async || find::<User>(client, &user).await, |_| Ok(update.clone()), done).await
    };
    match command {
        UsersCommand::List { list } => session.list::<User>(&Query::of(User::PATH), &list).await,
        UsersCommand::Show { user } => session.show(&find::<User>(client, &user).await?).await,
        UsersCommand::Add { name, grant, no_password, identity } => {
            let (role, networks) = (grant.role.into(), scope(client, &grant.networks).await?);
            let password = if no_password { None } else { Some(SecretText::new(new_password()?)) };
            let request = UserCreate { name, role, networks, password, identity: identity.into() };
            session.done(&client.create::<User>(User::PATH, &request).await?, "added")
        }
        UsersCommand::Set { user, changes } => {
            let (found, update): (User, _) = (find(client, &user).await?, changes.update(client).await?);
            let taken = taken(&found, &update);
            let cost = format!("of user {}, {} will be gone at once", found.title(), taken.join(" and "));
            confirm(&cost, session.is_sure || taken.is_empty())?;
            change(user, update, "changed").await
        }
        UsersCommand::Enable { user } => change(user, enabled(true), "enabled").await,
        UsersCommand::Disable { user } => {
            let found: User = find(client, &user).await?;
            confirm(&format!("user {} is to be disabled; its sessions end", found.title()), session.is_sure)?;
            change(user, enabled(false), "disabled").await
        }
        UsersCommand::Password { user } => password(session, user.as_deref()).await,
        UsersCommand::Totp(command) => totp(session, command).await,
        UsersCommand::Sessions { user, list } => {
            let path = format!("{}/sessions", find::<User>(client, &user).await?.path());
            session.list_whole::<WebSession>(&path, &list).await
        }
        UsersCommand::EndSessions { user, session: one } => end_sessions(session, &user, one.as_deref()).await,
        UsersCommand::SetUpSecret => {
            let made: SetUpSecret = client.send(Method::POST, &api("/setup/secret"), &()).await?;
            session.output.show(&made, || format!("{}\n", made.secret))
        }
        UsersCommand::Remove { user } => {
            session.remove(&find::<User>(client, &user).await?, "its sessions and tokens go with it").await
        }
    }
}

/// What a user has and `update` takes away.
fn taken(user: &User, update: &UserUpdate) -> Vec<&'static str> {
    let fewer_networks = update.networks.as_ref().and_then(Option::as_ref).is_some_and(|after| {
        let before = user.networks.as_ref();
        before.is_none_or(|before| !before.is_subset(after))
    });
    [
        (update.role.is_some_and(|role| role < user.role), "a part of what it may do"),
        (fewer_networks, "networks it is for"),
        (update.identity.is_some() && user.identity.is_some(), "the identity it logs in with"),
        // Whatever the identity was.
        (update.identity.is_some(), "all its sessions"),
    ]
    .into_iter()
    .filter_map(|(is_taken, what)| is_taken.then_some(what))
    .collect()
}

fn enabled(is_enabled: bool) -> UserUpdate {
    UserUpdate { enabled: Some(is_enabled), ..UserUpdate::default() }
}

impl Changes {
    async fn update(self, client: &Client) -> anyhow::Result<UserUpdate> {
        let Self { name, role, networks, all_networks, issuer, subject, no_identity } = self;
        let identity: Option<Identity> = IdentityArgs { issuer, subject }.into();
        Ok(UserUpdate {
            name,
            role: role.map(Into::into),
            networks: if all_networks { Some(None) } else { scope(client, &networks).await?.map(Some) },
            identity: if no_identity { Some(None) } else { identity.map(Some) },
            ..UserUpdate::default()
        })
    }
}

/// The networks of these names; no limit if none is named.
pub(super) async fn scope(client: &Client, names: &[String]) -> anyhow::Result<Option<BTreeSet<NetworkId>>> {
    let mut ids = BTreeSet::new();
    for name in names {
        ids.insert(find::<festoon_api::Network>(client, name).await?.id);
    }
    Ok((!ids.is_empty()).then_some(ids))
}

async fn end_sessions(session: &Session, user: &str, one: Option<&str>) -> anyhow::Result<()> {
    let user: User = find(&session.client, user).await?;
    let path = format!("{}/sessions", user.path());
    let which = one.map_or_else(|| "all sessions".to_owned(), |one| format!("session {one}"));
    confirm(&format!("{which} of user {} will end at once", user.title()), session.is_sure)?;
    match one {
        Some(one) => {
            session.client.remove(&format!("{path}/{}", escaped(one))).await?;
            session.output.say(&format!("Session {one} of {} has ended.", user.title()))
        }
        None => {
            session.client.remove(&path).await?;
            session.output.say(&format!("All sessions of {} have ended.", user.title()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_nothing_away_is_not_asked_about() {
        let network = |number| NetworkId(festoon_proto::NetworkId(number));
        let identity = Identity { issuer: "https://id.example.com".to_owned(), subject: "1".to_owned() };
        let user: User = serde_json::from_value(serde_json::json!({
            "id": "u1", "name": "ann", "role": "operator", "networks": ["n1", "n2"], "password": true, "totp": false,
            "enabled": true, "created": "2026-11-21T15:04:05Z", "version": 1, "identity": identity,
        }))
        .unwrap();
        let limited = |numbers: &[u32]| Some(Some(numbers.iter().map(|number| network(*number)).collect()));
        let none = UserUpdate::default;
        for (update, expected) in [
            (none(), 0),
            (UserUpdate { name: Some("bob".to_owned()), enabled: Some(true), ..none() }, 0),
            (UserUpdate { role: Some(Role::Operator), networks: limited(&[1, 2, 3]), ..none() }, 0),
            (UserUpdate { role: Some(Role::Owner), networks: Some(None), ..none() }, 0),
            (UserUpdate { role: Some(Role::Viewer), ..none() }, 1),
            (UserUpdate { networks: limited(&[1]), ..none() }, 1),
            (UserUpdate { networks: limited(&[1, 3]), ..none() }, 1),
            (UserUpdate { identity: Some(None), ..none() }, 2),
        ] {
            assert_eq!(taken(&user, &update).len(), expected, "{update:?}");
        }
        let everywhere = User { networks: None, identity: None, ..user };
        let update = UserUpdate { networks: limited(&[1]), identity: Some(Some(identity)), ..none() };
        assert_eq!(taken(&everywhere, &update), ["networks it is for", "all its sessions"]);
    }
}
