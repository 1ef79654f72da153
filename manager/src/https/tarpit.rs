//! Connections that gave way before TLS was done, open for a while and of no use.
//!
//! Whoever opens thousands of them opens another as soon as one is closed. If closing were all that is done, two cores would do
//! nothing but take connections and close them, and whoever comes with a good reason would wait behind those. So such a
//! connection of a stranger stays open without being read, as long as a handshake may take: it costs a file descriptor and nothing else.

use std::sync::Arc;

use socket2::{SockRef, Socket};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::HANDSHAKE_TIMEOUT;

/// Connections that are kept open, if so many files may be. Further ones are closed at once.
const ROOM: u64 = 8192;
/// The share of all files that they may be.
const SHARE: u64 = 4;
/// What the kernel takes of one that nobody reads, in bytes; it makes the least of it that it can.
const RECEIVE_BUFFER: usize = 2048;

/// The place for them. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct Tarpit(Arc<Semaphore>);

/// A second hold on a connection, so that it stays open when the first is dropped; `None` if there are no more descriptors.
pub(super) fn hold(stream: &TcpStream) -> Option<Socket> {
    SockRef::from(stream).try_clone().ok()
}

impl Tarpit {
    /// Of a program that may have so many files open; `None` if any number.
    pub(super) fn new(files: Option<u64>) -> Self {
        let room = files.map_or(ROOM, |files| (files / SHARE).min(ROOM));
        Self(Arc::new(Semaphore::new(usize::try_from(room).unwrap_or(0))))
    }

    /// Keeps a connection open, if there is room.
    pub(super) async fn keep(&self, held: Option<Socket>) {
        let (Some(held), Ok(_place)) = (held, self.0.try_acquire()) else { return };
        let _ = held.set_recv_buffer_size(RECEIVE_BUFFER);
        // The pause is all that this is for: until it is over, whoever opened the connection does not open another in its place.
        sleep(HANDSHAKE_TIMEOUT).await;
    }
}
