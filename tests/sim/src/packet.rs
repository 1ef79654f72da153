//! Packets of the simulated applications, each with an id of its own.

use std::net::IpAddr;

use etherparse::PacketBuilder;

const PORT: u16 = 7;
const ID_LEN: usize = 8;

/// An IP packet from `from` to `to` (of one IP version) that carries `id`.
pub fn build(from: IpAddr, to: IpAddr, id: u64) -> Vec<u8> {
    const HOP_LIMIT: u8 = 64;
    let builder = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), HOP_LIMIT),
        (from, to) => PacketBuilder::ipv6(octets(from), octets(to), HOP_LIMIT),
    };
    let mut packet = Vec::with_capacity(64);
    // Writing to a vector fails only above the largest IP packet.
    let _ = builder.udp(PORT, PORT).write(&mut packet, &id.to_be_bytes());
    packet
}

/// The id of a packet that [`build`] made; none of any other.
pub fn id_of(packet: &[u8]) -> Option<u64> {
    let (_, id) = packet.split_last_chunk::<ID_LEN>()?;
    let expected = match packet.first()? >> 4 {
        4 => 28 + ID_LEN,
        _ => 48 + ID_LEN,
    };
    (packet.len() == expected).then(|| u64::from_be_bytes(*id))
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
