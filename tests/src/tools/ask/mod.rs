//! HTTP requests to a manager, as whoever holds some files and secrets makes them: with any certificate, in any protocol that a
//! listener speaks, and without a look at who answers.

mod held;
mod http;
mod repeat;
mod tls;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::stop::Stop;
use crate::clock::now;
use http::Connection;

pub use held::{Closing, Held, Until, hold};
pub use repeat::{Insisted, insist};

/// How often a request is sent again that is answered with "not now".
const TRIES: u32 = 20;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

/// `ask`, `ask-hold`, `ask-repeat`.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// A file with what is to be asked, as JSON.
    #[arg(long)]
    input: PathBuf,
}

impl AskArgs {
    fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        read(&self.input)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} makes no sense", path.display()))
}

/// Requests over one connection, which is made anew when the other end closes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Conversation {
    /// With whom.
    pub at: SocketAddr,
    /// In plain text without it.
    pub tls: Option<Tls>,
    /// One after the other.
    pub requests: Vec<Request>,
}

/// How TLS is begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The protocol that is asked for (ALPN), if any.
    pub protocol: Option<String>,
    /// A file with a key and its certificates in PEM, to be shown.
    pub identity: Option<PathBuf>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// As in `GET`.
    pub method: String,
    /// From the first slash on.
    pub path: String,
    /// Besides those that every request has.
    pub headers: Vec<(String, String)>,
    /// Sent with its length.
    pub body: Vec<u8>,
}

/// An answer. It has no status if there was none: the connection was refused or closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: Option<u16>,
    /// The word of a problem (RFC 9457), or nothing.
    pub kind: String,
    /// What followed, or the beginning of it.
    pub body: Vec<u8>,
}

/// Runs `ask`: all conversations, one after the other. Gives the answers, in the same order.
///
/// # Errors
/// When the input makes no sense, or it is stopped.
pub fn ask(args: &AskArgs, stop: &Stop) -> anyhow::Result<Vec<Vec<Answer>>> {
    args.read::<Vec<Conversation>>()?.iter().map(|conversation| converse(conversation, stop)).collect()
}

fn converse(conversation: &Conversation, stop: &Stop) -> anyhow::Result<Vec<Answer>> {
    let mut connection = Connection::new(conversation.at, conversation.tls.as_ref())?;
    conversation.requests.iter().map(|request| send(&mut connection, request, stop)).collect()
}

/// Sends a request until the answer is another than "not now": that says nothing of what the asker may do.
fn send(connection: &mut Connection, request: &Request, stop: &Stop) -> anyhow::Result<Answer> {
    let mut answer = connection.send(request);
    for _ in 1..TRIES {
        if answer.status != Some(503) {
            break;
        }
        anyhow::ensure!(stop.pause_until(now() + PAUSE), "stopped");
        answer = connection.send(request);
    }
    Ok(answer)
}
