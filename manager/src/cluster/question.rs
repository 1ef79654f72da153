//! Questions of consensus as they come in: who asks, and how much of it is held in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use festoon_control::registry::State;
use festoon_proto::ManagerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Cluster;
use super::member::claimed_member;
use crate::https::{Peer, Refused};

/// The most that one question takes: a part of a snapshot, or some hundred commands.
const MAX_QUESTION: usize = 16 << 20;
/// The same of a manager that was removed, which is told so and nothing else.
const MAX_OF_REMOVED: usize = 64 << 10;
/// All questions of one manager that are held at a time, in units of 1 KiB.
const ROOM_KIB: u32 = 32 << 10;

/// Where questions go, and how much of them is held for each manager. One that sends many or slowly holds up itself alone.
#[derive(Debug, Clone)]
pub(super) struct Questions {
    pub(super) cluster: Cluster,
    rooms: Arc<Mutex<HashMap<ManagerId, Arc<Semaphore>>>>,
}

/// A question, whole.
pub(super) struct Question {
    /// The manager that asks, for certain.
    pub(super) from: ManagerId,
    pub(super) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Questions {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, rooms: Arc::default() }
    }

    fn room(&self, of: ManagerId) -> Arc<Semaphore> {
        // Nothing panics while holding it.
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rooms.entry(of).or_insert_with(|| Arc::new(Semaphore::new(ROOM_KIB as usize))))
    }
}

/// Before anything else of a request is read it is certain which manager it comes from: a question is large, and strangers
/// must not fill our memory.
impl FromRequest<Questions> for Question {
    type Rejection = Refused;

    async fn from_request(request: Request, questions: &Questions) -> Result<Self, Refused> {
        let peer = request.extensions().get::<Peer>().ok_or_else(Refused::internal)?;
        let from = claimed_member(peer, &questions.cluster)?;
        let length = length(&request).ok_or_else(Refused::not_understood)?;
        let most = most(from, &questions.cluster.snapshot());
        if length > most {
            let text = format!("a question of this manager has {most} bytes at most");
            return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", &text));
        }
        let kib = u32::try_from(length >> 10).unwrap_or(ROOM_KIB) + 1;
        // Nobody closes it.
        let room = questions.room(from).acquire_many_owned(kib).await.map_err(|_| Refused::internal())?;
        let bytes = to_bytes(request.into_body(), length).await.map_err(|_| Refused::not_understood())?;
        Ok(Self { from, bytes, _room: room })
    }
}

fn length(request: &Request) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// One that this copy does not know may have just joined.
fn most(from: ManagerId, state: &State) -> usize {
    let is_removed = state.was_given_to_manager(from) && state.manager(from).is_none();
    if is_removed { MAX_OF_REMOVED } else { MAX_QUESTION }
}
