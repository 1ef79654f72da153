//! The manager that writes the log.
//!
//! One thread owns the end of the log. It takes all proposals that are waiting, applies them one after the other, writes
//! what was accepted in one transaction and only then answers: many proposals cost one write to disk. The thread ends when
//! the last [`Writer`] is gone; a caller that stops waiting leaves its proposal in force.

use std::sync::Arc;

use festoon_control::registry::{Command, Outcome, Refusal, State, apply};
use tokio::sync::{mpsc, oneshot, watch};

use super::ProposeError;
use super::store::{LogEntry, Store, StoreError};

const QUEUE: usize = 256;

/// What was made, and at which index.
pub(super) type Accepted = (Outcome, u64);

/// The way to the writer's thread.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    proposals: mpsc::Sender<Proposal>,
}

#[derive(Debug)]
struct Proposal {
    command: Command,
    reply: oneshot::Sender<Result<Accepted, ProposeError>>,
}

impl Writer {
    pub(super) async fn propose(&self, command: Command) -> Result<Accepted, ProposeError> {
        let (reply, answer) = oneshot::channel();
        self.proposals.send(Proposal { command, reply }).await.map_err(|_| ProposeError::Stopping)?;
        answer.await.map_err(|_| ProposeError::Stopping)?
    }
}

/// Starts the thread, which publishes every state it has written.
pub(super) fn start(store: Arc<Store>, publish: watch::Sender<Arc<State>>) -> Result<Writer, StoreError> {
    let mut last = store.last()?;
    let (proposals, mut queue) = mpsc::channel(QUEUE);
    // A thread of its own: a write to disk would hold up tokio's.
    std::thread::spawn(move || {
        let mut batch = Vec::new();
        while queue.blocking_recv_many(&mut batch, QUEUE) > 0 {
            write(&store, &publish, &mut last, std::mem::take(&mut batch));
        }
    });
    Ok(Writer { proposals })
}

fn write(store: &Store, publish: &watch::Sender<Arc<State>>, last: &mut u64, batch: Vec<Proposal>) {
    let mut state = Arc::clone(&publish.borrow());
    let (mut entries, mut answers) = (Vec::new(), Vec::new());
    for Proposal { command, reply } in batch {
        let index = *last + 1 + entries.len() as u64;
        let result = apply(&state, index, &command).map(|(next, outcome)| {
            state = Arc::new(next);
            entries.push(LogEntry { index, command });
            (outcome, index)
        });
        answers.push((reply, result));
    }
    let written = if entries.is_empty() { Ok(()) } else { store.append(&entries) };
    match &written {
        Ok(()) => {
            *last += entries.len() as u64;
            publish.send_replace(state);
        }
        Err(error) => tracing::error!(%error, "the registry can't be written"),
    }
    for (reply, result) in answers {
        // Even a refusal stands only if what it rests on was written. Who asked may be gone, which changes nothing.
        let _ = reply.send(answer(result, written.is_ok()));
    }
}

fn answer(result: Result<Accepted, Refusal>, written: bool) -> Result<Accepted, ProposeError> {
    if written { result.map_err(ProposeError::Refused) } else { Err(ProposeError::Storage) }
}
