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
            let lost = settings.oidc.as_ref().map(|before| provider.lost(before)).unwrap_or_default();
            see_that_it_is_meant(session, &settings, &lost)?;
            let changed = change(session, &settings, Some(provider.update()?)).await?;
            show(session, changed.oidc.as_ref())
        }
        OidcCommand::Remove => {
            let all = settings.oidc.as_ref().map(|before| vec![format!("client {}", before.client_id)]);
            see_that_it_is_meant(session, &settings, &all.unwrap_or_default())?;
            change(session, &settings, None).await?;
            session.output.say("Users log in at no identity provider any more.")
        }
    }
}

/// Sees that it is meant, if something is `lost` of what users get in by.
fn see_that_it_is_meant(session: &Session, settings: &Settings, lost: &[String]) -> anyhow::Result<()> {
    let issuer = settings.oidc.as_ref().map_or("-", |oidc| &oidc.issuer);
    let cost = format!("this removes {}; users who log in at {issuer} may be locked out", lost.join(", "));
    confirm(&cost, session.is_sure || lost.is_empty())
}

impl Provider {
    /// What is not as `before` any more.
    fn lost(&self, before: &Oidc) -> Vec<String> {
        let (is_other_issuer, is_other_client) = (self.issuer != before.issuer, self.client_id != before.client_id);
        let is_other_secret = is_other_issuer || is_other_client || self.client_secret;
        let is_gone = |scope: &&String| !self.scopes.contains(scope);
        let scopes = before.scopes.iter().filter(is_gone).map(|scope| format!("scope {scope}"));
        [
            (is_other_issuer, "the provider".to_owned()),
            (is_other_client, format!("client {}", before.client_id)),
            (is_other_secret && before.client_secret, "the present client secret".to_owned()),
        ]
        .into_iter()
        .filter_map(|(is_lost, what)| is_lost.then_some(what))
        .chain(scopes)
        .collect()
    }

    fn update(self) -> anyhow::Result<OidcUpdate> {
        let Self { issuer, client_id, client_secret, scopes } = self;
        let secret =
            client_secret.then(|| secret_or_line("Secret of the client: ", "FESTOON_CLIENT_SECRET")).transpose()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_or_changes_of_the_provider_of_before_is_asked_about() {
        let provider = |issuer: &str, client_id: &str, client_secret, scopes: &[&str]| Provider {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            client_secret,
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        let before = |client_secret| Oidc {
            issuer: "i".to_owned(),
            client_id: "c".to_owned(),
            client_secret,
            scopes: vec!["email".to_owned()],
        };
        let (open, secret) = (before(false), before(true));
        for (now, before, expected) in [
            (provider("i", "c", false, &["email"]), &secret, &[][..]),
            (provider("i", "c", false, &["groups", "email"]), &secret, &[]),
            (provider("i", "c", true, &["email"]), &open, &[]),
            (provider("i", "c", true, &["email"]), &secret, &["the present client secret"]),
            (provider("i", "c", false, &[]), &secret, &["scope email"]),
            (provider("i", "d", false, &["email"]), &open, &["client c"]),
            (provider("i", "d", true, &["email"]), &secret, &["client c", "the present client secret"]),
            (provider("j", "c", false, &[]), &secret, &["the provider", "the present client secret", "scope email"]),
        ] {
            assert_eq!(now.lost(before), expected, "{now:?}");
        }
    }
}
