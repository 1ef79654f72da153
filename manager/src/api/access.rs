//! What a caller needs for a route, in one place.

use axum::Extension;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use festoon_proto::access::Role;
use utoipa_axum::router::UtoipaMethodRouter;

use super::Api;
use crate::accounts::{Caller, Denied};
use crate::https::Refused;

/// A batch of a thousand endpoints, with all that can be said of each.
const MAX_LARGE: usize = 1 << 20;

/// What a caller needs for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: it says what anybody may know.
    Nothing,
    /// This role, in some network at least. The handler looks at nothing of another.
    Somewhere(Role),
    /// This role, in all networks: it is about the cluster as a whole.
    Everywhere(Role),
}

/// Guards routes.
pub(super) fn needs(need: Need, routes: UtoipaMethodRouter<Api>) -> UtoipaMethodRouter<Api> {
    let (schemas, paths, handlers) = routes;
    (schemas, paths, handlers.layer(from_fn_with_state(need, guard)))
}

/// For bodies that are larger than what a stranger may send: nothing is read of one before it is known who calls.
pub(super) fn large(routes: UtoipaMethodRouter<Api>) -> UtoipaMethodRouter<Api> {
    let (schemas, paths, handlers) = routes;
    (schemas, paths, handlers.layer(DefaultBodyLimit::max(MAX_LARGE)))
}

/// Who calls, or why that is not known. An extension of every request.
#[derive(Debug, Clone)]
pub(super) struct Known(pub(super) Result<Caller, Denied>);

async fn guard(
    State(need): State<Need>,
    known: Option<Extension<Known>>,
    mut request: Request,
    next: Next,
) -> Response {
    let known = known.map_or(Err(Denied::NoCredential), |Extension(Known(known))| known);
    match check(need, known) {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

/// Who calls; nobody, if that does not matter. Whoever logs in may still have the cookie of a session that is over.
fn check(need: Need, known: Result<Caller, Denied>) -> Result<Option<Caller>, Refused> {
    if need == Need::Nothing {
        return Ok(None);
    }
    let caller = known?;
    let is_enough = match need {
        Need::Nothing => true,
        Need::Somewhere(role) => caller.has(role),
        Need::Everywhere(role) => caller.may(role, None),
    };
    if is_enough { Ok(Some(caller)) } else { Err(not_allowed()) }
}

pub(super) fn not_allowed() -> Refused {
    Refused::new(StatusCode::FORBIDDEN, "not-allowed", "your role does not allow this: ask an owner")
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        Self::new(denied.status(), denied.kind(), &denied.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use festoon_control::registry::{Author, LocalUser, Who};
    use festoon_proto::access::{Grant, Scope};
    use festoon_proto::{ManagerId, NetworkId, SessionId, UserId};

    use super::*;

    fn caller(role: Role, networks: Scope) -> Caller {
        let who = Who::User { user: UserId(1), session: SessionId(1) };
        Caller { author: Author { who, from: None }, grant: Grant { role, networks } }
    }

    #[test]
    fn a_role_goes_as_far_as_its_networks() {
        let some = || Scope::Networks(BTreeSet::from([NetworkId(1)]));
        let roles = [Role::Viewer, Role::Operator, Role::Admin, Role::Owner];
        for (rank, role) in roles.into_iter().enumerate() {
            for (needed_rank, needed) in roles.into_iter().enumerate() {
                let is_ok = |need, networks| check(need, Ok(caller(role, networks))).is_ok();
                let is_enough = rank >= needed_rank;
                assert_eq!(is_ok(Need::Somewhere(needed), some()), is_enough, "{role:?} {needed:?}");
                assert_eq!(is_ok(Need::Everywhere(needed), Scope::All), is_enough, "{role:?} {needed:?}");
                assert!(!is_ok(Need::Everywhere(needed), some()), "{role:?} {needed:?}");
            }
        }
        assert!(check(Need::Nothing, Err(Denied::NoSession)).is_ok());
        assert!(check(Need::Somewhere(Role::Viewer), Err(Denied::NoCredential)).is_err());
        assert!(
            check(Need::Everywhere(Role::Owner), Ok(Caller::local(ManagerId(1), LocalUser::new(0, "root")))).is_ok()
        );
    }
}
