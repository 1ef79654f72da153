//! The UDP socket of a node.
//!
//! *Fragments.* A tunnel must go on to work where the underlay's MTU is smaller than expected, so its datagrams may be
//! fragmented: over IPv4 they carry no "don't fragment", and any router may cut them; over IPv6 this host cuts them once
//! it was told the path's MTU (RFC 8201). Slow, but nothing disappears silently. quinn-udp wants the opposite, for QUIC
//! probes the path; its socket options are put back in `socket`. For the few datagrams that measure a path they are changed
//! for as long as it takes to send them.
//!
//! *Errors.* ICMP errors come through the socket's error queue. They also make the next call on the socket fail in place
//! of what it should do; such a call is made again once the queue is empty.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::Socket;
use tokio::io::Interest;

use super::port::{Progress, Received, UnderlayPort};
use super::readiness::Readiness;
use super::socket::{bind, prepare, set_mark, set_whole};
use super::sys::{self, QueuedError};
use crate::UnderlayPath;
use crate::batch::UnderlayGroup;

/// Buffers for one system call. Each may come back with up to 64 KiB of datagrams.
const BUFFERS: usize = quinn_udp::BATCH_SIZE;
const BUFFER_LEN: usize = 65_536;

/// Buffers while they come back that full. What they hold should stay in the processor's cache until it is sent on.
const FULL_BUFFERS: usize = 4;
const FULL: usize = 16_384;

/// How often and how long a full socket is waited for.
const SEND_WAITS: usize = 2;
const SEND_WAIT: Duration = Duration::from_millis(1);

/// Messages that are taken off the error queue in one go, and how often a datagram is sent again because of one. Anybody can
/// send ICMP errors, and they must not keep this thread from packets.
const MAX_ERRORS: usize = 1024;
const MAX_RESENDS: usize = 3;

/// Errors found while sending, kept for the next receive. More than a turn's worth says nothing new.
const MAX_PENDING_ERRORS: usize = 64;

/// Which socket to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpConfig {
    /// Our address; `None` for all, of IPv4 and (where the host has it) IPv6.
    pub address: Option<IpAddr>,
    /// Our port; 0 for any.
    pub port: u16,
    /// Whether the kernel may join and split datagrams (GSO, GRO). Off is slower, for networks whose drivers get it wrong.
    pub segmentation: bool,
    /// What the kernel marks the socket's packets with, for routing rules and packet filters (`SO_MARK`). Takes a privilege.
    pub mark: Option<u32>,
}

/// A UDP socket that sends and receives in batches.
#[derive(Debug)]
pub struct UdpPort {
    socket: Socket,
    state: UdpSocketState,
    readiness: Readiness,
    segmentation: bool,
    /// The kernel has segmentation, even if it refused it once.
    can_segment: bool,
    v6: bool,
    /// The last send found the socket full to the end: do not wait for it again before it takes something.
    stalled: bool,
    unreachable: Vec<SocketAddr>,
    buffers: Vec<u8>,
    /// How many of the buffers to give the kernel next.
    offered: usize,
}

impl UdpPort {
    /// Opens the socket.
    ///
    /// # Errors
    /// The address is not ours, the port is in use, or this process may not mark packets.
    pub fn bind(config: &UdpConfig) -> io::Result<Self> {
        let socket = bind(config.address, config.port)?;
        if let Some(mark) = config.mark {
            set_mark(&socket, mark)?;
        }
        let v6 = socket.local_addr()?.is_ipv6();
        let state = prepare(&socket, v6, config.segmentation)?;
        Ok(Self {
            can_segment: config.segmentation && state.max_gso_segments() > 1,
            state,
            readiness: Readiness::new(&socket, Interest::READABLE | Interest::ERROR)?,
            segmentation: config.segmentation,
            v6,
            stalled: false,
            unreachable: Vec::with_capacity(MAX_PENDING_ERRORS),
            buffers: vec![0; BUFFERS * BUFFER_LEN],
            offered: BUFFERS,
            socket,
        })
    }

