//! Signal messages in a tunnel to a manager, one after the other, and what is answered to each.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use festoon_proto::signal::{Message, Probe};
use festoon_proto::{PrivateKey, PublicKey};
use serde::{Deserialize, Serialize};

use super::stop::Stop;
use super::tunnel::{Heard, Tunnel};
use crate::clock::now;

/// How long a session is waited for: a manager that knows the key answers in milliseconds.
const SESSION: Duration = Duration::from_millis(1500);
/// How long an answer to a probe is waited for.
const ANSWER: Duration = Duration::from_secs(3);
/// How soon a probe is said again. Far below what an endpoint may say, so nothing is dropped for coming too often.
const AGAIN: Duration = Duration::from_millis(200);
/// The probes that mark the end of what is answered to a message have sequences from here on.
pub const MARKS: u32 = 0x4000_0000;

/// `signals`.
#[derive(Debug, Args)]
pub struct SignalsArgs {
    /// A file with what is to be said, as JSON.
    #[arg(long)]
    input: PathBuf,
}

/// What is said to one manager.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Speech {
    /// Where its tunnels are.
    pub at: SocketAddr,
    /// Its key.
    pub manager: PublicKey,
    /// The private key of whoever speaks, in base64.
    pub own: String,
    /// One after the other.
    pub messages: Vec<Message>,
}

/// What was answered to one speech.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heeded {
    /// The answers to each message; nothing at all without a session.
    pub answers: Option<Vec<Vec<Message>>>,
}

/// Runs `signals`: all speeches at the same time.
///
/// # Errors
/// When the input makes no sense, or a manager falls silent that spoke before.
pub fn say(args: &SignalsArgs, stop: &Stop) -> anyhow::Result<Vec<Heeded>> {
    let speeches: Vec<Speech> = serde_json::from_slice(&std::fs::read(&args.input)?)?;
    thread::scope(|scope| {
        let threads: Vec<_> = speeches.iter().map(|speech| scope.spawn(|| hold(speech, stop))).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.map(|heeded| heeded.unwrap_or_else(|_| anyhow::bail!("a speech broke off"))).collect()
    })
}

fn hold(speech: &Speech, stop: &Stop) -> anyhow::Result<Heeded> {
    let own: PrivateKey = speech.own.parse()?;
    let mut tunnel = Tunnel::open(&own, speech.manager, speech.at)?;
    if !find_session(&mut tunnel, stop)? {
        return Ok(Heeded { answers: None });
    }
    let mut answers = Vec::new();
    for (mark, message) in (MARKS + 1..).zip(&speech.messages) {
        tunnel.say(message)?;
        answers.push(collect(&mut tunnel, mark, stop)?);
    }
    Ok(Heeded { answers: Some(answers) })
}

/// Tries to get an answer to a probe, which every neighbour gets.
fn find_session(tunnel: &mut Tunnel, stop: &Stop) -> anyhow::Result<bool> {
    let end = now() + SESSION;
    let mut due = now();
    while now() < end && !stop.is_due() {
        if now() >= due {
            // Without a session only so much waits for one.
            let _ = tunnel.say(&Message::Probe(Probe { sequence: MARKS }));
            due = now() + AGAIN;
        }
        if matches!(tunnel.receive()?, Heard::Signal(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All that comes until the manager answers a probe that was said after the message. It handles them in this order.
fn collect(tunnel: &mut Tunnel, mark: u32, stop: &Stop) -> anyhow::Result<Vec<Message>> {
    let (end, mut due) = (now() + ANSWER, now());
    let mut heard = Vec::new();
    while now() < end && !stop.is_due() {
        if now() >= due {
            tunnel.say(&Message::Probe(Probe { sequence: mark }))?;
            due = now() + AGAIN;
        }
        match tunnel.receive()? {
            Heard::Signal(Message::ProbeReply(reply)) if reply.sequence == mark => return Ok(heard),
            // Answers to the marks before come late, and to those that were said twice.
            Heard::Signal(Message::ProbeReply(reply)) if reply.sequence >= MARKS => {}
            Heard::Signal(message) => heard.push(message),
            _ => {}
        }
    }
    anyhow::bail!("the manager at {} answers no probe any more: it heard {heard:?}", tunnel.at)
}
