//! `festoon-manager users`: people who may look at a cluster, or change it.

use std::collections::BTreeSet;

use anyhow::bail;
use axum::http::Method;
use clap::{Args, Subcommand, ValueEnum};
use festoon_api::{
    Identity, NetworkId, PasswordChange, RecoveryCodes, Role, SecretText, Session as WebSession, SetUpSecret,
    TotpConfirm, TotpEnrolment, User, UserCreate, UserProof, UserUpdate, Whoami,
};
use zeroize::Zeroizing;

use super::client::{Client, api};
use super::find::find;
use super::output::{Column, ask, ask_secret, confirm, is_interactive, print, qr, second, when};
use super::record::{ListArgs, Names, Record, Row, Session};
use crate::cli::client::Query;

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
    #[command(flatten)]
    identity: IdentityArgs,
    /// It logs in with no identity provider
    #[arg(long, conflicts_with = "issuer")]
    no_identity: bool,
}

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
        UsersCommand::Set { user, changes } => change(user, changes.update(client).await?, "changed").await,
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

fn enabled(is_enabled: bool) -> UserUpdate {
    UserUpdate { enabled: Some(is_enabled), ..UserUpdate::default() }
}

impl Changes {
    async fn update(self, client: &Client) -> anyhow::Result<UserUpdate> {
        let Self { name, role, networks, all_networks, identity, no_identity } = self;
        let identity: Option<Identity> = identity.into();
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

/// A new password, from a person or from the standard input.
fn new_password() -> anyhow::Result<Zeroizing<String>> {
    if !is_interactive() {
        return Ok(Zeroizing::new(ask("")?));
    }
    let password = ask_secret("New password (12 characters or more): ")?;
    match *ask_secret("The same again: ")? == *password {
        true => Ok(password),
        false => bail!("the two passwords are not the same: nothing was changed"),
    }
}

/// Whether `user` is whoever is logged in, who then has to show its password.
async fn is_self(client: &Client, user: &User) -> anyhow::Result<bool> {
    let me: Whoami = client.get(&api("/session")).await?;
    Ok(me.session.is_some() && me.user == Some(user.id))
}

/// The user that is named, or whoever is logged in.
async fn named_or_self(client: &Client, user: Option<&str>) -> anyhow::Result<User> {
    let Some(user) = user else {
        let me: Whoami = client.get(&api("/session")).await?;
        let Some(id) = me.user else { bail!("this is no user's login: name a user") };
        return Ok(client.get(&api(&format!("{}/{id}", User::PATH))).await?);
    };
    find(client, user).await
}

async fn proof(client: &Client, user: &User) -> anyhow::Result<Option<SecretText>> {
    match is_self(client, user).await? && user.password {
        true => Ok(Some(SecretText::new(ask_secret("Your password of now: ")?))),
        false => Ok(None),
    }
}

async fn password(session: &Session, user: Option<&str>) -> anyhow::Result<()> {
    let client = &session.client;
    let found = named_or_self(client, user).await?;
    let current = proof(client, &found).await?;
    let new = SecretText::new(new_password()?);
    let changed: User = match current {
        Some(current) => {
            let path = api(&format!("{}/password", found.path()));
            client.send(Method::PUT, &path, &PasswordChange { current, new }).await?
        }
        None => {
            let update = UserUpdate { password: Some(Some(new)), ..UserUpdate::default() };
            client.change(&found.path(), found.version, &update).await?
        }
    };
    session.output.show(&changed, || format!("{} has a new password; its sessions have ended.\n", changed.title()))
}

async fn totp(session: &Session, command: TotpCommand) -> anyhow::Result<()> {
    let client = &session.client;
    match command {
        TotpCommand::Enable { user } => {
            let user = named_or_self(client, user.as_deref()).await?;
            let path = api(&format!("{}/totp", user.path()));
            let enrolment: TotpEnrolment = client.send(Method::POST, &path, &()).await?;
            eprintln!("{}\n{}\n", qr(&enrolment.uri)?, enrolment.secret);
            let code = SecretText::new(Zeroizing::new(ask("The code that the app shows: ")?));
            let password = proof(client, &user).await?;
            let secret = SecretText::new(Zeroizing::new(enrolment.secret));
            let codes: RecoveryCodes = client.send(Method::PUT, &path, &TotpConfirm { secret, code, password }).await?;
            show_codes(session, &codes)
        }
        TotpCommand::Disable { user } => {
            let user = named_or_self(client, user.as_deref()).await?;
            let text = format!("user {} is to have no second factor; its sessions end", user.title());
            confirm(&text, session.is_sure)?;
            let path = api(&format!("{}/totp/remove", user.path()));
            let proof = UserProof { password: proof(client, &user).await? };
            let user: User = client.send(Method::POST, &path, &proof).await?;
            session.output.show(&user, || format!("{} has no second factor any more.\n", user.title()))
        }
        TotpCommand::RecoveryCodes { user } => {
            let user = named_or_self(client, user.as_deref()).await?;
            let path = api(&format!("{}/recovery-codes", user.path()));
            let proof = UserProof { password: proof(client, &user).await? };
            show_codes(session, &client.send(Method::POST, &path, &proof).await?)
        }
    }
}

fn show_codes(session: &Session, codes: &RecoveryCodes) -> anyhow::Result<()> {
    if session.output.is_for_people() {
        print("Recovery codes, shown this once. Each lets the user in once without the app:\n\n")?;
    }
    session.output.show(codes, || codes.codes.iter().map(|code| format!("    {code}\n")).collect())
}

async fn end_sessions(session: &Session, user: &str, one: Option<&str>) -> anyhow::Result<()> {
    let user: User = find(&session.client, user).await?;
    let path = format!("{}/sessions", user.path());
    match one {
        Some(one) => {
            session.client.remove(&format!("{path}/{}", super::client::escaped(one))).await?;
            session.output.say(&format!("Session {one} of {} has ended.", user.title()))
        }
        None => {
            session.client.remove(&path).await?;
            session.output.say(&format!("All sessions of {} have ended.", user.title()))
        }
    }
}

/// As people write it.
pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "-" }.to_owned()
}

