//! Events, as far as the caller may see them.

use axum::Extension;
use axum::extract::State as Shared;
use axum::http::HeaderMap;
use axum::response::Response;
use festoon_events::{Event, Kind};
use festoon_proto::access::Role;

use super::query::ApiQuery;
use super::{Api, Caller};
use crate::cluster::Cluster;
use crate::events::http::{self, EventPage, Query, Reader};
use crate::https::{Ending, Peer, Refused};

/// What happened: a page of it; or what happens from now on, as server-sent events, to whoever accepts `text/event-stream`.
/// Whoever was cut off goes on at any manager, with the last id as `Last-Event-ID`.
#[utoipa::path(get, path = "/events", tag = "events",
    params(Query, ("Last-Event-ID" = Option<String>, Header, description = "Behind this cursor, in a stream.")),
    responses((status = 200, content((EventPage = "application/json"), (String = "text/event-stream")))))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    caller: Caller,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<Query>,
) -> Result<Response, Refused> {
    let ending = peer.map(|Extension(peer)| peer.ending());
    let reader = Following { cluster: api.cluster.clone(), caller, ending };
    http::events(&api.events, query, &headers, reader).await
}

/// A caller whose stream lasts as long as it may read.
struct Following {
    cluster: Cluster,
    caller: Caller,
    /// Of its connection; none on the admin socket, where nobody's time ends.
    ending: Option<Ending>,
}

impl Following {
    fn now(&self) -> Option<Caller> {
        self.caller.still(&self.cluster.snapshot(), self.cluster.now())
    }
}

impl Reader for Following {
    fn may_see(&self, event: &Event) -> bool {
        self.now().is_some_and(|caller| may_see(&caller, event))
    }

    async fn ended(&self) {
        match &self.ending {
            Some(ending) => ending.clone().wait().await,
            None => std::future::pending().await,
        }
    }
}

/// What changes accounts or settings, and how destinations of events, which only admins see, are doing.
const FOR_ADMINS: [Kind; 4] =
    [Kind::AdminChanged, Kind::DestinationFailing, Kind::DestinationRecovered, Kind::DestinationMissed];

/// What is in a network is for those who see that, and what changes accounts or settings for those who see to them. How
/// managers and their links are doing is for everybody.
fn may_see(caller: &Caller, event: &Event) -> bool {
    match event.network {
        Some(network) => caller.sees(network),
        None if FOR_ADMINS.contains(&event.kind) => caller.may(Role::Admin, None),
        None if event.endpoint.is_none() && event.manager.is_some() => true,
        None => caller.may(Role::Viewer, None),
    }
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::{Author, Who};
    use festoon_proto::access::{Grant, Scope};
    use festoon_proto::{EndpointId, ManagerId, NetworkId, SessionId, UserId};

    use super::*;

    fn caller(role: Role, networks: Scope) -> Caller {
        let who = Who::User { user: UserId(1), session: SessionId(1) };
        Caller { author: Author { who, from: None }, grant: Grant { role, networks } }
    }

    #[test]
    fn who_is_of_one_network_sees_no_other_and_no_accounts() {
        let one = caller(Role::Operator, Scope::Networks([NetworkId(1)].into()));
        let (viewer, admin) = (caller(Role::Viewer, Scope::All), caller(Role::Admin, Scope::All));
        let event = Event::new(1, Kind::EndpointUp);
        let of = |network: u32| Event { network: Some(NetworkId(network)), ..event.clone() };
        let lost = Event { manager: Some(ManagerId(2)), ..Event::new(1, Kind::ManagerLost) };
        let changed = Event { manager: Some(ManagerId(2)), ..Event::new(1, Kind::AdminChanged) };
        let stray = Event { endpoint: Some(EndpointId(1)), manager: Some(ManagerId(2)), ..event.clone() };
        for (event, expected) in [
            (&of(1), [true, true, true]),
            (&of(2), [false, true, true]),
            (&lost, [true, true, true]),
            (&changed, [false, false, true]),
            (&Event::new(1, Kind::DestinationFailing), [false, false, true]),
            (&Event::new(1, Kind::DestinationRecovered), [false, false, true]),
            (&Event::new(1, Kind::DestinationMissed), [false, false, true]),
            (&stray, [false, true, true]),
            (&event, [false, true, true]),
        ] {
            assert_eq!([&one, &viewer, &admin].map(|caller| may_see(caller, event)), expected, "{event:?}");
        }
    }
}
