//! What a user logs in with: for the user itself, which shows its password once more, or for an owner, who need not.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use festoon_api::{PasswordChange, RecoveryCodes, SecretText, TotpConfirm, TotpEnrolment, User, UserId, UserProof};
use festoon_control::registry::{Command, NewTotp, State, Subject, Unchanged, UpdateUser, User as Record};
use zeroize::Zeroizing;

use super::change::Wanted;
use super::headers::ETag;
use super::query::ApiPath;
use super::session::From as Whence;
use super::{Api, Caller, config, users};
use crate::accounts::totp::TotpSecret;
use crate::accounts::{ConfirmError, ProveError};
use crate::https::{ApiJson, Refused};

/// Changes one's own password. All one's sessions end.
#[utoipa::path(put, path = "/users/{user}/password", tag = "users", request_body = PasswordChange,
    params(("user" = UserId, Path)), responses((status = 200, body = User, headers(("ETag" = String)))))]
pub(super) async fn change_password(
    Shared(api): Shared<Api>,
    caller: Caller,
    Whence(from): Whence,
    ApiPath(UserId(id)): ApiPath<UserId>,
    ApiJson(PasswordChange { current, new }): ApiJson<PasswordChange>,
) -> Result<impl IntoResponse, Refused> {
    let state = api.cluster.snapshot();
    let user = caller.account(&state, id)?;
    prove(&api, user, Some(current), from).await?;
    let password = api.accounts.new_password(new.into_secret(), &user.name).await?;
    let command = UpdateUser { password: Some(Some(password)), ..UpdateUser::of(id) };
    change(&api, &caller, user, command).await
}

/// Makes the secret of a second factor. Nothing is stored of it: it counts once it is sent back with a code.
#[utoipa::path(post, path = "/users/{user}/totp", tag = "users", params(("user" = UserId, Path)),
    responses((status = 200, body = TotpEnrolment)))]
pub(super) async fn begin_totp(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(UserId(id)): ApiPath<UserId>,
) -> Result<Json<TotpEnrolment>, Refused> {
    let state = api.cluster.snapshot();
    let user = caller.account(&state, id)?;
    let secret = TotpSecret::generate();
    let uri = secret.to_secret_uri(&user.name).to_string();
    Ok(Json(TotpEnrolment { secret: secret.to_secret_text().to_string(), qr_svg: config::svg(&uri)?, uri }))
}

/// Has a second factor count, in the place of one before. All sessions of the user end. The recovery codes are in the answer,
/// this once.
#[utoipa::path(put, path = "/users/{user}/totp", tag = "users", request_body = TotpConfirm,
    params(("user" = UserId, Path)), responses((status = 200, body = RecoveryCodes)))]
pub(super) async fn confirm_totp(
    Shared(api): Shared<Api>,
    caller: Caller,
    Whence(from): Whence,
    ApiPath(UserId(id)): ApiPath<UserId>,
    ApiJson(TotpConfirm { secret, code, password }): ApiJson<TotpConfirm>,
) -> Result<Json<RecoveryCodes>, Refused> {
    let state = api.cluster.snapshot();
    let user = account(&api, &caller, &state, (id, password, from)).await?;
    let (totp, codes) =
        api.accounts.confirm_totp(&state, user, (secret.as_secret(), code.as_secret()), api.cluster.now())?;
    set_totp(&api, &caller, user, (totp, codes)).await
}

/// Takes the second factor away. All sessions of the user end.
#[utoipa::path(post, path = "/users/{user}/totp/remove", tag = "users", request_body = UserProof,
    params(("user" = UserId, Path)), responses((status = 200, body = User, headers(("ETag" = String)))))]
pub(super) async fn remove_totp(
    Shared(api): Shared<Api>,
    caller: Caller,
    Whence(from): Whence,
    ApiPath(UserId(id)): ApiPath<UserId>,
    ApiJson(UserProof { password }): ApiJson<UserProof>,
) -> Result<impl IntoResponse, Refused> {
    let state = api.cluster.snapshot();
    let user = account(&api, &caller, &state, (id, password, from)).await?;
    if user.totp.is_none() {
        return Err(ConfirmError::None.into());
    }
    change(&api, &caller, user, UpdateUser { totp: Some(None), ..UpdateUser::of(id) }).await
}

