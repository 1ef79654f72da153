//! Where the disk is waited for.

use std::time::Duration;

use tokio::sync::watch;

use super::StorageError;

/// Where the disk is waited for.
#[derive(Debug, Clone)]
pub enum Execution {
    /// On threads that may block, so that a slow disk holds up nothing else.
    Threads,
    /// On the task that asks, and each use of the disk takes this long in the time of tokio. A simulation runs like this,
    /// for it must run the same way every time.
    Inline(watch::Receiver<Duration>),
}

impl Execution {
    /// Does work that may block.
    pub(crate) async fn run<T, W>(&self, work: W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: FnOnce() -> Result<T, StorageError> + Send + 'static,
    {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work).await.unwrap_or(Err(StorageError::Closed)),
            Self::Inline(delay) => {
                let delay = *delay.borrow();
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                work()
            }
        }
    }
}
