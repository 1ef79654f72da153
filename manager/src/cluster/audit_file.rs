//! The file of the audit log. It is opened while the manager serves already, for it may be large and nobody waits for it.

use std::time::Duration;

use festoon_cluster::storage::{Opening, StorageError};
use redb::Database;
use tokio::time::{Instant, sleep};

use super::BuildError;
use super::check::{Part, check_apart};
use super::disk::{self, DiskError};
use crate::data_dir::DataDir;

/// How long whoever had it open before may take to let it go.
const LET_GO: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Opens the audit log in `data`. One that is damaged is put aside: the other managers have what it had.
pub(super) fn opening(data: &DataDir) -> Opening {
    let data = data.clone();
    let failed = |error: BuildError| {
        tracing::error!(%error, "the audit log can't be opened");
        StorageError::from(redb::StorageError::Io(std::io::Error::other(error)))
    };
    Box::pin(async move { open(&data).await.map_err(failed) })
}

async fn open(data: &DataDir) -> Result<Database, BuildError> {
    let end = Instant::now() + LET_GO;
    loop {
        let opened = match check_apart(data, Part::Audit).await {
            Ok(()) => disk::open(&data.audit()).map_err(BuildError::from),
            Err(error) => Err(error),
        };
        match opened {
            Err(BuildError::Disk(DiskError::InUse)) if Instant::now() < end => sleep(LOOK_AGAIN).await,
            Err(damage) if damage.is_damage() => {
                tracing::error!(%damage, "the audit log is put aside, and is made again from those of the others");
                data.put_audit_aside()?;
            }
            opened => return opened,
        }
    }
}
