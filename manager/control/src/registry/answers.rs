//! Idempotency keys: a request that is sent again, perhaps to another manager, is carried out once.
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>

use serde::{Deserialize, Serialize};

use super::change::ChangeError;
use super::{Outcome, State, UnixMs};

/// How long an answer is remembered.
pub const REMEMBER_ANSWER_MS: u64 = 24 * 3600 * 1000;

/// Answers that are remembered at most; the oldest give way.
pub(super) const MAX_ANSWERS: usize = 100_000;

/// What tells a request from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The hash of the key and of who sent it.
    pub key: [u8; 16],
    /// The hash of the request.
    pub request: [u8; 16],
}

/// What a request with a key was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) request: [u8; 16],
    pub(super) outcome: Outcome,
    pub(super) until: UnixMs,
}

/// What this request was answered, if it came before and that is not too long ago.
pub(super) fn find(state: &State, key: &IdempotencyKey, at: UnixMs) -> Result<Option<Outcome>, ChangeError> {
    match state.records.answers.get(&key.key).filter(|answer| at < answer.until) {
        Some(answer) if answer.request == key.request => Ok(Some(answer.outcome.clone())),
        Some(_) => Err(ChangeError::KeyReused),
        None => Ok(None),
    }
}

pub(super) fn remember(state: &mut State, key: IdempotencyKey, outcome: &Outcome, at: UnixMs) {
    let answer = Answer { request: key.request, outcome: outcome.clone(), until: at.after(REMEMBER_ANSWER_MS) };
    state.put_answer(key.key, answer);
}
