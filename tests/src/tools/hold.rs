//! TCP connections that say nothing: for a server that must not wait for them.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::stop::Stop;
use crate::clock::now;

/// How soon a connection that the server closed is replaced.
const LOOK: Duration = Duration::from_millis(50);
const CONNECT_LIMIT: Duration = Duration::from_millis(500);

/// `tcp-hold`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// How many connections are held at a time. One that the server closes is replaced.
    #[arg(long, default_value_t = 100)]
    count: usize,
}

/// What `tcp-hold` did.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReport {
    /// Connections that the server's kernel took.
    pub opened: u64,
    /// Connections that the server closed.
    pub closed: u64,
}

/// Runs `tcp-hold`.
#[must_use]
pub fn hold(args: &HoldArgs, stop: &Stop) -> HoldReport {
    let mut report = HoldReport::default();
    let mut held: Vec<TcpStream> = Vec::new();
    while !stop.is_due() {
        let before = held.len();
        held.retain_mut(is_open);
        report.closed += (before - held.len()) as u64;
        while held.len() < args.count && !stop.is_due() {
            let Some(stream) = connect(args.to) else { break };
            report.opened += 1;
            held.push(stream);
        }
        if !stop.pause_until(now() + LOOK) {
            break;
        }
    }
    report
}

fn connect(to: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, CONNECT_LIMIT).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

fn is_open(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(read) => read > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_connection_is_open_until_the_other_end_closes_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut stream = connect(listener.local_addr().expect("bound")).expect("it listens");
        let (other, _) = listener.accept().expect("it connected");
        assert!(is_open(&mut stream));
        drop(other);
        let deadline = now() + Duration::from_secs(10);
        while is_open(&mut stream) {
            assert!(now() < deadline, "it never notices");
            std::thread::yield_now();
        }
    }
}
