//! The threads of consensus.
//!
//! A manager that is late with its heartbeats loses the lead, and then nothing can be changed for a while. So consensus, its
//! connections and its file have threads of their own, which go before those that answer agents and the API: a thousand
//! requests at once, or a busy machine, hold it up as little as they hold up packets.

use std::io;
use std::sync::{Arc, Once};

use festoon_dataplane::io::Priority;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::context::TokioContext;

/// Where consensus runs. A clone means the same threads, which end with the last.
#[derive(Debug, Clone)]
pub struct Threads {
    handle: Handle,
    _own: Option<Arc<Own>>,
}

/// Ends without waiting for its threads: whoever drops it may not wait.
#[derive(Debug)]
struct Own(Option<Runtime>);

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Threads come and go, and the log is to say it once.
fn go_first() {
    static SAID: Once = Once::new();
    if let Err(error) = Priority::High.take() {
        SAID.call_once(|| {
            tracing::info!(%error, "can't raise the priority of the consensus threads; they run with normal priority");
        });
    }
}

impl Threads {
    /// Threads of their own.
    ///
    /// # Errors
    /// The system has none to give.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("consensus")
            .on_thread_start(go_first)
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), _own: Some(Arc::new(Own(Some(runtime)))) })
    }

    /// Those of the caller: for a short while, or where time may stand still. Must run inside tokio.
    pub fn of_caller() -> Self {
        Self { handle: Handle::current(), _own: None }
    }

    /// Has what `work` starts and waits for run on these threads, whoever polls it.
    pub(super) fn within<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        TokioContext::new(work, self.handle.clone())
    }

    /// Runs `work` on these threads.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }
}
