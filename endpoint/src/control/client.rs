//! The side of the commands.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use festoon_proto::{ManagerId, PublicKey};

use super::{AgentStatus, Facts, Reply, Request};
use crate::node::measure::Measured;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The agent asks one manager after the other, and each may take its time.
const ROTATE_TIMEOUT: Duration = Duration::from_secs(90);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// The agent could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is none.
    #[error("the agent is not running")]
    NotRunning,
    /// The socket is of no use.
    #[error("cannot ask the agent at {socket}{hint}", hint = if source.kind() == io::ErrorKind::PermissionDenied { " (are you root?)" } else { "" })]
    Io {
        /// Where.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The answer was made by another version.
    #[error("the running agent does not understand this command: it is of another version, restart it")]
    Answer,
    /// The agent says no.
    #[error("{0}")]
    Failed(String),
}

/// Asks the agent how it is.
pub fn status(socket: &Path) -> Result<AgentStatus, ControlError> {
    match Connection::open(socket)?.ask(Request::Status)? {
        Reply::Status(status) => Ok(*status),
        Reply::Failed(reason) => Err(ControlError::Failed(reason)),
        _ => Err(ControlError::Answer),
    }
}

/// Has the agent probe a manager, with a packet of `size` bytes if that matters, and waits for the answer.
pub fn measure(
    socket: &Path,
    manager: ManagerId,
    size: Option<u16>,
    patience: Duration,
) -> Result<Option<Measured>, ControlError> {
    let mut connection = Connection::open(socket)?;
    connection.patience += patience;
    let patience_ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    match connection.ask(Request::Measure { manager, size, patience_ms })? {
        Reply::Measured(measured) => Ok(measured),
        _ => Err(ControlError::Answer),
    }
}

/// Asks the agent what may help to find a fault.
pub fn facts(socket: &Path) -> Result<Facts, ControlError> {
    match Connection::open(socket)?.ask(Request::Facts)? {
        Reply::Facts(facts) => Ok(*facts),
        _ => Err(ControlError::Answer),
    }
}

/// Has the agent change its key, and waits until a manager has agreed. The one before is good for `overlap` more.
pub fn rotate_key(socket: &Path, overlap: Duration) -> Result<PublicKey, ControlError> {
    let mut connection = Connection::open(socket)?;
    connection.patience = ROTATE_TIMEOUT;
    match connection.ask(Request::RotateKey { overlap_s: overlap.as_secs() })? {
        Reply::Rotated(key) => Ok(key),
        Reply::Failed(reason) => Err(ControlError::Failed(reason)),
        _ => Err(ControlError::Answer),
    }
}

/// Stops the agent and waits until it has.
pub fn down(socket: &Path) -> Result<(), ControlError> {
    let mut connection = Connection::open(socket)?;
    connection.ask(Request::Down)?;
    connection.wait_for_the_end()
}

struct Connection<'a> {
    socket: &'a Path,
    stream: BufReader<UnixStream>,
    /// How long it waits for an answer.
    patience: Duration,
}

impl<'a> Connection<'a> {
    fn open(socket: &'a Path) -> Result<Self, ControlError> {
        match UnixStream::connect(socket) {
            Ok(stream) => Ok(Self { socket, stream: BufReader::new(stream), patience: ANSWER_TIMEOUT }),
            // A socket without a listener is what a killed agent leaves.
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind()) => {
                Err(ControlError::NotRunning)
            }
            Err(source) => Err(ControlError::Io { socket: socket.to_owned(), source }),
        }
    }

    fn ask(&mut self, request: Request) -> Result<Reply, ControlError> {
        let mut line = serde_json::to_string(&request).map_err(|_| ControlError::Answer)?;
        line.push('\n');
        let answer = self.exchange(&line).map_err(|source| self.failed(source))?;
        serde_json::from_str(&answer).map_err(|_| ControlError::Answer)
    }

    fn exchange(&mut self, line: &str) -> io::Result<String> {
        self.stream.get_ref().set_read_timeout(Some(self.patience))?;
        self.stream.get_mut().write_all(line.as_bytes())?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer)?;
        Ok(answer)
    }

    fn wait_for_the_end(&mut self) -> Result<(), ControlError> {
        let ended = self.stream.get_ref().set_read_timeout(Some(STOP_TIMEOUT));
        let ended = ended.and_then(|()| self.stream.read_to_end(&mut Vec::new()));
        ended.map(drop).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> ControlError {
        ControlError::Io { socket: self.socket.to_owned(), source }
    }
}