impl Row for User {
    const COLUMNS: &'static [Column] = &[
        Column::always("USER"),
        Column::if_room(1, "ID"),
        Column::always("ROLE"),
        Column::always("NETWORKS"),
        Column::always("ENABLED"),
        Column::if_room(3, "PASSWORD"),
        Column::if_room(2, "TOTP"),
        Column::if_room(4, "CREATED"),
        Column::wide("IDENTITY"),
    ];
    const EMPTY: &'static str = "There are no users you may see: `festoon-manager users add` makes one.";

    fn row(&self, names: &Names) -> Vec<String> {
        let identity = self.identity.as_ref().map(|identity| format!("{} at {}", identity.subject, identity.issuer));
        vec![
            self.name.clone(),
            self.id.to_string(),
            role(self.role).to_owned(),
            names.scope(self.networks.as_ref()),
            if self.enabled { "yes" } else { "no" }.to_owned(),
            yes(self.password),
            yes(self.totp),
            when(self.created, names.now),
            identity.unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

impl Record for User {
    const KIND: &'static str = "user";
    const LIST: &'static str = "users list";
    const PATH: &'static str = "/users";

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
        let codes = self.recovery_codes.map(|left| format!(", {left} recovery codes left")).unwrap_or_default();
        vec![
            ("role", role(self.role).to_owned()),
            ("networks", names.scope(self.networks.as_ref())),
            ("enabled", if self.enabled { "yes" } else { "no" }.to_owned()),
            ("password", yes(self.password)),
            ("totp", if self.totp { format!("yes{codes}") } else { String::new() }),
            (
                "identity",
                self.identity.as_ref().map(|it| format!("{} at {}", it.subject, it.issuer)).unwrap_or_default(),
            ),
            ("created", format!("{} ({})", self.created, when(self.created, names.now))),
            ("version", self.version.to_string()),
        ]
    }
}

impl Row for WebSession {
    const COLUMNS: &'static [Column] = &[
        Column::always("SESSION"),
        Column::always("SINCE"),
        Column::always("ENDS"),
        Column::always("FROM"),
        Column::if_room(1, "WITH"),
        Column::if_room(2, "THIS ONE"),
    ];
    const EMPTY: &'static str = "It is logged in nowhere.";

    fn row(&self, names: &Names) -> Vec<String> {
        vec![
            self.id.to_string(),
            second(self.created),
            when(self.expires, names.now),
            self.from.to_string(),
            self.agent.clone(),
            yes(self.current),
        ]
    }
}
