//! What a caller needs for a route, in one place.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::UtoipaMethodRouter;

use super::{Api, Caller};
use crate::https::Refused;

/// What a caller needs for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Nothing: it says what anybody may know.
    Nothing,
    /// To see.
    View,
    /// To change endpoints and what lets them in.
    Operate,
    /// To change networks and managers, and to see who did what.
    Administer,
}

/// Guards routes.
pub(super) fn needs(need: Need, routes: UtoipaMethodRouter<Api>) -> UtoipaMethodRouter<Api> {
    let (schemas, paths, handlers) = routes;
    (schemas, paths, handlers.layer(from_fn_with_state(need, guard)))
}

async fn guard(State(need): State<Need>, caller: Option<Extension<Caller>>, request: Request, next: Next) -> Response {
    match check(need, caller.as_deref()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

fn check(need: Need, caller: Option<&Caller>) -> Result<(), Refused> {
    match caller {
        _ if need == Need::Nothing => Ok(()),
        None => Err(Refused::new(StatusCode::UNAUTHORIZED, "not-logged-in", "log in first, or send an API token")),
        Some(caller) if caller.may(need) => Ok(()),
        Some(_) => {
            Err(Refused::new(StatusCode::FORBIDDEN, "not-allowed", "your role does not allow this: ask an owner"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_further_than_what_anybody_may_know() {
        assert!(check(Need::Nothing, None).is_ok());
        for need in [Need::View, Need::Operate, Need::Administer] {
            assert!(check(need, None).is_err());
            assert!(check(need, Some(&Caller::local(festoon_proto::ManagerId(1)))).is_ok());
        }
    }
}
