//! `festoon-manager oidc`: the identity provider that users may log in at.

use clap::{Args, Subcommand};
use festoon_api::{Oidc, OidcUpdate, SecretText, Settings, SettingsUpdate};

use super::client::api;
use super::output::{confirm, details, list_of, secret_or_line};
use super::record::Session;

const PATH: &str = "/settings";
/// What has to be told to the provider, and what to do next.
const NEXT: &str =
    "It has to know https://NAME:PORT/api/v1/session/oidc/callback for each name that people call managers by.
Who it is to let in: `festoon-manager users add` or `users set`, with --issuer and --subject.
";

#[derive(Debug, Subcommand)]
pub(super) enum OidcCommand {
    /// Show the identity provider
    Show,
    /// Have users log in at this identity provider, in the place of one before
    Set {
        #[command(flatten)]
        provider: Provider,
    },
    /// Have users log in at no identity provider any more
    #[command(visible_alias = "rm")]
    Remove,
}

#[derive(Debug, Args)]
pub(super) struct Provider {
    /// Where it is, and what it calls itself, as in https://id.example.com
    issuer: String,
    /// What the cluster is called there
    client_id: String,
    /// Ask for the client's secret at the terminal, or read it from the standard input. Without this the one of before stays if
    /// issuer and client do; otherwise the cluster shows none
    #[arg(long)]
    client_secret: bool,
    /// What it is asked for besides openid; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
}

pub(super) async fn run(session: &Session, command: OidcCommand) -> anyhow::Result<()> {
    let settings: Settings = session.client.get(&api(PATH)).await?;
    match command {
        OidcCommand::Show => show(session, settings.oidc.as_ref()),
        OidcCommand::Set { provider } => {
            let kept = settings.oidc.as_ref().is_none_or(|before| before.issuer == provider.issuer);
            see_that_it_is_meant(session, &settings, kept)?;
            let changed = change(session, &settings, Some(provider.update()?)).await?;
            show(session, changed.oidc.as_ref())
        }
        OidcCommand::Remove => {
            see_that_it_is_meant(session, &settings, settings.oidc.is_none())?;
            change(session, &settings, None).await?;
            session.output.say("Users log in at no identity provider any more.")
        }
    }
}

/// Sees that it is meant, if users can't log in any more as before.
fn see_that_it_is_meant(session: &Session, settings: &Settings, is_harmless: bool) -> anyhow::Result<()> {
    let issuer = settings.oidc.as_ref().map_or("-", |oidc| &oidc.issuer);
    confirm(&format!("users will not get in at {issuer} any more"), session.is_sure || is_harmless)
}

impl Provider {
    fn update(self) -> anyhow::Result<OidcUpdate> {
        let Self { issuer, client_id, client_secret, scopes } = self;
        let secret = client_secret.then(|| secret_or_line("Secret of the client: ")).transpose()?;
        Ok(OidcUpdate { issuer, client_id, client_secret: secret.map(SecretText::new), scopes })
    }
}

async fn change(session: &Session, before: &Settings, oidc: Option<OidcUpdate>) -> anyhow::Result<Settings> {
    let update = SettingsUpdate { oidc: Some(oidc), ..SettingsUpdate::default() };
    Ok(session.client.change(PATH, before.version, &update).await?)
}

fn show(session: &Session, oidc: Option<&Oidc>) -> anyhow::Result<()> {
    session.output.show(&oidc, || oidc.map_or_else(|| "Users log in at no identity provider.\n".to_owned(), text))
}

fn text(oidc: &Oidc) -> String {
    let lines = [
        ("client", oidc.client_id.clone()),
        ("secret", if oidc.client_secret { "is set" } else { "none" }.to_owned()),
        ("scopes", list_of(&oidc.scopes)),
    ];
    format!("{}\n{NEXT}", details(&oidc.issuer, &lines))
}
