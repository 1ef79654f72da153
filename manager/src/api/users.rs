//! Users.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use festoon_api::{Grant, Identity, Page, User, UserCreate, UserId, UserUpdate};
use festoon_control::registry::{AddUser, Command, OidcIdentity, Outcome, State, Subject, UpdateUser, User as Record};
use festoon_proto::access::{Grant as Granted, Role};

use super::caller::{behind, unknown};
use super::change::Wanted;
use super::headers::{ETag, IfMatch, Key};
use super::list::Paging;
use super::query::{ApiPath, ApiQuery};
use super::{Api, Caller, view};
use crate::accounts::NewPasswordError;
use crate::https::{ApiJson, Refused};

impl Caller {
    /// Whether it may change all accounts.
    pub(super) fn is_owner(&self) -> bool {
        self.may(Role::Owner, None)
    }

    /// Whether it is this user itself. A token is not: it may no more than its grant says.
    pub(super) fn is_self(&self, id: festoon_proto::UserId) -> bool {
        self.session().is_some() && self.user() == Some(id)
    }

    /// A user that it may know of: itself, or anybody for an owner.
    pub(super) fn account<'a>(&self, state: &'a State, id: festoon_proto::UserId) -> Result<&'a Record, Refused> {
        let user = state.user(id).filter(|user| self.is_owner() || self.is_self(user.id));
        user.ok_or_else(|| unknown("user", &id.to_string()))
    }
}

/// Users, by id. Who is no owner sees itself.
#[utoipa::path(get, path = "/users", tag = "users", params(Paging), responses((status = 200, body = Page<User>)))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<Page<User>>, Refused> {
    let state = api.cluster.snapshot();
    let after = paging.after()?.map(|UserId(after)| after);
    let seen = state.users().filter(|user| caller.is_owner() || caller.is_self(user.id));
    let rest = seen.filter(|user| after.is_none_or(|after| user.id > after));
    Ok(Json(paging.page(rest.map(view::user), |user| user.id)?))
}

/// Adds a user.
#[utoipa::path(post, path = "/users", tag = "users", request_body = UserCreate,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = User, headers(("ETag" = String)))))]
pub(super) async fn create(
    Shared(api): Shared<Api>,
    caller: Caller,
    key: Key,
    ApiJson(request): ApiJson<UserCreate>,
) -> Result<impl IntoResponse, Refused> {
    let UserCreate { name, role, networks, password, identity } = request;
    let grant = Granted { role: role.into(), networks: Grant::scope(networks.clone()) };
    if lets_managers_in(&grant) {
        api.check_confirmed(&caller)?;
    }
    // The password is no part of it: a hash of the request stays in the registry, and a password could be guessed from it.
    let told =
        UserCreate { name: name.clone(), role, networks: networks.clone(), password: None, identity: identity.clone() };
    let key = key.of(&caller, &api.cluster.snapshot(), &told);
    let password = match password {
        Some(password) => Some(api.accounts.new_password(password.into_secret(), &name).await?),
        None => None,
    };
    let command = AddUser { name, grant, password, identity: identity.map(oidc), now: api.cluster.now() };
    let Outcome::User(id) = api.change(Wanted::new(&caller, Command::AddUser(command)).key(key)).await? else {
        return Err(Refused::internal());
    };
    let (tag, user) = one(&api, &caller, id).map_err(|_| behind("user", id))?;
    Ok((StatusCode::CREATED, tag, user))
}

/// A user.
#[utoipa::path(get, path = "/users/{user}", tag = "users", params(("user" = UserId, Path)),
    responses((status = 200, body = User, headers(("ETag" = String)))))]
pub(super) async fn show(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(UserId(id)): ApiPath<UserId>,
) -> Result<impl IntoResponse, Refused> {
    one(&api, &caller, id)
}

/// Changes a user: its name, role, networks, password, identity, or whether it may log in.
#[utoipa::path(patch, path = "/users/{user}", tag = "users", request_body = UserUpdate,
    params(("user" = UserId, Path), ("If-Match" = String, Header)),
    responses((status = 200, body = User, headers(("ETag" = String)))))]
