//! Ends connections whose holder may not use them any more.
//!
//! Every request is checked against the registry by itself, so a holder that was removed gets only refusals at once. A
//! connection outlives its requests, though, and an answer may be a stream. So every open connection remembers who proved on
//! it who it is, and one task looks at all of them: after each change of the registry, when somebody proves who it is, and when
//! a holder's time is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use festoon_control::registry::{State, UnixMs};
use rustls::pki_types::CertificateDer;
use tokio::sync::{Notify, watch};

use super::holder::{Holder, until};
use crate::cluster::Cluster;

/// Between two looks at all connections, at least: many changes in a row cost no more than ten looks a second.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks, at most: the time of the cluster may leap.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The open connections of a listener. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<Open>,
    /// A connection has another holder.
    news: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    held: HashMap<u64, Held>,
}

/// One connection as the task sees it.
#[derive(Debug)]
struct Held {
    certificate: Option<CertificateDer<'static>>,
    /// Who proved last with a request who it is.
    holder: Option<Holder>,
    is_ended: watch::Sender<bool>,
}

/// One connection, until this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    connections: Connections,
    id: u64,
    ending: Ending,
}

/// Tells when the holder of a connection may not use it any more.
#[derive(Debug, Clone)]
pub struct Ending(watch::Receiver<bool>);

impl Ending {
    /// Whether that is so.
    pub fn has_come(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for that, or until the connection is closed. May be cancelled at any time.
    pub async fn wait(mut self) {
        // An error says that the connection is closed.
        let _ = self.0.wait_for(|is_ended| *is_ended).await;
    }
}

impl Connections {
    /// A new connection, on which this certificate was shown.
    pub(super) fn add(&self, certificate: Option<CertificateDer<'static>>) -> Connection {
        let (is_ended, ending) = watch::channel(false);
        let has_certificate = certificate.is_some();
        let mut open = self.lock();
        open.next += 1;
        let id = open.next;
        open.held.insert(id, Held { certificate, holder: None, is_ended });
        drop(open);
        if has_certificate {
            self.0.news.notify_one();
        }
        Connection { connections: self.clone(), id, ending: Ending(ending) }
    }

    /// Keeps ending connections whose holder may not use them, as the registry says. Ends with the registry. May be cancelled
    /// at any time.
    pub(super) async fn keep_ending(self, cluster: Cluster) {
        let mut states = cluster.watch();
        loop {
            states.mark_unchanged();
            let now = cluster.now();
            // Whoever proved who it is did so against this state or an earlier one.
            let due = self.end_those_of(&cluster.snapshot(), now);
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                () = self.0.news.notified() => {}
                () = tokio::time::sleep(pause(due, now)) => {}
            }
        }
    }