    /// The address the socket is bound to; unspecified if it is bound to all.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()?.as_socket().map(plain).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Empties the error queue if it was announced that something is in it; whether it was.
    fn take_errors(&mut self) -> io::Result<bool> {
        let Self { readiness, socket, unreachable, .. } = self;
        let mut taken = Ok(false);
        let announced = readiness.attempt(Interest::ERROR, || {
            let drained = drain_errors(socket, unreachable);
            let is_left = matches!(drained, Ok(Drained::Partly));
            taken = drained.map(|_| true);
            // What comes later is announced anew, what is left is not.
            if is_left { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        drop(announced);
        taken
    }

    /// One batch of datagrams: how many buffers are filled. `anyway` if it is not certain that they were announced.
    fn receive_batch(&mut self, metas: &mut [RecvMeta; BUFFERS], anyway: bool) -> io::Result<usize> {
        let Self { readiness, state, socket, buffers, offered, .. } = self;
        let mut buffers = buffers.chunks_exact_mut(BUFFER_LEN);
        let mut slices = std::array::from_fn::<_, BUFFERS, _>(|_| IoSliceMut::new(buffers.next().unwrap_or_default()));
        let mut count = 0;
        let mut receive = || {
            count = state.recv((&*socket).into(), &mut slices[..*offered], metas)?;
            // The kernel stops short only where there is no more, and will announce what comes then.
            if count < *offered { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        };
        let received = if anyway { receive() } else { readiness.attempt(Interest::READABLE, receive) };
        match received {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    /// Hands one system call's worth to the kernel.
    fn transmit(&mut self, path: &UnderlayPath, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let destination = if self.v6 { mapped(path.remote) } else { path.remote };
        let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: path.local };
        let mut sent = self.transmit_patiently(&transmit);
        for _ in 0..MAX_RESENDS {
            if !sent.as_ref().is_err_and(is_pending) {
                break;
            }
            drain_errors(&self.socket, &mut self.unreachable)?;
            sent = self.transmit_patiently(&transmit);
        }
        sent
    }

    /// Waits a little while the socket is full, unless it was full to the end the last time.
    fn transmit_patiently(&mut self, transmit: &Transmit<'_>) -> io::Result<()> {
        let waits = if self.stalled { 0 } else { SEND_WAITS };
        let mut sent = self.state.try_send((&self.socket).into(), transmit);
        for _ in 0..waits {
            if !would_block(&sent) {
                break;
            }
            sys::wait_writable(&self.socket, SEND_WAIT)?;
            sent = self.state.try_send((&self.socket).into(), transmit);
        }
        self.stalled = would_block(&sent);
        sent
    }

    /// Sends a group as a whole, or its datagrams one by one where the kernel refuses that.
    fn send_on(&mut self, path: &UnderlayPath, group: &UnderlayGroup<'_>) -> io::Result<()> {
        if group.bytes.len() > group.segment_size && self.max_segments() > 1 {
            match self.transmit(path, group.bytes, Some(group.segment_size)) {
                Err(error) if is_refusal(&error) || is_too_large(&error) => {}
                sent => return sent,
            }
        }
        let mut result = Ok(());
        for datagram in group.datagrams() {
            let sent = self.transmit(path, datagram, None);
            if sent.as_ref().is_err_and(is_refusal) {
                self.segment_again()?;
                return sent;
            }
            result = result.and(sent);
        }
        result
    }

    /// A single datagram was refused too, so segmentation is not to blame, which quinn-udp would never try again.
    fn segment_again(&mut self) -> io::Result<()> {
        if self.can_segment && self.state.max_gso_segments() == 1 {
            self.state = prepare(&self.socket, self.v6, self.segmentation)?;
        }
        Ok(())
    }
}

impl UnderlayPort for UdpPort {
    fn register(&mut self) -> io::Result<()> {
        self.readiness.register()
    }

    async fn readable(&self) -> io::Result<()> {
        if self.unreachable.is_empty() { self.readiness.ready().await } else { Ok(()) }
    }

    fn receive(&mut self, mut handle: impl FnMut(Received<'_>)) -> io::Result<Progress> {
        let errors = self.take_errors()?;
        self.unreachable.drain(..).for_each(|address| handle(Received::Unreachable(address)));
        let mut metas = [RecvMeta::default(); BUFFERS];
        // An error may have cut a batch short.
        let count = match self.receive_batch(&mut metas, errors) {
            Err(error) if !is_broken(&error) => {
                drain_errors(&self.socket, &mut self.unreachable)?;
                return Ok(Progress::More);
            }
            count => count?,
        };
        for (meta, buffer) in metas[..count].iter().zip(self.buffers.chunks_exact(BUFFER_LEN)) {
            let path = UnderlayPath { remote: plain(meta.addr), local: meta.dst_ip.map(|ip| ip.to_canonical()) };
            handle(Received::Datagrams { path, bytes: &buffer[..meta.len], stride: meta.stride.max(1) });
        }
        let progress = if count == self.offered { Progress::More } else { Progress::Drained };
        let bytes: usize = metas[..count].iter().map(|meta| meta.len).sum();
        self.offered = if bytes > count * FULL { FULL_BUFFERS } else { BUFFERS };
        Ok(progress)
    }

    fn send(&mut self, group: &UnderlayGroup<'_>) -> io::Result<()> {
        let sent = match self.send_on(&group.path, group) {
            // Our address on the path may be gone, because the host has moved: the kernel chooses another.
            Err(error) if group.path.local.is_some() && (is_refusal(&error) || is_unreachable(&error)) => {
                self.send_on(&UnderlayPath { local: None, ..group.path }, group)
            }
            sent => sent,
        };
        if sent.as_ref().is_err_and(is_unreachable) {
            note(&mut self.unreachable, group.path.remote);
        }
        sent
    }

    fn send_whole(&mut self, group: &UnderlayGroup<'_>) -> io::Result<()> {
        let sent = set_whole(&self.socket, self.v6, true)
            .and_then(|()| group.datagrams().try_for_each(|datagram| self.transmit(&group.path, datagram, None)));
        // Whatever came of it: tunnels depend on fragments.
        set_whole(&self.socket, self.v6, false)?;
        sent
    }

    fn max_segments(&self) -> usize {
        if self.segmentation { self.state.max_gso_segments() } else { 1 }
    }
}

/// How far an error queue was emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// To the end.
    Wholly,
    /// There may be more.
    Partly,
}

/// Empties the error queue of `socket`, or takes as much of it as may be taken in one go.
fn drain_errors(socket: &Socket, unreachable: &mut Vec<SocketAddr>) -> io::Result<Drained> {
    for _ in 0..MAX_ERRORS {
        match sys::next_error(socket)? {
            Some(QueuedError::Unreachable(address)) => note(unreachable, plain(address)),
            Some(QueuedError::Other) => {}
            None => return Ok(Drained::Wholly),
        }
    }
    Ok(Drained::Partly)
}

fn note(unreachable: &mut Vec<SocketAddr>, address: SocketAddr) {
    if unreachable.len() < MAX_PENDING_ERRORS && !unreachable.contains(&address) {
        unreachable.push(address);
    }
}

/// A socket for both versions shows IPv4 addresses mapped into IPv6 (RFC 4291 section 2.5.5.2). Inside the program they
/// are plain.
fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::from((ip.to_ipv6_mapped(), address.port())),
        IpAddr::V6(_) => address,
    }
}

fn would_block(sent: &io::Result<()>) -> bool {
    sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// The kernel does not segment, or our own address on the path is not ours.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO))
}

/// What the kernel cannot cut into datagrams that fit the path, it may still cut into fragments.
fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// The socket is of no use any more. Whatever else a receiving call says is the ICMP error of an earlier datagram, and
/// anybody can send one.
fn is_broken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL | libc::ENOMEM))
}

/// Perhaps the ICMP error of an earlier datagram, of which a sending call tells too, and no fault of this one.
fn is_pending(error: &io::Error) -> bool {
    !is_broken(error) && !is_refusal(error) && !is_too_large(error) && error.kind() != io::ErrorKind::WouldBlock
}

/// An ICMP error of an earlier datagram, or the lack of a route.
fn is_unreachable(error: &io::Error) -> bool {
    let codes =
        [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::EHOSTDOWN, libc::EPROTO, libc::EACCES];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests;
