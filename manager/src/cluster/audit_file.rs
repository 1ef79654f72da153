//! The file of the audit log. It is opened while the manager serves already, for it may be large and nobody waits for it.

use std::time::Duration;

use festoon_cluster::storage::Opening;
use redb::Database;
use tokio::time::sleep;

use super::BuildError;
use super::check::{Part, check_apart};
use super::disk::{self, DiskError};
use crate::data_dir::DataDir;

/// How soon a file that somebody has open is looked at again: the one before, who lets it go, or its check.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How soon it is tried again whatever else is wrong.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Opens the audit log in `data`, however long it takes: without it consensus goes on and only a snapshot waits. A file
/// that is damaged is put aside: the other managers have what it had.
pub(super) fn opening(data: &DataDir) -> Opening {
    let data = data.clone();
    Box::pin(async move {
        loop {
            let pause = match open(&data).await {
                Ok(database) => return Ok(database),
                Err(BuildError::Disk(DiskError::InUse)) => LOOK_AGAIN,
                Err(error) => {
                    tracing::error!(%error, "the audit log can't be opened: it is tried again");
                    TRY_AGAIN
                }
            };
            sleep(pause).await;
        }
    })
}

async fn open(data: &DataDir) -> Result<Database, BuildError> {
    let opened = match check_apart(data, Part::Audit).await {
        Ok(()) => disk::open(&data.audit()).map_err(BuildError::from),
        Err(error) => Err(error),
    };
    match opened {
        Err(damage) if damage.is_damage() => {
            tracing::error!(%damage, "the audit log is put aside, and is made again from those of the others");
            data.put_audit_aside()?;
            Ok(disk::open(&data.audit())?)
        }
        opened => opened,
    }
}