    /// Ends the connections of those who may not use them at `now`. Gives the time at which that is next to be done, if the
    /// registry stays as it is.
    fn end_those_of(&self, state: &State, now: UnixMs) -> Option<UnixMs> {
        let mut due: Option<UnixMs> = None;
        for held in self.lock().held.values() {
            match until(held.certificate.as_ref(), held.holder.as_ref(), state).filter(|until| now < *until) {
                Some(until) => due = Some(due.map_or(until, |due| due.min(until))),
                None => drop(held.is_ended.send_replace(true)),
            }
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while holding it.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long nothing is due.
fn pause(due: Option<UnixMs>, now: UnixMs) -> Duration {
    let due = due.map_or(LONGEST_PAUSE, |due| Duration::from_millis(due.0.saturating_sub(now.0)));
    due.min(LONGEST_PAUSE)
}

impl Connection {
    /// A request on it proved who is at the other end.
    pub(super) fn hold(&self, holder: Holder) {
        let mut open = self.connections.lock();
        let Some(held) = open.held.get_mut(&self.id) else { return };
        if held.holder.as_ref() != Some(&holder) {
            held.holder = Some(holder);
            self.connections.0.news.notify_one();
        }
    }

    pub(super) fn ending(&self) -> Ending {
        self.ending.clone()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.lock().held.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::{Author, Command, UpdateUser, Who};
    use festoon_proto::access::Role;
    use festoon_proto::token::SecretHash;
    use festoon_proto::{ApiTokenId, EndpointId, ManagerId, SessionId, UserId};

    use super::*;
    use crate::accounts::Caller;
    use crate::accounts::testing::{self, END, after};
    use crate::pki::{Authority, SigningRequest, TlsKey, certificates};

    const NOW: UnixMs = UnixMs(2);

    fn caller(state: &State, who: Who) -> Holder {
        let grant = match who {
            Who::ApiToken { token, .. } => state.grant_of(state.api_token(token).unwrap()).unwrap(),
            _ => state.user(UserId(2)).unwrap().grant.clone(),
        };
        Holder::Caller(Caller { author: Author { who, from: None }, grant })
    }

    fn certificate_of(manager: u16) -> CertificateDer<'static> {
        let authority = Authority::generate(festoon_proto::ClusterId([7; 16])).unwrap();
        let signer = festoon_proto::SigningKey::from_seed([1; 32]);
        let request = TlsKey::generate().unwrap().signing_request(&signer, &[]).unwrap();
        let request = SigningRequest::from_pem(&request).unwrap();
        let role = festoon_control::registry::ManagerRole::Full;
        let https = ["192.0.2.1:8443".parse().unwrap()];
        let pem = authority.issue(request, (ManagerId(manager), role), &https, UnixMs(1_767_225_600_000)).unwrap();
        certificates(&pem).unwrap().remove(0)
    }

    /// Whether a connection of this holder ends.
    fn ends(holder: &Holder, state: &State, now: UnixMs) -> bool {
        let connections = Connections::default();
        let connection = connections.add(None);
        connection.hold(holder.clone());
        connections.end_those_of(state, now);
        *connection.ending.0.borrow()
    }

    #[test]
    fn a_connection_ends_with_what_was_shown_on_it() {
        let state = testing::state();
        let session = caller(&state, Who::User { user: UserId(2), session: SessionId(2) });
        let token = caller(&state, Who::ApiToken { user: UserId(2), token: ApiTokenId(1) });
        let last = UnixMs(END.0 - 1);
        for holder in [&session, &token] {
            assert!(
                !ends(holder, &state, NOW) && !ends(holder, &state, last) && ends(holder, &state, END),
                "{holder:?}"
            );
        }
        let update = |update: UpdateUser| after(&state, &Command::UpdateUser(update));
        let of_ann = || UpdateUser::of(UserId(2));
        for (state, expected) in [
            (after(&state, &Command::LogOut(SessionId(2))), [true, false]),
            (after(&state, &Command::LogOutAll(UserId(2))), [true, false]),
            (after(&state, &Command::RemoveApiToken(ApiTokenId(1))), [false, true]),
            (after(&state, &Command::RemoveUser(UserId(2))), [true, true]),
            (update(UpdateUser { is_enabled: Some(false), ..of_ann() }), [true, true]),
            // What the token may do is less than either.
            (update(UpdateUser { role: Some(Role::Viewer), ..of_ann() }), [true, false]),
            (after(&state, &Command::LogOut(SessionId(1))), [false, false]),
        ] {
            assert_eq!([&session, &token].map(|holder| ends(holder, &state, NOW)), expected);
        }
        assert!(ends(&Holder::Endpoint(EndpointId(1), SecretHash([1; 32])), &state, NOW), "there is none");
    }

    #[test]
    fn a_connection_of_a_manager_ends_with_its_place_in_the_cluster() {
        let (state, connections) = (testing::state(), Connections::default());
        let all = [1, 2].map(|manager| connections.add(Some(certificate_of(manager))));
        let ended = |state: &State| {
            connections.end_those_of(state, NOW);
            all.each_ref().map(|connection| *connection.ending.0.borrow())
        };
        assert_eq!(ended(&State::default()), [false, false], "there is no copy of the registry yet");
        assert_eq!(ended(&state), [false, false], "the second has just joined");
        let joined = testing::with_second_manager(&state);
        assert_eq!(ended(&joined), [false, false]);
        assert_eq!(ended(&after(&joined, &Command::RemoveManager(ManagerId(2)))), [false, true]);
    }

    #[test]
    fn the_next_look_is_due_when_the_first_holder_s_time_is_over() {
        let (state, connections) = (testing::state(), Connections::default());
        assert_eq!(connections.end_those_of(&state, NOW), None);
        let connection = connections.add(None);
        assert_eq!(connections.end_those_of(&state, NOW), Some(UnixMs(u64::MAX)), "nobody proved anything");
        connection.hold(caller(&state, Who::User { user: UserId(2), session: SessionId(2) }));
        assert_eq!(connections.end_those_of(&state, NOW), Some(END));
        assert_eq!(pause(Some(END), UnixMs(END.0 - 5)), Duration::from_millis(5));
        assert_eq!((pause(Some(END), UnixMs(0)), pause(None, NOW)), (LONGEST_PAUSE, LONGEST_PAUSE));
        drop(connection);
        assert!(connections.lock().held.is_empty(), "nothing is left");
    }
}
