//! What a user logs in with: its password, its second factor.

use anyhow::bail;
use axum::http::Method;
use festoon_api::{
    PasswordChange, RecoveryCodes, SecretText, TotpConfirm, TotpEnrolment, User, UserProof, UserUpdate, Whoami,
};
use zeroize::Zeroizing;

use super::TotpCommand;
use crate::cli::client::{Client, api};
use crate::cli::find::find;
use crate::cli::output::{ask, ask_secret, confirm, is_interactive, print, qr, secret_or_line, warn};
use crate::cli::record::{Record as _, Session};

/// May have the new password.
const NEW_PASSWORD: &str = "FESTOON_NEW_PASSWORD";

/// A new password, from the environment, a person or the standard input.
pub(super) fn new_password() -> anyhow::Result<Zeroizing<String>> {
    let password = secret_or_line("New password (12 characters or more): ", NEW_PASSWORD)?;
    let is_typed = is_interactive() && festoon_secrets::variable(NEW_PASSWORD).is_none();
    match !is_typed || *ask_secret("The same again: ")? == *password {
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

pub(super) async fn password(session: &Session, user: Option<&str>) -> anyhow::Result<()> {
    let client = &session.client;
    let found = named_or_self(client, user).await?;
    // Oneself is asked for the password of now.
    let cost =
        format!("user {} is to have another password; that of now is good no more, its sessions end", found.title());
    confirm(&cost, session.is_sure || is_self(client, &found).await?)?;
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

pub(super) async fn totp(session: &Session, command: TotpCommand) -> anyhow::Result<()> {
    let client = &session.client;
    match command {
        TotpCommand::Enable { user } => {
            let user = named_or_self(client, user.as_deref()).await?;
            let path = api(&format!("{}/totp", user.path()));
            let enrolment: TotpEnrolment = client.send(Method::POST, &path, &()).await?;
            warn(&format!("{}\n{}\n", qr(&enrolment.uri)?, enrolment.secret));
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
            let cost = format!("user {} is to have other recovery codes; those of now are good no more", user.title());
            confirm(&cost, session.is_sure || user.recovery_codes.is_none_or(|left| left == 0))?;
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
