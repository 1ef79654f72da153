//! A receiver of webhooks: takes everything, and says what was lost of the order, or came again. HTTP/1.1 as RFC 9112 has it, as
//! far as a sender speaks it whose bodies have a length.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::stop::{POLL, Stop};
use crate::clock::now;

/// Where to listen.
#[derive(Debug, Args)]
pub struct WebhooksArgs {
    /// Where to listen.
    #[arg(long)]
    pub listen: SocketAddr,
}

/// What came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhooksReport {
    /// Requests.
    pub requests: u64,
    /// Events about an endpoint, each counted once.
    pub events: u64,
    /// Events that came before.
    pub repeated: u64,
    /// Events of the audit log that came, for the first time, behind a later one about the same endpoint.
    pub out_of_order: u64,
}

#[derive(Debug, Default)]
struct Received {
    report: WebhooksReport,
    ids: HashSet<String>,
    /// The number in the audit log of the last event about each endpoint.
    last: HashMap<String, u64>,
}

impl Received {
    fn take(&mut self, body: &Value) {
        self.report.requests += 1;
        let data = &body["data"];
        let (Some(id), Some(endpoint)) = (data["id"].as_str(), data["endpoint"].as_str()) else { return };
        if !self.ids.insert(id.to_owned()) {
            self.report.repeated += 1;
            return;
        }
        self.report.events += 1;
        let number = id.strip_prefix("audit.").and_then(|id| id.rsplit('.').next()?.parse::<u64>().ok());
        let Some(number) = number else { return };
        let last = self.last.entry(endpoint.to_owned()).or_default();
        if number < *last {
            self.report.out_of_order += 1;
        }
        *last = number.max(*last);
    }
}

/// Runs `webhooks`.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(args: &WebhooksArgs, stop: &Stop) -> anyhow::Result<WebhooksReport> {
    let listener = TcpListener::bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    listener.set_nonblocking(true)?;
    eprintln!("listening on {}", args.listen);
    let received = Mutex::<Received>::default();
    thread::scope(|scope| {
        while !stop.is_due() {
            match listener.accept() {
                Ok((stream, _)) => drop(scope.spawn(|| serve_one(stream, &received, stop))),
                Err(_) => drop(stop.pause_until(now() + POLL)),
            }
        }
    });
    Ok(lock(&received).report.clone())
}

/// One connection. Whatever breaks it is the sender's matter: what was not answered it sends again.
fn serve_one(stream: TcpStream, received: &Mutex<Received>, stop: &Stop) {
    let is_set = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(POLL)));
    if is_set.and_then(|()| stream.set_nodelay(true)).is_err() {
        return;
    }
    let mut stream = BufReader::new(stream);
    while !stop.is_due() {
        match stream.fill_buf() {
            Ok([]) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => return,
        }
        // The rest of a request is on its way.
        let patience = stream.get_ref().set_read_timeout(Some(Duration::from_secs(5)));
        let Some(body) = patience.ok().and_then(|()| read_request(&mut stream).ok()) else { return };
        lock(received).take(&body);
        let answered = stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        if answered.and_then(|()| stream.get_ref().set_read_timeout(Some(POLL))).is_err() {
            return;
        }
    }
}

fn read_request(stream: &mut impl BufRead) -> anyhow::Result<Value> {
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line)?;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    // Nothing panics while holding it.
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_or_late_is_counted() {
        let mut received = Received::default();
        for (endpoint, number) in [("e1", 4), ("e2", 5), ("e1", 7), ("e1", 7), ("e2", 6), ("e1", 6)] {
            received.take(&serde_json::json!({"data": {"id": format!("audit.0.{number}"), "endpoint": endpoint}}));
        }
        received.take(&serde_json::json!({"data": {"id": "audit.0.9"}}));
        let expected = WebhooksReport { requests: 7, events: 5, repeated: 1, out_of_order: 0 };
        // 6 came for both, so it counts once.
        assert_eq!(received.report, WebhooksReport { events: 4, repeated: 2, ..expected });
        received.take(&serde_json::json!({"data": {"id": "audit.0.3", "endpoint": "e1"}}));
        assert_eq!(received.report.out_of_order, 1);
    }

    #[test]
    fn a_request_ends_where_its_length_says() {
        let request = "POST / HTTP/1.1\r\nContent-Length: 2\r\nx: y\r\n\r\n{}POST";
        let mut stream = request.as_bytes();
        assert_eq!(read_request(&mut stream).expect("a request"), serde_json::json!({}));
        assert_eq!(stream, b"POST");
    }
}
