//! `festoon-manager login`, `logout` and `whoami`: who this person is to a cluster, from any machine.

use std::io;

use anyhow::bail;
use axum::http::{Method, header};
use clap::Args;
use festoon_api::{CallerKind, LogIn, SecretText, SetUp, User, Whoami};
use festoon_proto::Fingerprint;
use zeroize::Zeroizing;

use super::client::{
    Ask, Client, ClientError, Connection, Credential, Profile, Profiles, Server, WebSession, api, fingerprint_of,
};
use super::fault::Fault;
use super::output::{Output, ask, ask_secret, details, is_interactive, or_dash, print, when};
use super::record::{Names, Session, now};

/// May have the password.
const PASSWORD: &str = "FESTOON_PASSWORD";
/// The name of a profile if nobody says.
const PROFILE: &str = "default";

#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// A manager, as in https://203.0.113.10:8443; more of the same cluster, to try when one does not answer
    #[arg(required = true, value_name = "URL")]
    servers: Vec<Server>,
    /// As whom
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the password from the first line of the standard input, and a code of the second factor from the second. They may be in
    /// the environment too: FESTOON_PASSWORD and FESTOON_CODE
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// Make the first owner before, with the set-up secret that `init` printed; of the standard input that is the first line
    #[arg(long)]
    set_up: bool,
}

/// Logs in, and keeps that as a profile.
pub(super) async fn login(connection: &Connection, args: LoginArgs, output: Output) -> anyhow::Result<()> {
    let path = Profiles::path()?;
    let mut profiles = Profiles::load(&path)?;
    let ca = authority(connection.ca_fingerprint, &args.servers).await?;
    let mut profile = Profile { servers: args.servers.clone(), ca: vec![ca], ..Profile::default() };
    let credential = match connection.token()? {
        Some(token) => {
            // A file that was named stays where it is.
            profile.token_file = connection.token_file().map(std::path::absolute).transpose()?;
            profile.token = profile.token_file.is_none().then(|| token.clone());
            Credential::Token(token)
        }
        None => {
            let session = with_password(&Client::remote(&args.servers, &profile.ca, None), &args).await?;
            profile.session = Some(session.clone());
            Credential::Session(session)
        }
    };
    let client = Client::remote(&args.servers, &profile.ca, Some(credential));
    let whoami: Whoami = client.get(&api("/session")).await?;
    let name = connection.profile.clone().unwrap_or_else(|| PROFILE.to_owned());
    profiles.profiles.insert(name.clone(), profile);
    profiles.current = Some(name.clone());
    profiles.save(&path)?;
    let who = whoami.name.as_deref().unwrap_or("root");
    output.say(&format!("Logged in as {who}, in profile {name} of {}.", path.display()))
}

/// The CA to believe: the one that was named, or the one that a person at the terminal says is right.
async fn authority(named: Option<Fingerprint>, servers: &[Server]) -> anyhow::Result<Fingerprint> {
    if let Some(named) = named {
        return Ok(named);
    }
    let (Some(first), true) = (servers.first(), is_interactive()) else {
        let text = "without a terminal to ask at, the CA must be named: --ca-fingerprint, as `festoon-manager ca show` has it on a manager";
        return Err(Fault::Usage(text.to_owned()).into());
    };
    let shown = fingerprint_of(first).await?;
    let question = format!(
        "{first} shows a certificate of a CA that is not known here. Its fingerprint is

    {shown}

Compare it with what `festoon-manager ca show` has on a manager: somebody may be in between.
Is it the same? [y/N] "
    );
    match ask(&question)?.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(shown),
        _ => Err(Fault::Declined.into()),
    }
}

/// Makes a session.
async fn with_password(client: &Client, args: &LoginArgs) -> anyhow::Result<WebSession> {
    let answers = Answers::new(args.password_stdin)?;
    if args.set_up {
        let secret = answers.secret("Set-up secret: ", "FESTOON_SET_UP_SECRET")?;
        let name = name(args, "Name of the first owner: ")?;
        let password = answers.secret("Password (12 characters or more): ", PASSWORD)?;
        if !args.password_stdin
            && festoon_secrets::variable(PASSWORD).is_none()
            && *ask_secret("The same again: ")? != *password
        {
            bail!("the two passwords are not the same: nothing was changed");
        }
        let set_up =
            SetUp { secret: SecretText::new(secret), name: name.clone(), password: SecretText::new(password.clone()) };
        client.send::<User>(Method::POST, &api("/setup"), &set_up).await?;
        return session(client, name, password, answers).await;
    }
    let name = name(args, "Name: ")?;
    let password = answers.secret("Password: ", PASSWORD)?;
    session(client, name, password, answers).await
}

fn name(args: &LoginArgs, question: &str) -> anyhow::Result<String> {
    args.user.clone().map_or_else(|| ask(question), Ok)
}

async fn session(
    client: &Client,
    name: String,
    password: Zeroizing<String>,
    answers: Answers,
) -> anyhow::Result<WebSession> {
    let mut log_in = LogIn { name, password: SecretText::new(password), code: None };
    let response = match client.open(&post("/session", &log_in)?).await {
        Err(ClientError::Refused(problem)) if problem.kind == "code-needed" => {
            log_in.code = Some(SecretText::new(
                answers.secret("Code of the second factor, or a recovery code: ", "FESTOON_CODE")?,
            ));
            client.open(&post("/session", &log_in)?).await?
        }
        answer => answer?,
    };
    let cookie = response.headers().get(header::SET_COOKIE).and_then(|cookie| cookie.to_str().ok()?.split(';').next());
    let cookie = cookie.ok_or(ClientError::Nonsense)?.to_owned();
    let whoami: Whoami =
        serde_json::from_slice(&super::client::whole(response).await?).map_err(|_| ClientError::Nonsense)?;
    Ok(WebSession { cookie, csrf: whoami.csrf_token.ok_or(ClientError::Nonsense)? })
}

