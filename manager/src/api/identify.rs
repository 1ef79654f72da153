//! Who calls over the network.

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Api;
use super::access::Known;
use crate::accounts::{Call, Denied, authenticate};
use crate::https::{Holder, Peer, Refused};

/// Says who makes a request. One that is not meant for us, or that a page elsewhere makes, goes no further, whatever it is for.
pub(super) async fn identify(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let from = peer.remote.ip().to_canonical();
    let call = Call { method: request.method(), headers: request.headers(), from };
    let known = authenticate(&api.cluster.snapshot(), &api.names, call, api.cluster.now());
    if let Err(denied @ (Denied::Host | Denied::Origin)) = known {
        return Refused::from(denied).into_response();
    }
    if let Ok(caller) = &known {
        peer.prove(Holder::Caller(caller.clone()));
    }
    request.extensions_mut().insert(Known(known));
    next.run(request).await
}
