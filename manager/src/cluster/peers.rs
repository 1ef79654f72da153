//! Who the managers are and whom they believe, in a file of its own: whoever lost the registry finds a copy with it, and knows
//! whom not to take for a manager.

use festoon_control::registry::State;
use festoon_proto::epoch::Roster;

use crate::data_dir::{DataDir, DataDirError, PEERS};

/// What the file says.
#[derive(Debug)]
pub(super) struct Peers {
    data: DataDir,
    written: Option<Roster>,
}

impl Peers {
    pub(super) fn new(data: DataDir) -> Self {
        Self { data, written: None }
    }

    /// Writes down who the managers are, if that is news.
    pub(super) fn note(&mut self, state: &State) {
        let now = state.roster();
        if now.is_none() || now == self.written {
            return;
        }
        let written = now.as_ref().map_or(Ok(()), |roster| write(&self.data, roster));
        match written {
            Ok(()) => self.written = now,
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