fn post(path: &str, value: &LogIn) -> Result<Ask, ClientError> {
    Ask::new(Method::POST, &api(path)).json(value)
}

/// Where secrets come from.
#[derive(Debug, Clone, Copy)]
enum Answers {
    /// Lines of the standard input.
    Input,
    /// Whoever is at the terminal.
    Person,
}

impl Answers {
    fn new(is_input: bool) -> anyhow::Result<Self> {
        match is_input {
            true => Ok(Self::Input),
            false if is_interactive() || festoon_secrets::variable(PASSWORD).is_some() => Ok(Self::Person),
            false => {
                let text = "there is no terminal to ask for a password at: use --password-stdin, FESTOON_PASSWORD, or a token in FESTOON_TOKEN";
                Err(Fault::NotLoggedIn(text.to_owned()).into())
            }
        }
    }

    /// The answer to `question`; that of the environment's `variable`, if it has one.
    fn secret(self, question: &str, variable: &str) -> anyhow::Result<Zeroizing<String>> {
        if let Some(secret) = festoon_secrets::variable(variable) {
            return Ok(secret);
        }
        match self {
            Self::Input => Ok(Zeroizing::new(io::stdin().lines().next().transpose()?.unwrap_or_default())),
            Self::Person => ask_secret(question),
        }
    }
}

/// Ends the session of a profile, and forgets what it keeps to log in with.
pub(super) async fn logout(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let path = Profiles::path()?;
    let mut profiles = Profiles::load(&path)?;
    let none = || Fault::NotLoggedIn("nobody is logged in here: `festoon-manager login` does it".to_owned());
    let name = connection.profile.clone().or_else(|| profiles.current.clone()).ok_or_else(none)?;
    let profile = profiles.named(&name)?.clone();
    let has_token = profile.token.is_some() || profile.token_file.is_some();
    if let Some(session) = profile.session {
        let client = Client::remote(&profile.servers, &profile.ca, Some(Credential::Session(session)));
        match client.remove("/session").await {
            // It had ended already.
            Err(ClientError::Refused(problem)) if problem.status == 401 => {}
            ended => ended?,
        }
    }
    profiles.profiles.remove(&name);
    if profiles.current.as_ref() == Some(&name) {
        profiles.current = None;
    }
    profiles.save(&path)?;
    let rest = if has_token { " Its API token is still good: `api-tokens remove` ends that." } else { "" };
    output.say(&format!("Logged out of {name}.{rest}"))
}

/// Who one is.
pub(super) async fn whoami(session: &Session) -> anyhow::Result<()> {
    let whoami: Whoami = session.client.get(&api("/session")).await?;
    // A page needs it, a person does not, and it is half of a secret.
    let whoami = Whoami { csrf_token: None, ..whoami };
    let names = if session.output.is_for_people() { Names::load(&session.client).await } else { Names::default() };
    session.output.show(&whoami, || {
        let by = match whoami.kind {
            CallerKind::User => format!("session {}", or_dash(whoami.session)),
            CallerKind::ApiToken => format!("API token {}", or_dash(whoami.api_token)),
            CallerKind::Local => "the admin socket of this machine".to_owned(),
        };
        let lines = [
            ("by", by),
            ("role", super::users::role(whoami.role).to_owned()),
            ("networks", names.scope(whoami.networks.as_ref())),
            ("until", or_dash(whoami.expires.map(|at| format!("{at} ({})", when(at, now()))))),
            ("confirmed", or_dash(whoami.confirmed_until.map(|at| format!("until {at} ({})", when(at, now()))))),
        ];
        details(whoami.name.as_deref().unwrap_or("root"), &lines)
    })
}

/// Lists what this machine is logged in to.
pub(super) fn profiles(output: Output) -> anyhow::Result<()> {
    let path = Profiles::path()?;
    let profiles = Profiles::load(&path)?;
    if profiles.profiles.is_empty() {
        return print("This machine is logged in nowhere: `festoon-manager login` does it.\n");
    }
    use super::output::{Column, Table, list_of};
    let columns =
        [Column::always("PROFILE"), Column::always("CURRENT"), Column::always("SERVERS"), Column::if_room(1, "BY")];
    let row = |(name, profile): (&String, &Profile)| {
        let by = match (&profile.token_file, &profile.token, &profile.session) {
            (Some(path), ..) => path.display().to_string(),
            (_, Some(_), _) => "API token".to_owned(),
            (.., Some(_)) => "session".to_owned(),
            _ => "-".to_owned(),
        };
        let current = if profiles.current.as_ref() == Some(name) { "yes" } else { "-" };
        vec![name.clone(), current.to_owned(), list_of(&profile.servers), by]
    };
    let names: Vec<&String> = profiles.profiles.keys().collect();
    output.table(&names, || Table::new(&columns, "").rows(profiles.profiles.iter().map(row)))
}