pub(super) async fn update(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(UserId(id)): ApiPath<UserId>,
    if_match: IfMatch,
    ApiJson(request): ApiJson<UserUpdate>,
) -> Result<impl IntoResponse, Refused> {
    let only_if = if_match.required(Subject::User(id))?;
    if caller.user() == Some(id) && (request.password.is_some() || request.identity.is_some()) {
        return Err(own_credentials());
    }
    let state = api.cluster.snapshot();
    let user = caller.account(&state, id)?;
    if concerns_the_cluster(user, &request) {
        api.check_confirmed(&caller)?;
    }
    let called = request.name.clone().unwrap_or_else(|| user.name.to_string());
    let password = match request.password {
        Some(Some(password)) => Some(Some(api.accounts.new_password(password.into_secret(), &called).await?)),
        Some(None) => Some(None),
        None => None,
    };
    let command = UpdateUser {
        name: request.name,
        role: request.role.map(Into::into),
        networks: request.networks.map(Grant::scope),
        password,
        identity: request.identity.map(|identity| identity.map(oidc)),
        is_enabled: request.enabled,
        ..UpdateUser::of(id)
    };
    api.change(Wanted::new(&caller, Command::UpdateUser(command)).only_if(only_if)).await?;
    one(&api, &caller, id)
}

/// Whether whoever has this may let managers in, and so have all that the cluster knows: owners, and admins of all networks.
pub(super) fn lets_managers_in(grant: &Granted) -> bool {
    grant.allows(Role::Admin, None)
}

/// Whether a change makes somebody who lets managers in, lets one back in, changes what one logs in with, or makes an owner less.
/// An owner that was made less could be made anything without being asked again.
fn concerns_the_cluster(user: &Record, update: &UserUpdate) -> bool {
    let role = update.role.map_or(user.grant.role, Into::into);
    let networks = update.networks.clone().map_or_else(|| user.grant.networks.clone(), Grant::scope);
    let has_other_credentials = update.password.is_some() || update.identity.is_some();
    let comes_back = update.enabled == Some(true) && !user.is_enabled;
    match lets_managers_in(&user.grant) {
        true => has_other_credentials || comes_back || role < user.grant.role,
        false => lets_managers_in(&Granted { role, networks }),
    }
}

/// Removes a user, with its sessions and tokens.
#[utoipa::path(delete, path = "/users/{user}", tag = "users",
    params(("user" = UserId, Path), ("If-Match" = Option<String>, Header)), responses((status = 204)))]
pub(super) async fn remove(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(UserId(id)): ApiPath<UserId>,
    if_match: IfMatch,
) -> Result<StatusCode, Refused> {
    caller.account(&api.cluster.snapshot(), id)?;
    let only_if = if_match.optional(Subject::User(id));
    api.change(Wanted::new(&caller, Command::RemoveUser(id)).only_if(only_if)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn one(api: &Api, caller: &Caller, id: festoon_proto::UserId) -> Result<(ETag, Json<User>), Refused> {
    let state = api.cluster.snapshot();
    let user = caller.account(&state, id)?;
    Ok((ETag(user.changed), Json(view::user(user))))
}

/// Whoever finds a browser that was left open must not make the account their own.
fn own_credentials() -> Refused {
    let text = "one's own password is changed at /users/USER/password, which asks for the one before; another owner, or root on a manager, sets one's identity";
    Refused::new(StatusCode::FORBIDDEN, "own-credentials", text)
}

fn oidc(identity: Identity) -> OidcIdentity {
    OidcIdentity { issuer: identity.issuer, subject: identity.subject }
}

impl From<NewPasswordError> for Refused {
    fn from(error: NewPasswordError) -> Self {
        match error {
            NewPasswordError::Weak(error) => error.into(),
            NewPasswordError::Compute(error) => error.into(),
        }
    }
}
