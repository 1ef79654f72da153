//! A registry from a snapshot: read or refused, and what was read can be used, never a panic.
//!
//! Of random bytes hardly any are a registry, so one is made of commands first and then changed in one place.
#![no_main]

use festoon_control::compile::{endpoint_map, manager_map};
use festoon_control::registry::{Command, State, UnixMs, apply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((change, commands)) = bytes.split_first_chunk::<4>() else { return };
    let mut stored = postcard::to_stdvec(&build(commands)).expect("a state can be stored");
    let [low, high, flips, cut] = *change;
    let at = usize::from(u16::from_le_bytes([low, high])) % stored.len();
    stored[at] ^= flips;
    stored.truncate(stored.len() - usize::from(cut) % stored.len());
    if let Ok(state) = postcard::from_bytes::<State>(&stored) {
        walk(&state);
    }
});

fn build(mut rest: &[u8]) -> State {
    let mut state = State::default();
    for index in 1..64 {
        let Ok((command, left)) = postcard::take_from_bytes::<Command>(rest) else { break };
        if let Ok((next, _)) = apply(&state, index, &command) {
            state = next;
        }
        rest = left;
    }
    state
}

/// All that a manager does with a registry that it begins with.
fn walk(state: &State) {
    state.endpoints().for_each(|endpoint| drop(endpoint_map(state, endpoint.id)));
    state.managers().for_each(|manager| drop(manager_map(state, manager.id)));
    let _ = apply(state, state.version().0.saturating_add(1), &Command::Expire(UnixMs(u64::MAX)));
    let stored = postcard::to_stdvec(state).expect("a state can be stored");
    assert_eq!(postcard::from_bytes::<State>(&stored).as_ref(), Ok(state));
}
