//! How many changes a member brings into the log at a time. The others wait in the order in which they came, and nothing of
//! them is written meanwhile: a thousand at once must neither hold up the heartbeats of consensus nor fail one another.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::propose::ProposeError;

/// Changes under way at a time. Between continents a change takes a third of a second, so these are 200 changes a second there.
const AT_A_TIME: usize = 64;
/// How long a change waits for its turn. With the 1.8 seconds that the change itself may take, that is less than the 10 seconds that
/// clients wait for an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(7);

/// The same of those that are likely to be refused: anybody can have a manager ask whether a token is good.
const DOUBTFUL_AT_A_TIME: usize = 128;

/// Which others a change waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// All that are likely to be made.
    Changes,
    /// Joins that are likely to be refused.
    Doubtful,
}

/// The door that changes of a member go through. A clone is the same door.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    changes: Arc<Semaphore>,
    doubtful: Arc<Semaphore>,
}

impl Default for Door {
    fn default() -> Self {
        let [changes, doubtful] = [AT_A_TIME, DOUBTFUL_AT_A_TIME].map(|most| Arc::new(Semaphore::new(most)));
        Self { changes, doubtful }
    }
}

/// The turn of one change, until it is dropped.
#[derive(Debug)]
pub(crate) struct Passage {
    _permit: OwnedSemaphorePermit,
}

impl Door {
    /// Waits for the turn of a change in its queue. May be cancelled at any time: the turn is lost then.
    ///
    /// # Errors
    /// It did not come in time.
    pub(crate) async fn pass(&self, queue: Queue) -> Result<Passage, ProposeError> {
        let door = match queue {
            Queue::Changes => &self.changes,
            Queue::Doubtful => &self.doubtful,
        };
        match timeout(LONGEST_WAIT, Arc::clone(door).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Passage { _permit: permit }),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Busy { waited_s: LONGEST_WAIT.as_secs() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_that_wait_come_in_order_and_hear_when_it_takes_too_long() {
        let door = Door::default();
        let mut inside = Vec::new();
        for _ in 0..AT_A_TIME {
            inside.push(door.pass(Queue::Changes).await.unwrap());
        }
        let wait = || {
            let door = door.clone();
            tokio::spawn(async move { door.pass(Queue::Changes).await })
        };
        assert!(door.pass(Queue::Doubtful).await.is_ok(), "those are others");
        let (second, third) = (wait(), wait());
        yield_now().await;
        drop(inside.pop());
        let second = second.await.unwrap().unwrap();
        assert!(!third.is_finished(), "it came later");
        assert_eq!(third.await.unwrap().unwrap_err(), ProposeError::Busy { waited_s: 7 });
        drop(second);
        assert!(door.pass(Queue::Changes).await.is_ok(), "whoever gave up holds no turn");
    }
}
