//! What a customer would notice: a ping every 5 ms and a TCP stream whose every byte is checked.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::wait_until_slowly;
use crate::lab::{Echo, Host, Receiver, Stream};
use crate::tools::outcome::EchoReport;
use crate::tools::stream::Sent;

const PING_INTERVAL: Duration = Duration::from_millis(5);
const STREAM_MBIT_PER_S: f64 = 20.0;
const BEGIN: Duration = Duration::from_secs(10);

/// Of the next receiver: several may be on one host.
static PORT: AtomicU16 = AtomicU16::new(5001);

/// Both, from one host to another, until finished.
#[derive(Debug)]
pub struct Traffic {
    ping: Echo,
    stream: Stream,
    /// Ends with the traffic.
    _receiver: Receiver,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The ping.
    pub ping: EchoReport,
    /// The stream.
    pub stream: Sent,
}

impl Traffic {
    /// Starts both and waits until they flow. `address` is the one of `to` in the overlay.
    ///
    /// # Errors
    /// When they do not.
    pub fn start(from: &Host, to: &Host, address: IpAddr) -> anyhow::Result<Self> {
        let receiver = Receiver::start(to, SocketAddr::new(address, PORT.fetch_add(1, Ordering::Relaxed)))?;
        let mut ping = Echo::ping(from, address, PING_INTERVAL)?;
        ping.wait_first(BEGIN)?;
        let stream = Stream::start(from, receiver.at(), STREAM_MBIT_PER_S)?;
        let port = format!("( sport = :{} )", receiver.at().port());
        wait_until_slowly(BEGIN, "a TCP connection", || {
            Ok(!to.run("ss", &["-Htn", "state", "established", &port])?.is_empty())
        })?;
        Ok(Self { ping, stream, _receiver: receiver })
    }

    /// Ends both and waits until the receiver has confirmed the last byte.
    ///
    /// # Errors
    /// When there is no report.
    pub fn finish(self) -> anyhow::Result<Outcome> {
        let stream = self.stream.finish()?;
        Ok(Outcome { ping: self.ping.finish()?, stream })
    }
}
