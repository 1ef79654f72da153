//! Who the managers are and whom they believe, in a file of its own: whoever lost the registry finds a copy with it, and knows
//! whom not to take for a manager.

use festoon_control::registry::State;
use festoon_proto::epoch::Roster;
use festoon_proto::{Introduction, ManagerId};

use crate::data_dir::{DataDir, DataDirError, INTRODUCTIONS, PEERS};

/// What the file says.
#[derive(Debug)]
pub(super) struct Peers {
    data: DataDir,
    me: ManagerId,
    known: Option<Roster>,
}

impl Peers {
    pub(super) fn new(data: DataDir, me: ManagerId) -> Self {
        let known = load(&data).unwrap_or_default();
        Self { data, me, known }
    }

    /// Writes down who the managers are, if that is news. A copy of the registry that has not come so far yet knows less than
    /// this manager was told when it joined.
    pub(super) fn note(&mut self, state: &State) {
        let Some(now) =
            state.roster().filter(|now| self.known.as_ref().is_none_or(|known| !known.is_ahead_of(now, self.me)))
        else {
            return;
        };
        if self.known.as_ref().is_some_and(|known| known.version.is_some() && known.says_the_same(&now)) {
            return;
        }
        match write(&self.data, &now) {
            Ok(()) => self.known = Some(now),
            Err(error) => {
                tracing::warn!(%error, "peers.json can't be written: without it and the registry, this manager would not find the others");
            }
        }
    }
}

/// Says who the managers are.
pub fn write(data: &DataDir, roster: &Roster) -> Result<(), DataDirError> {
    // It fails only on maps whose keys are no text, and a roster has none.
    data.write(PEERS, &serde_json::to_string(roster).unwrap_or_default())
}

/// The managers as they were when the registry was read last, or this one joined.
pub(super) fn load(data: &DataDir) -> Result<Option<Roster>, DataDirError> {
    if !data.has(PEERS) {
        return Ok(None);
    }
    let text = data.read(PEERS)?;
    // It only helps: a damaged one is as good as none.
    Ok(serde_json::from_str(&text).ok())
}

/// How this manager came into the cluster: kept apart from its certificate, which can be made again.
pub fn write_introductions(data: &DataDir, introductions: &[Introduction]) -> Result<(), DataDirError> {
    // It fails only on maps whose keys are no text, and this has none.
    data.write(INTRODUCTIONS, &serde_json::to_string(introductions).unwrap_or_default())
}

/// As it was written. The first manager of a cluster has none.
pub fn introductions(data: &DataDir) -> Result<Vec<Introduction>, DataDirError> {
    if !data.has(INTRODUCTIONS) {
        return Ok(Vec::new());
    }
    let text = data.read(INTRODUCTIONS)?;
    Ok(serde_json::from_str(&text).unwrap_or_else(|error| {
        tracing::warn!(%error, "introductions.json is damaged: managers that were away while this one joined may not believe it until they have caught up");
        Vec::new()
    }))
}
