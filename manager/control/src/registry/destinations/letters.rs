//! How far destinations got, and what was given up on the way.

use std::sync::Arc;

use super::super::state::State;
use super::super::{NoteDelivery, RedeliverDeadLetters};
use super::DestinationError;
use super::record::{DeadLetter, GivenUp, Progress};

/// Dead letters of a destination that are kept; the oldest give way.
pub const MAX_LETTERS: usize = 1_000;
/// Bytes of an event that are kept of it.
const MAX_BODY: usize = 64 * 1024;
/// Bytes of an error.
const MAX_ERROR: usize = 300;

pub(in crate::registry) fn note(state: &mut State, command: &NoteDelivery) -> Result<(), DestinationError> {
    let id = command.destination;
    let mut progress = state.progress(id).cloned().ok_or(DestinationError::Unknown(id))?;
    progress.cursor.clone_from(&command.cursor);
    progress.missed = progress.missed.max(command.missed);
    progress.failing_since = command.failing_since;
    for number in &command.delivered {
        progress.letters.remove(number);
    }
    for (number, again) in &command.given_up_again {
        if let Some(letter) = progress.letters.get_mut(number) {
            *letter = Arc::new(DeadLetter { number: *number, given_up: fit(again.clone()), wanted: None });
        }
    }
    for given_up in &command.given_up {
        give_up(&mut progress, fit(given_up.clone()));
    }
    state.put_progress(id, progress);
    Ok(())
}

/// One that is given up twice, because two managers delivered for a moment, is one.
fn give_up(progress: &mut Progress, given_up: GivenUp) {
    if progress.letters().any(|letter| letter.given_up.event == given_up.event) {
        return;
    }
    if progress.letters.len() >= MAX_LETTERS
        && let Some(oldest) = progress.letters.get_min().map(|(number, _)| *number)
    {
        progress.letters.remove(&oldest);
        progress.dropped = progress.dropped.saturating_add(1);
    }
    progress.last_letter += 1;
    let number = progress.last_letter;
    progress.letters.insert(number, Arc::new(DeadLetter { number, given_up, wanted: None }));
}

fn fit(mut given_up: GivenUp) -> GivenUp {
    if given_up.body.len() > MAX_BODY {
        given_up.body.clear();
    }
    if let Some((end, _)) = given_up.error.char_indices().find(|(at, _)| *at >= MAX_ERROR) {
        given_up.error.truncate(end);
    }
    given_up
}

/// Those are to be sent again; all if none is named.
pub(in crate::registry) fn redeliver(
    state: &mut State,
    command: &RedeliverDeadLetters,
) -> Result<(), DestinationError> {
    let id = command.destination;
    let mut progress = state.progress(id).cloned().ok_or(DestinationError::Unknown(id))?;
    let numbers = match command.letters.as_slice() {
        [] => progress.letters.keys().copied().collect(),
        named => named.to_vec(),
    };
    for number in numbers {
        let letter = progress.letters.get_mut(&number).ok_or(DestinationError::NoLetter(number))?;
        Arc::make_mut(letter).wanted.get_or_insert(command.now);
    }
    state.put_progress(id, progress);
    Ok(())
}
