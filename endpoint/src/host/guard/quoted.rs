//! ICMP errors that quote a packet of the overlay (RFC 792, RFC 4443). Pure.
//!
//! The kernel believes them by what they quote, whoever sends them: a neighbour could lower the MTU of an overlay connection or
//! break it. Overlay packets are seen by nobody outside of the tunnel, so nobody there has anything to say of them, but guests
//! and routers behind this host about packets that were passed on to them.
//!
//! The quoted header begins behind eight bytes of ICMP. nft takes it as bits of the payload ("raw payload expression"), which know no
//! sets of addresses: so the ranges are written as numbers.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::host::plan::{Desired, Direct, Protocol};
use crate::host::spans::Spans;

/// Where things are in an ICMP error of one family, in bits from its beginning.
struct Layout {
    is_v4: bool,
    ip: &'static str,
    errors: &'static str,
    /// True for the first fragment of several: what it quotes may be in another.
    is_part: &'static str,
    bits: u32,
    source: u32,
    destination: u32,
    /// The protocol of the quoted packet, eight bits.
    protocol: u32,
    /// Its destination port, of a packet without options or extension headers: those of our own tunnels have none.
    port: u32,
}

const V4: Layout = Layout {
    is_v4: true,
    ip: "ip",
    errors: "icmp type { destination-unreachable, source-quench, redirect, time-exceeded, parameter-problem }",
    is_part: "ip frag-off & 0x3fff != 0",
    bits: 32,
    source: 160,
    destination: 192,
    protocol: 136,
    port: 240,
};

const V6: Layout = Layout {
    is_v4: false,
    ip: "ip6",
    errors: "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
    is_part: "exthdr frag exists",
    bits: 128,
    source: 128,
    destination: 256,
    protocol: 112,
    port: 400,
};

/// Where a redirect of IPv6 has the address that it is about (RFC 4861 section 4.5).
const REDIRECTED: u32 = 192;

/// The chain that drops what quotes a packet to the overlay, from wherever outside of the tunnel it comes. No error is so long that
/// it comes in fragments.
pub(super) fn write_chain(out: &mut String, desired: &Desired) -> fmt::Result {
    let overlay = overlay(desired);
    for (layout, number) in [(&V4, 4), (&V6, 6)] {
        let Some(ranges) = ranges(&overlay, layout) else { continue };
        writeln!(out, "\tchain quoted{number} {{\n\t\t{} counter drop", layout.is_part)?;
        desired
            .direct
            .iter()
            .filter(|it| it.address.is_ipv4() == layout.is_v4)
            .try_for_each(|it| direct(out, it, layout))?;
        writeln!(out, "\t\t@th,{},{} {ranges} counter drop\n\t}}", layout.destination, layout.bits)?;
    }
    out.write_str("\tchain quoted {\n")?;
    for (layout, number) in [(&V4, 4), (&V6, 6)] {
        let Some(ranges) = ranges(&overlay, layout) else { continue };
        writeln!(out, "\t\t{} jump quoted{number}", layout.errors)?;
        if !layout.is_v4 {
            writeln!(out, "\t\ticmpv6 type nd-redirect @th,{REDIRECTED},{} {ranges} counter drop", layout.bits)?;
        }
    }
    out.write_str("\t}\n")
}

/// Drops what quotes a packet from the overlay and is not sent to the overlay. The hosts behind this one answer to whom they had the
/// packet from.
pub(super) fn write_answers(out: &mut String, desired: &Desired) -> fmt::Result {
    let overlay = overlay(desired);
    for (layout, number) in [(&V4, 4), (&V6, 6)] {
        let Some(ranges) = ranges(&overlay, layout) else { continue };
        let Layout { ip, errors, source, bits, .. } = layout;
        writeln!(out, "\t\t{ip} daddr != @overlay{number} {errors} @th,{source},{bits} {ranges} counter drop")?;
    }
    Ok(())
}

/// What managers inside of the overlay's addresses are told goes by the underlay, and so do errors about it.
fn direct(out: &mut String, direct: &Direct, layout: &Layout) -> fmt::Result {
    let protocol = match direct.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    let Layout { bits, destination, protocol: at, port, .. } = layout;
    let address = number(direct.address);
    writeln!(out, "\t\t@th,{at},8 {protocol} @th,{port},16 {} @th,{destination},{bits} {address} return", direct.port)
}

fn overlay(desired: &Desired) -> Vec<IpNet> {
    let mut all: Spans = desired.tunnel.iter().chain(&desired.closed).collect();
    desired.guarded.iter().for_each(|own| all.insert(*own, *own));
    all.prefixes()
}

/// The prefixes of one family, as an anonymous set of numbers. None if there are none.
fn ranges(prefixes: &[IpNet], layout: &Layout) -> Option<String> {
    let range = |prefix: &IpNet| {
        let (first, last) = (number(prefix.network()), number(prefix.broadcast()));
        if first == last { first } else { format!("{first}-{last}") }
    };
    let all: Vec<String> = prefixes.iter().filter(|it| it.addr().is_ipv4() == layout.is_v4).map(range).collect();
    if all.is_empty() { None } else { Some(format!("{{ {} }}", all.join(", "))) }
}

fn number(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:#010x}", u32::from(address)),
        IpAddr::V6(address) => format!("{:#034x}", u128::from(address)),
    }
}
