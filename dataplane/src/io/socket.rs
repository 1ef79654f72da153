//! Opening the UDP socket of a node, and its options.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use quinn_udp::UdpSocketState;
use socket2::{Domain, Protocol, Socket, Type};

use super::sys;

/// What arrives while the node is busy waits here: 10 ms at 6 Gbit/s.
const RECEIVE_QUEUE: usize = 8 << 20;
const SEND_QUEUE: usize = 4 << 20;

/// A socket bound to `address`, or to all addresses, of IPv4 and (where the host has it) IPv6.
pub(super) fn bind(address: Option<IpAddr>, port: u16) -> io::Result<Socket> {
    if let Some(address) = address {
        return open(SocketAddr::new(address, port));
    }
    open(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
        // The host has no IPv6.
        _ => open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
    })
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Sets every option of the socket, also those that quinn-udp sets otherwise.
pub(super) fn prepare(socket: &Socket, v6: bool, segmentation: bool) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(socket.into())?;
    state.enable_transport_errors(socket.into())?;
    set_whole(socket, v6, false)?;
    // Nobody reads the timestamps that quinn-udp asks for.
    sys::set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 0)?;
    if !segmentation {
        sys::set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 0)?;
    }
    set_queue(socket, libc::SO_RCVBUFFORCE, RECEIVE_QUEUE).or_else(|_| socket.set_recv_buffer_size(RECEIVE_QUEUE))?;
    set_queue(socket, libc::SO_SNDBUFFORCE, SEND_QUEUE).or_else(|_| socket.set_send_buffer_size(SEND_QUEUE))?;
    Ok(state)
}

/// Marks what the socket sends. The kernel takes the 32 bits as they are.
pub(super) fn set_mark(socket: &Socket, mark: u32) -> io::Result<()> {
    sys::set_option(socket, libc::SOL_SOCKET, libc::SO_MARK, mark.cast_signed())
}

/// Whether what the socket sends is kept whole. If so, what the kernel has heard of the path's MTU does not count either.
pub(super) fn set_whole(socket: &Socket, v6: bool, whole: bool) -> io::Result<()> {
    let v4_mode = if whole { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_DONT };
    sys::set_option(socket, libc::SOL_IP, libc::IP_MTU_DISCOVER, v4_mode)?;
    if v6 {
        let v6_mode = if whole { libc::IPV6_PMTUDISC_PROBE } else { libc::IPV6_PMTUDISC_WANT };
        sys::set_option(socket, libc::SOL_IPV6, libc::IPV6_MTU_DISCOVER, v6_mode)?;
        sys::set_option(socket, libc::SOL_IPV6, libc::IPV6_DONTFRAG, libc::c_int::from(whole))?;
    }
    Ok(())
}

/// Beyond the system's limit, which takes a privilege that managers do not need.
fn set_queue(socket: &Socket, option: libc::c_int, len: usize) -> io::Result<()> {
    sys::set_option(socket, libc::SOL_SOCKET, option, len as libc::c_int)
}
