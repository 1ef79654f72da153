//! Requests that are sent again and again, to see from when on they are refused.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::http::Connection;
use super::{Answer, AskArgs, Conversation, Request};
use crate::clock::{now, unix_ms};
use crate::hostile::refusal::is_refusal;
use crate::tools::stop::Stop;

/// Between two requests of one conversation. An endpoint may ask a manager 20 times a second, and a third of what it asks counts.
const PAUSE: Duration = Duration::from_millis(25);

/// What a conversation that was repeated got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insisted {
    /// Answers that were more than a refusal.
    pub answered: u64,
    /// When the last of them came, in milliseconds since 1970.
    pub answered_unix_ms: Option<u64>,
    /// Refusals since then.
    pub refused: u64,
    /// Answers by path and status, for people.
    pub seen: BTreeMap<String, u64>,
}

/// Runs `ask-repeat`: repeats all conversations, each in a thread of its own, until it is stopped.
///
/// # Errors
/// When the input makes no sense.
pub fn insist(args: &AskArgs, stop: &Stop) -> anyhow::Result<Vec<Insisted>> {
    let all: Vec<Conversation> = args.read()?;
    let mut threads = Vec::new();
    for conversation in all {
        let connection = Connection::new(conversation.at, conversation.tls.as_ref())?;
        let stop = stop.clone();
        threads.push(thread::spawn(move || repeat(&conversation, connection, &stop)));
    }
    Ok(threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect())
}

fn repeat(conversation: &Conversation, mut connection: Connection, stop: &Stop) -> Insisted {
    let mut insisted = Insisted::default();
    for request in conversation.requests.iter().cycle() {
        if !stop.pause_until(now() + PAUSE) {
            break;
        }
        let answer = connection.send(request);
        insisted.note(request, &answer);
    }
    insisted
}

impl Insisted {
    fn note(&mut self, request: &Request, answer: &Answer) {
        let status = answer.status.map_or_else(|| "closed".to_owned(), |status| status.to_string());
        *self.seen.entry(format!("{} {status} {}", request.path, answer.kind)).or_default() += 1;
        // One that can't tell yet answers nothing.
        if is_refusal(&request.path, answer) || answer.status == Some(503) {
            self.refused += 1;
        } else {
            self.answered += 1;
            self.answered_unix_ms = Some(unix_ms());
            self.refused = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_count_from_the_last_answer_on() {
        let request =
            Request { method: "GET".to_owned(), path: "/x".to_owned(), headers: Vec::new(), body: Vec::new() };
        let refused = Answer { status: Some(401), kind: "bad-credential".to_owned(), body: Vec::new() };
        let answered = Answer { status: Some(200), ..Answer::default() };
        let mut insisted = Insisted::default();
        for answer in [&refused, &answered, &refused, &Answer::default()] {
            insisted.note(&request, answer);
        }
        assert_eq!((insisted.answered, insisted.refused), (1, 2));
        assert_eq!(insisted.seen["/x 401 bad-credential"], 2);
    }
}