/// Makes new recovery codes, in the place of all before. All sessions of the user end. The codes are in the answer, this once.
#[utoipa::path(post, path = "/users/{user}/recovery-codes", tag = "users", request_body = UserProof,
    params(("user" = UserId, Path)), responses((status = 200, body = RecoveryCodes)))]
pub(super) async fn new_recovery_codes(
    Shared(api): Shared<Api>,
    caller: Caller,
    Whence(from): Whence,
    ApiPath(UserId(id)): ApiPath<UserId>,
    ApiJson(UserProof { password }): ApiJson<UserProof>,
) -> Result<Json<RecoveryCodes>, Refused> {
    let state = api.cluster.snapshot();
    let user = account(&api, &caller, &state, (id, password, from)).await?;
    let made = api.accounts.new_recovery_codes(&state, user)?;
    set_totp(&api, &caller, user, made).await
}

/// The user whose credentials are to change. It has shown its password if it is the caller itself. Who has a second factor, and who
/// changes what somebody logs in with that lets managers in, has proved lately who it is: the password alone takes no factor away.
async fn account<'a>(
    api: &Api,
    caller: &Caller,
    state: &'a State,
    (id, password, from): (festoon_proto::UserId, Option<SecretText>, IpAddr),
) -> Result<&'a Record, Refused> {
    let user = caller.account(state, id)?;
    // A token of its own is no proof of who holds it.
    if caller.user() == Some(id) && user.password.is_some() {
        prove(api, user, password, from).await?;
        if user.totp.is_some() {
            api.check_confirmed(caller)?;
        }
    } else if users::lets_managers_in(&user.grant) {
        api.check_confirmed(caller)?;
    }
    Ok(user)
}

async fn prove(api: &Api, user: &Record, password: Option<SecretText>, from: IpAddr) -> Result<(), Refused> {
    let password = password.ok_or(ProveError::Wrong)?.into_secret();
    Ok(api.accounts.check_password(user, password, from, api.cluster.now()).await?)
}

async fn set_totp(
    api: &Api,
    caller: &Caller,
    user: &Record,
    (totp, codes): (NewTotp, Vec<Zeroizing<String>>),
) -> Result<Json<RecoveryCodes>, Refused> {
    let command = UpdateUser { totp: Some(Some(totp)), ..UpdateUser::of(user.id) };
    propose(api, caller, user, command).await?;
    Ok(Json(RecoveryCodes { codes: codes.iter().map(|code| code.to_string()).collect() }))
}

async fn change(api: &Api, caller: &Caller, user: &Record, command: UpdateUser) -> Result<(ETag, Json<User>), Refused> {
    let id = user.id;
    propose(api, caller, user, command).await?;
    users::one(api, caller, id)
}

/// Refused if the user was changed since: what was shown was shown of that.
async fn propose(api: &Api, caller: &Caller, user: &Record, command: UpdateUser) -> Result<(), Refused> {
    let only_if = Some(Unchanged { subject: Subject::User(user.id), since: user.changed });
    api.change(Wanted::new(caller, Command::UpdateUser(command)).only_if(only_if)).await.map(drop)
}

impl From<ProveError> for Refused {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::TooMany(error) => error.into(),
            ProveError::Compute(error) => error.into(),
            ProveError::Wrong => Self::new(StatusCode::FORBIDDEN, "wrong-password", &error.to_string()),
        }
    }
}

impl From<ConfirmError> for Refused {
    fn from(error: ConfirmError) -> Self {
        match error {
            ConfirmError::Vault(error) => error.into(),
            ConfirmError::Secret(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-totp-secret", &error.to_string())
            }
            ConfirmError::Code => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-code", &error.to_string()),
            ConfirmError::None => Self::new(StatusCode::CONFLICT, "no-totp", &error.to_string()),
        }
    }
}
