//! The side of the agent.
//!
//! Tasks: [`Server::serve`] accepts, and each connection has a task of its own. All may be cancelled at any point: they
//! hold no state, and a client that loses its connection while the agent stops takes that as the end it waits for.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{AgentStatus, Facts, Reply, Request};
use crate::node::measure::Measure;
use crate::rotate::Rotation;
use crate::state::Lock;

/// A request is a word; more is no request.
const MAX_REQUEST: u64 = 1024;
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The control socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {socket}: choose another path with --socket, of at most 107 characters")]
pub struct BindError {
    socket: PathBuf,
    #[source]
    source: io::Error,
}

/// What a client wants from the session.
#[derive(Debug)]
pub enum Ask {
    /// Its state.
    Status(oneshot::Sender<AgentStatus>),
    /// Another key.
    RotateKey(Rotation),
    /// A probe of a manager.
    Measure(Measure),
    /// What it knows beside its state.
    Facts(oneshot::Sender<Facts>),
    /// Its end.
    Down,
}

/// The control socket. When it ends its file is removed, and then the lock of the state is released, so that the file
/// is never another agent's.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    socket: PathBuf,
    _lock: Lock,
}

impl Server {
    /// Listens on `socket`. Because of the lock, a socket that is there already is a dead agent's.
    pub fn bind(socket: &Path, lock: Lock) -> Result<Self, BindError> {
        let listener = bind(socket).map_err(|source| BindError { socket: socket.to_owned(), source })?;
        Ok(Self { listener, socket: socket.to_owned(), _lock: lock })
    }

    /// Serves clients until it is cancelled.
    pub async fn serve(self, asks: mpsc::Sender<Ask>) {
        let mut connections = JoinSet::new();
        // Dropped before the connections: whoever sees its connection end finds the lock free.
        let server = self;
        loop {
            tokio::select! {
                accepted = server.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let asks = asks.clone();
                        connections.spawn(async move {
                            if let Err(error) = converse(stream, &asks).await {
                                tracing::debug!(%error, "a control connection failed");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a control connection");
                        // It will be the same at once: most likely there is no descriptor left.
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

fn bind(socket: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = socket.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn converse(stream: UnixStream, asks: &mpsc::Sender<Ask>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(MAX_REQUEST)).read_line(&mut line).await?;
    let request: Request = serde_json::from_str(&line)?;
    let Some(reply) = answer(request, asks).await else { return Ok(()) };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    if request == Request::Down {
        // The client waits until the connection closes, which it does when the agent is gone.
        std::future::pending::<()>().await;
    }
    Ok(())
}

async fn answer(request: Request, asks: &mpsc::Sender<Ask>) -> Option<Reply> {
    match request {
        Request::Status => {
            let (reply, status) = oneshot::channel();
            asks.send(Ask::Status(reply)).await.ok()?;
            status.await.ok().map(|status| Reply::Status(Box::new(status)))
        }
        Request::RotateKey { overlap_s } => {
            let (reply, rotated) = oneshot::channel();
            let overlap = Duration::from_secs(overlap_s);
            asks.send(Ask::RotateKey(Rotation { overlap, reply })).await.ok()?;
            Some(match rotated.await.ok()? {
                Ok(key) => Reply::Rotated(key),
                Err(error) => Reply::Failed(error.to_string()),
            })
        }
        Request::Measure { manager, size, patience_ms } => {
            let (reply, measured) = oneshot::channel();
            let done = Box::new(move |it| {
                let _ = reply.send(it);
            });
            asks.send(Ask::Measure(Measure { manager, size, done })).await.ok()?;
            let patience = Duration::from_millis(u64::from(patience_ms));
            Some(Reply::Measured(timeout(patience, measured).await.ok().and_then(Result::ok)))
        }
        Request::Facts => {
            let (reply, facts) = oneshot::channel();
            asks.send(Ask::Facts(reply)).await.ok()?;
            facts.await.ok().map(|facts| Reply::Facts(Box::new(facts)))
        }
        Request::Down => asks.send(Ask::Down).await.ok().map(|()| Reply::Stopping),
    }
}
