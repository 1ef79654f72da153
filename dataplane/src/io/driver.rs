//! The driver: one task on a thread of its own that owns a node and its ports.
//!
//! Tasks: only this one. It waits for any source to have something, then serves all in one [turn](super::turn), and waits
//! again. It is stopped between two turns, never inside one, so no half of a turn is ever lost; each of the futures it
//! waits for may be cancelled by another being ready: readiness stays until it was used, a command is received or
//! stays in its channel, a timer is set anew, and a place in the queue for the event channel is taken again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep_until};

use super::counters::IoCounters;
use super::port::{OverlayPort, UnderlayPort};
use super::turn::Machine;
use crate::Node;

/// Commands that may wait for the node.
const COMMAND_QUEUE: usize = 256;

/// Stands for "no timer": far enough that waking up then costs nothing.
const FAR: Duration = Duration::from_secs(3600);

/// The nice value of a thread (see sched(7)): how it shares a busy core with other threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// What the program was started with.
    Normal,
    /// Nice -10. Another thread at nice 0 still gets a tenth of the core.
    High,
    /// Nice -15, for a manager's packets. A thread with [`Priority::High`] still gets a quarter of the core.
    Highest,
}

impl Priority {
    /// Gives it to the calling thread.
    ///
    /// # Errors
    /// The program may not have more than others: that takes `CAP_SYS_NICE` or `RLIMIT_NICE`.
    pub fn take(self) -> io::Result<()> {
        let nice = match self {
            Self::Normal => return Ok(()),
            Self::High => -10,
            Self::Highest => -15,
        };
        // On Linux this is about the calling thread alone.
        Ok(rustix::process::setpriority_process(None, nice)?)
    }
}

/// Why a driver cannot start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// No thread or no runtime for it.
    #[error("cannot start the packet thread: {0}")]
    Start(#[source] io::Error),
    /// The socket or the device is gone.
    #[error("the packet thread lost its socket or device: {0}; restart the service")]
    Port(#[source] io::Error),
    /// It ended without a word, which is a fault of the program.
    #[error("the packet thread ended unexpectedly; please report this")]
    Ended,
}

/// A running driver. Dropping the handle stops it too, without waiting for it.
#[derive(Debug)]
pub struct DriverHandle<N: Node> {
    commands: mpsc::Sender<N::Command>,
    stop: oneshot::Sender<()>,
    /// What became of it, until somebody was told.
    finished: Option<oneshot::Receiver<Result<N, DriverError>>>,
    thread: thread::JoinHandle<()>,
    counters: Arc<IoCounters>,
}

/// Starts a thread that drives `node` between the ports. What the node tells goes to `events`; while that channel is
/// full, the node keeps it.
///
/// # Errors
/// The ports cannot be waited for, or there is no thread to be had.
pub fn spawn<N, U, O>(
    node: N,
    mut underlay: U,
    mut overlay: O,
    events: mpsc::Sender<N::Event>,
    priority: Priority,
) -> Result<DriverHandle<N>, DriverError>
where
    N: Node + Send + 'static,
    N::Command: Send,
    N::Event: Send,
    U: UnderlayPort,
    O: OverlayPort,
{
    let runtime = Builder::new_current_thread().enable_all().build().map_err(DriverError::Start)?;
    {
        let _inside = runtime.enter();
        underlay.register().map_err(DriverError::Start)?;
        overlay.register().map_err(DriverError::Start)?;
    }
    let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
    let (stop, stopped) = oneshot::channel();
    let (finish, finished) = oneshot::channel();
    let counters = Arc::new(IoCounters::default());
    let counted = Arc::clone(&counters);
    let thread = thread::Builder::new()
        .name("packets".to_owned())
        .spawn(move || {
            if let Err(error) = priority.take() {
                tracing::info!(%error, "can't raise the priority of the packet thread; it runs with normal priority");
            }
            let machine = Machine::new(node, underlay, overlay, (command_queue, events), counted);
            let result = runtime.block_on(run(machine, stopped));
            // Nobody may be waiting for it any more.
            drop(finish.send(result.map_err(DriverError::Port)));
        })
        .map_err(DriverError::Start)?;
    Ok(DriverHandle { commands, stop, finished: Some(finished), thread, counters })
}

impl<N: Node> DriverHandle<N> {
    /// Where commands for the node go. Clone it freely.
    pub fn commands(&self) -> &mpsc::Sender<N::Command> {
        &self.commands
    }

    /// What the shell could and could not deliver.
    pub fn counters(&self) -> &Arc<IoCounters> {
        &self.counters
    }

    /// Waits until the driver ends by itself, which it does only if something is broken. May be cancelled at any time.
    pub async fn failed(&mut self) -> DriverError {
        let Some(finished) = &mut self.finished else { return DriverError::Ended };
        let result = finished.await;
        self.finished = None;
        match result {
            Ok(Err(error)) => error,
            Ok(Ok(_)) | Err(_) => DriverError::Ended,
        }
    }

    /// Stops the driver after the commands that were sent before, and gives the node back. The ports are closed then.
    ///
    /// # Errors
    /// The driver had ended before.
    pub async fn shutdown(self) -> Result<N, DriverError> {
        // It may have ended by itself.
        let _ = self.stop.send(());
        let result = match self.finished {
            Some(finished) => finished.await.unwrap_or(Err(DriverError::Ended)),
            None => Err(DriverError::Ended),
        };
        match self.thread.join() {
            Ok(()) => result,
            Err(_) => Err(DriverError::Ended),
        }
    }
}

/// Waits and serves until it is stopped or a port breaks.
async fn run<N: Node, U: UnderlayPort, O: OverlayPort>(
    mut machine: Machine<N, U, O>,
    mut stop: oneshot::Receiver<()>,
) -> io::Result<N> {
    let mut timer = Box::pin(sleep_until(Instant::now() + FAR));
    let mut again = true;
    // An empty channel, a closed one (the handle is gone) and a word all differ; only the first means to go on.
    while matches!(stop.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
        let command = if again {
            // Lets the runtime look at the ports and the clock.
            tokio::task::yield_now().await;
            None
        } else {
            arm(timer.as_mut(), machine.node.poll_timeout());
            wait(&mut machine, timer.as_mut(), &mut stop).await?
        };
        again = machine.turn(command)?;
    }
    Ok(machine.finish())
}

/// Sets the timer to `timeout`, unless it goes off before that anyhow: then it is set once more, and not for every
/// packet that moves the time out.
fn arm(timer: Pin<&mut Sleep>, timeout: Option<std::time::Instant>) {
    let at = timeout.map_or_else(|| Instant::now() + FAR, Instant::from_std);
    if at < timer.deadline() || timer.is_elapsed() {
        timer.reset(at);
    }
}

/// Waits until any source has something, and gives the command that it was, if it was one.
async fn wait<N: Node, U: UnderlayPort, O: OverlayPort>(
    machine: &mut Machine<N, U, O>,
    timer: Pin<&mut Sleep>,
    stop: &mut oneshot::Receiver<()>,
) -> io::Result<Option<N::Command>> {
    let Machine { underlay, overlay, commands, events, held, .. } = machine;
    tokio::select! {
        ready = underlay.readable() => ready?,
        ready = overlay.readable() => ready?,
        // When nobody can send commands any more, this branch is out of play and the others are waited for.
        Some(command) = commands.recv() => return Ok(Some(command)),
        Ok(place) = events.reserve(), if held.is_some() => {
            if let Some(event) = held.take() {
                place.send(event);
            }
        }
        () = timer => {}
        _ = stop => {}
    }
    Ok(None)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the driver is the shell")]
mod tests;
