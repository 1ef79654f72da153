//! Connections and streams that are held open, until the other end closes them.

use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::http::{Connection, Open};
use super::{AskArgs, Conversation};
use crate::clock::unix_ms;
use crate::tools::stop::Stop;

/// How soon it is seen that it is time to stop.
const LOOK: Duration = Duration::from_millis(20);

/// A connection to be held open. Its requests are sent first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    /// What it is called in the report.
    pub name: String,
    /// How it begins.
    pub conversation: Conversation,
    /// How much of the answer to the last request is waited for.
    pub until: Until,
}

/// When a connection counts as open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// Once the last answer is there.
    Answer,
    /// Once that begins: it is a stream.
    Head,
    /// Once the last request was sent: the answer waits for something to happen.
    Sent,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// What it is called.
    pub name: String,
    /// When the other end closed it, in milliseconds since 1970; none if it did not.
    pub closed_unix_ms: Option<u64>,
}

/// Runs `ask-hold`: says on standard error when all are open. Ends when all are closed, or when it is stopped.
///
/// # Errors
/// When one can't be opened, or is answered with anything but success.
pub fn hold(args: &AskArgs, stop: &Stop) -> anyhow::Result<Vec<Closing>> {
    let all: Vec<Held> = args.read()?;
    let mut opened = Vec::new();
    for held in &all {
        opened.push(open(held).with_context(|| format!("{} is not open", held.name))?);
    }
    eprintln!("all are open");
    let wait = |mut open: Open, stop: Stop| {
        thread::spawn(move || {
            while open.is_open_after(LOOK) {
                if stop.is_due() {
                    return None;
                }
            }
            Some(unix_ms())
        })
    };
    let waiting: Vec<_> = opened.into_iter().map(|open| wait(open, stop.clone())).collect();
    let closed = waiting.into_iter().map(|thread| thread.join().unwrap_or_default());
    Ok(all.into_iter().zip(closed).map(|(held, closed_unix_ms)| Closing { name: held.name, closed_unix_ms }).collect())
}

fn open(held: &Held) -> anyhow::Result<Open> {
    let Conversation { at, tls, requests } = &held.conversation;
    let mut connection = Connection::new(*at, tls.as_ref())?;
    let (last, first) = requests.split_last().context("nothing is asked")?;
    for request in first {
        let answer = connection.send(request);
        anyhow::ensure!(answer.status.is_some_and(|status| status < 300), "{} gets {answer:?}", request.path);
    }
    if held.until == Until::Answer {
        let answer = connection.send(last);
        anyhow::ensure!(answer.status.is_some_and(|status| status < 300), "{} gets {answer:?}", last.path);
        return connection.take();
    }
    let mut open = connection.take()?;
    open.write(*at, last)?;
    if held.until == Until::Head {
        let status = open.read_status()?;
        anyhow::ensure!(status < 300, "{} gets {status}", last.path);
    }
    Ok(open)
}
