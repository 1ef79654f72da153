//! Threads for work that takes long and must not take the processor from packets.
//!
//! They run at a low priority, and there are fewer of them than cores. They end when nobody can give them work any more.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tokio::sync::oneshot;

/// Ten steps below the rest of the program (see sched(7)): about a tenth of a core, if the core is busy.
const NICE: i32 = 10;
/// More would use too much memory: 19 MiB for each password.
const MAX_THREADS: usize = 4;

type Work = Box<dyn FnOnce() + Send>;

/// The threads. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct Slow(mpsc::Sender<Work>);

/// How many threads this machine is to have: one less than cores, at least one.
pub(super) fn threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    cores.saturating_sub(1).clamp(1, MAX_THREADS)
}

impl Slow {
    /// So many threads.
    pub(super) fn new(threads: usize) -> Self {
        let (work, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            let spawned = thread::Builder::new().name("slow".to_owned()).spawn(move || work_off(&queue));
            if let Err(error) = spawned {
                tracing::error!(%error, "a thread for passwords can't be started: logging in is slow or fails");
            }
        }
        Self(work)
    }

    /// Runs this on one of them, also if nobody waits for it any more. `None` if it panics or there is no thread.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, result) = oneshot::channel();
        // Whoever asked may have gone.
        let work = Box::new(move || drop(done.send(work())));
        self.0.send(work).ok()?;
        result.await.ok()
    }
}

fn work_off(queue: &Mutex<mpsc::Receiver<Work>>) {
    // On Linux this is about the calling thread alone.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "the priority of a thread can't be lowered");
    }
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = next else { return };
        // It fails for whoever asked: the thread goes on.
        drop(catch_unwind(AssertUnwindSafe(work)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nice() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn its_threads_are_nice_and_no_others_are() {
        let own = nice();
        let slow = Slow::new(2);
        for _ in 0..8 {
            assert_eq!(slow.run(nice).await, Some(NICE));
        }
        assert_eq!(nice(), own);
        assert!((1..=MAX_THREADS).contains(&threads()));
    }
}
