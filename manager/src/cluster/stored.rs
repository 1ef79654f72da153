//! The registry of a manager that does not run.

use std::sync::Arc;

use festoon_cluster::storage::{Execution, read_state};
use festoon_control::registry::State;

use super::check::{Part, check_apart};
use super::{BuildError, disk};
use crate::data_dir::DataDir;

/// What the copy of the registry in `data` says if all of its log counts; nothing if there is none. It is closed when this
/// returns.
pub async fn stored_state(data: &DataDir) -> Result<Arc<State>, BuildError> {
    let path = data.registry();
    if !path.exists() {
        return Ok(Arc::default());
    }
    check_apart(data, Part::Registry).await?;
    Ok(read_state(disk::open(&path)?, Execution::Threads).await?)
}
