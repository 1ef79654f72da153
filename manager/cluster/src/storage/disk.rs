//! The disk: read by whoever likes, written in one order.
//!
//! One task writes. It takes all that waits, commits it at once and answers everybody, so many small writes share one wait
//! for the disk. After a failure it writes nothing any more: a later write that succeeds behind one that failed would leave
//! a gap in the log.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use redb::Database;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::tables::{Change, View, commit};
use super::{Execution, StorageError};

/// Writes that share a commit.
const BATCH: usize = 64;
/// How long a change that nobody waits for may stay in memory. What a manager knows when it starts alone after a crash is
/// as old as that at most.
pub(super) const LAZY: Duration = Duration::from_millis(100);

/// Called when the changes are on disk, or never will be.
pub(super) type Done = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

struct Write {
    changes: Vec<Change>,
    done: Option<Done>,
}

/// The database once it is open, or why it is not.
type Opened = Option<Result<Arc<Database>, StorageError>>;

/// The database. A clone is the same one. It is closed when the last clone is gone.
#[derive(Clone)]
pub(super) struct Disk {
    opened: watch::Receiver<Opened>,
    execution: Execution,
    // Not bounded: Raft waits for each append before the next, and whoever writes a snapshot for each piece.
    writes: mpsc::UnboundedSender<Write>,
}

impl Disk {
    /// Must run inside tokio.
    pub(super) fn new(database: Database, execution: Execution) -> Self {
        Self::start(ready(Ok(database)), execution).0
    }

    /// With a database that is still being opened: until it is, writes wait in memory, and whoever reads waits too. Gives
    /// the task that writes as well: it ends when the last clone is gone, and the database is closed then.
    pub(super) fn start(
        opening: impl Future<Output = Result<Database, StorageError>> + Send + 'static,
        execution: Execution,
    ) -> (Self, JoinHandle<()>) {
        let (writes, waiting) = mpsc::unbounded_channel();
        let (opened, database) = watch::channel(None);
        let by = execution.clone();
        let writer = tokio::spawn(async move {
            let found = tokio::select! {
                found = opening => found.map(Arc::new),
                // Nobody is left who waits for it.
                () = opened.closed() => return,
            };
            opened.send_replace(Some(found.clone()));
            match found {
                Ok(database) => write_in_order(waiting, database, by).await,
                Err(error) => refuse_all(waiting, &error).await,
            }
        });
        (Self { opened: database, execution, writes }, writer)
    }

    async fn database(&self) -> Result<Arc<Database>, StorageError> {
        let mut opened = self.opened.clone();
        let opened = opened.wait_for(Option::is_some).await.map_err(|_| StorageError::Closed)?;
        opened.clone().unwrap_or(Err(StorageError::Closed))
    }

    /// Does work that may block.
    pub(super) const fn execution(&self) -> &Execution {
        &self.execution
    }

    /// Reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let database = self.database().await?;
        self.execution.run(move || read(&View::new(&database)?)).await
    }

    /// Makes the changes behind all that were asked for before, and returns when they are on disk.
    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        let (done, result) = oneshot::channel();
        let tell = move |result| {
            // Whoever waited may have gone.
            let _ = done.send(result);
        };
        self.submit(changes, Box::new(tell))?;
        result.await.unwrap_or(Err(StorageError::Closed))
    }

    /// As [`Disk::write`], but returns at once and calls `done` later.
    pub(super) fn submit(&self, changes: Vec<Change>, done: Done) -> Result<(), StorageError> {
        self.writes.send(Write { changes, done: Some(done) }).map_err(|_| StorageError::Closed)
    }

    /// Makes the changes together with the next ones that somebody waits for, or a second later.
    pub(super) fn submit_lazily(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        self.writes.send(Write { changes, done: None }).map_err(|_| StorageError::Closed)
    }
}

/// Brings what is still in memory to the disk, before a program ends.
#[derive(Clone)]
pub struct Flush(pub(super) Disk);

impl Flush {
    /// Returns when all that was asked for before is on disk.
    pub async fn flush(&self) -> Result<(), StorageError> {
        self.0.write(Vec::new()).await
    }
}

enum Received {
    Writes(Vec<Write>),
    /// Nothing, and lazy changes have waited long enough.
    Due,
    Closed,
}

async fn receive(waiting: &mut mpsc::UnboundedReceiver<Write>, has_lazy: bool) -> Received {
    let mut batch = Vec::new();
    let received = waiting.recv_many(&mut batch, BATCH);
    match if has_lazy { timeout(LAZY, received).await } else { Ok(received.await) } {
        Err(_) => Received::Due,
        Ok(0) => Received::Closed,
        Ok(_) => Received::Writes(batch),
    }
}

/// Ends with the last [`Disk`], after a failure too.
async fn write_in_order(mut waiting: mpsc::UnboundedReceiver<Write>, database: Arc<Database>, execution: Execution) {
    let mut changes = Vec::new();
    loop {
        let received = receive(&mut waiting, !changes.is_empty()).await;
        let is_closed = matches!(received, Received::Closed);
        let mut is_due = !changes.is_empty();
        let mut done = Vec::new();
        if let Received::Writes(batch) = received {
            for write in batch {
                changes.extend(write.changes);
                done.extend(write.done);
            }
            is_due = !done.is_empty();
        }
        if is_due {
            let (database, changes) = (Arc::clone(&database), std::mem::take(&mut changes));
            let result = execution.run(move || commit(&database, &changes)).await;
            done.into_iter().for_each(|done| done(result.clone()));
            if let Err(error) = result {
                tracing::error!(%error, "this file is not written any more");
                return refuse_all(waiting, &error).await;
            }
        }
        if is_closed {
            return;
        }
    }
}

/// Also whoever does not wait hears of it, with the next change.
async fn refuse_all(mut waiting: mpsc::UnboundedReceiver<Write>, error: &StorageError) {
    waiting.close();
    while let Some(write) = waiting.recv().await {
        if let Some(done) = write.done {
            done(Err(error.clone()));
        }
    }
}
