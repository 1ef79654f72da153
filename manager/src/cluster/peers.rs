//! Where the other managers are, in a file of its own: whoever lost the registry finds a copy there.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use festoon_control::registry::State;
use festoon_proto::ManagerId;

use crate::data_dir::{DataDir, DataDirError, PEERS};

type Listeners = BTreeMap<ManagerId, Vec<SocketAddr>>;

/// What the file says.
#[derive(Debug)]
pub(super) struct Peers {
    data: DataDir,
    written: Listeners,
}

impl Peers {
    pub(super) fn new(data: DataDir) -> Self {
        Self { data, written: Listeners::new() }
    }

    /// Writes down where the managers are, if that is news.
    pub(super) fn note(&mut self, state: &State) {
        let now: Listeners = state.managers().map(|manager| (manager.id, manager.https.clone())).collect();
        if now.is_empty() || now == self.written {
            return;
        }
        let text = serde_json::to_string(&now).unwrap_or_default();
        match self.data.write(PEERS, &text) {
            Ok(()) => self.written = now,
            Err(error) => tracing::warn!(%error, "where the other managers are is not on disk"),
        }
    }
}

/// Where the managers were when the registry was read last; nowhere if it never was.
pub(super) fn load(data: &DataDir) -> Result<HashMap<ManagerId, Vec<SocketAddr>>, DataDirError> {
    if !data.has(PEERS) {
        return Ok(HashMap::new());
    }
    let text = data.read(PEERS)?;
    // It only helps: a damaged one is as good as none.
    Ok(serde_json::from_str(&text).unwrap_or_default())
}
