//! System calls that no safe interface offers. The only `unsafe` code of this package.
#![expect(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use libc::{c_int, c_uint};
use socket2::SockAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// ICMP "destination unreachable" (RFC 792), and the code that says "fragmentation needed" instead.
const ICMP_UNREACHABLE: u8 = 3;
const ICMP_FRAGMENTATION_NEEDED: u8 = 4;
/// ICMPv6 "destination unreachable" (RFC 4443 section 3.1).
const ICMP6_UNREACHABLE: u8 = 1;

/// Room for the control message that describes an error, and the address of whoever reported it.
const CONTROL_LEN: usize = 256;

/// Registers `fd` with the runtime that this is called in.
pub(super) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, always gives the same descriptor, and stays open as long as its owner has it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// The descriptor of a device that shows it only as a number.
pub(super) fn borrow(device: &tun::Device) -> BorrowedFd<'_> {
    // SAFETY: the device keeps its descriptor open as long as it is borrowed.
    unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) }
}

/// `setsockopt` with a number.
pub(super) fn set_option(fd: &impl AsRawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives until the call returns.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<c_int>() as libc::socklen_t)
    })
}

/// Tells a TUN device which offloads its reader takes (`TUN_F_*`).
pub(super) fn set_offloads(fd: &impl AsRawFd, offloads: c_uint) -> io::Result<()> {
    // SAFETY: this request takes its argument by value.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads)) })
}

/// Tells a TUN device how many bytes the header in front of each packet has.
pub(super) fn set_vnet_header_len(fd: &impl AsRawFd, len: c_int) -> io::Result<()> {
    // SAFETY: this request reads one `int` through its pointer, and `len` is one that outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const len) })
}

/// Waits until `fd` takes more to send, has an error, or `limit` (at least a millisecond) is over.
pub(super) fn wait_writable(fd: &impl AsRawFd, limit: Duration) -> io::Result<()> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    let millis = c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the pointer is to one `pollfd`, as the count says, and outlives the call.
    check(unsafe { libc::poll(&raw mut poll, 1, millis) })
}

/// Writes two pieces as one, which a TUN device takes for one frame.
pub(super) fn write_both(fd: &impl AsRawFd, first: &[u8], second: &[u8]) -> io::Result<usize> {
    let pieces =
        [first, second].map(|piece| libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() });
    // SAFETY: both pieces are borrowed until the call returns, and the kernel only reads them.
    let written = unsafe { libc::writev(fd.as_raw_fd(), pieces.as_ptr(), pieces.len() as c_int) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// The next message of a socket's error queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueuedError {
    /// This address, to which we had sent, cannot be reached.
    Unreachable(SocketAddr),
    /// Something that is no reason to look elsewhere, such as a datagram that is too large for the path.
    Other,
}

/// Takes one message off the error queue of a socket with `IP_RECVERR`; `None` if it is empty.
///
/// quinn-udp tells who reported an error, which is often a router on the way. What counts here is whom we had sent to.
pub(super) fn next_error(fd: &impl AsRawFd) -> io::Result<Option<QueuedError>> {
    let mut control = Control([0; CONTROL_LEN]);
    match receive_error(fd.as_raw_fd(), &mut control) {
        Ok((header, destination)) => Ok(Some(describe(&header, destination.as_socket()))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Aligned as the control messages in it must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL_LEN]);

fn receive_error(fd: RawFd, control: &mut Control) -> io::Result<(libc::msghdr, SockAddr)> {
    let mut no_payload = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    // SAFETY: all bytes zero are a `msghdr` without buffers.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut no_payload;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_LEN as _;
    let receive = |storage: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| {
        header.msg_name = storage.cast();
        // SAFETY: `try_init` passes a valid length of the storage it passes along.
        header.msg_namelen = unsafe { *len };
        // SAFETY: name, payload and control describe buffers that outlive the call, with their true lengths.
        check(unsafe { libc::recvmsg(fd, &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) as c_int })?;
        // SAFETY: as above; the kernel wrote at most as many bytes of the name as it was given.
        unsafe { *len = header.msg_namelen };
        Ok(())
    };
    // SAFETY: on success the closure has let the kernel write the address and has set its length.
    let ((), destination) = unsafe { SockAddr::try_init(receive) }?;
    // Both were buffers of this function, or of `try_init`.
    header.msg_iov = std::ptr::null_mut();
    header.msg_name = std::ptr::null_mut();
    Ok((header, destination))
}

fn describe(header: &libc::msghdr, destination: Option<SocketAddr>) -> QueuedError {
    // SAFETY: the kernel filled the header, and its control buffer outlives the borrow.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give only messages whose header lies within the control buffer.
        let libc::cmsghdr { cmsg_level: level, cmsg_type: kind, cmsg_len: len, .. } = unsafe { *message };
        let is_error = matches!((level, kind), (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR));
        // SAFETY: this only computes a length.
        let needed = unsafe { libc::CMSG_LEN(size_of::<libc::sock_extended_err>() as c_uint) };
        if is_error && len as u64 >= u64::from(needed) {
            // SAFETY: the message is long enough for the structure, which may be read unaligned.
            let error = unsafe { libc::CMSG_DATA(message).cast::<libc::sock_extended_err>().read_unaligned() };
            return judge(&error, destination);
        }
        // SAFETY: `message` came from the same header.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    QueuedError::Other
}

fn judge(error: &libc::sock_extended_err, destination: Option<SocketAddr>) -> QueuedError {
    let unreachable = match (error.ee_origin, error.ee_type) {
        (libc::SO_EE_ORIGIN_ICMP, ICMP_UNREACHABLE) => error.ee_code != ICMP_FRAGMENTATION_NEEDED,
        (libc::SO_EE_ORIGIN_ICMP6, ICMP6_UNREACHABLE) => true,
        _ => false,
    };
    match destination {
        Some(destination) if unreachable => QueuedError::Unreachable(destination),
        _ => QueuedError::Other,
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
