//! The header in front of a customer's packet on a link between two managers.
//!
//! Two networks may use the same addresses, so a packet that crosses a link says which network it belongs to. WireGuard
//! carries nothing but IP packets (boringtun checks the version and length fields), so the header is made to look like
//! the start of an IPv4 header, with a header length of 0 that no IPv4 packet can have (RFC 791 section 3.1). It costs 8
//! bytes where IP-in-UDP would cost 36 and more.
//!
//! ```text
//!  0                   1                   2                   3
//! +-------+-------+---------------+-------------------------------+
//! |ver = 4|len = 0|  hops left    | total length, header included |
//! +-------+-------+---------------+-------------------------------+
//! |                          network id                           |
//! +---------------------------------------------------------------+
//! ```

use crate::NetworkId;

/// Bytes the header takes.
pub const LINK_HEADER_LEN: usize = 8;

/// Links a packet may cross at most: more than any loop-free path through 9 managers has.
pub const MAX_LINK_HOPS: u8 = 8;

const FIRST_BYTE: u8 = 0x40;

/// What a link's header says of the packet behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkHeader {
    /// The network the packet belongs to.
    pub network: NetworkId,
    /// Further links it may cross.
    pub hops: u8,
}

impl LinkHeader {
    /// Whether `frame` begins as a link frame does, and not as an IP packet.
    pub fn is_link_frame(frame: &[u8]) -> bool {
        frame.first() == Some(&FIRST_BYTE)
    }

    /// The header and the packet behind it; `None` if `frame` is not a whole link frame.
    pub fn parse(frame: &[u8]) -> Option<(Self, &[u8])> {
        let (header, packet) = frame.split_first_chunk::<LINK_HEADER_LEN>()?;
        let [first, hops, length @ .., n0, n1, n2, n3] = header;
        let length = usize::from(u16::from_be_bytes(*length));
        let header = Self { network: NetworkId(u32::from_be_bytes([*n0, *n1, *n2, *n3])), hops: *hops };
        (*first == FIRST_BYTE && length == frame.len()).then_some((header, packet))
    }

    /// The header for a packet of `packet_len` bytes; `None` if both together are longer than 65,535 bytes.
    pub fn encode(&self, packet_len: usize) -> Option<[u8; LINK_HEADER_LEN]> {
        let length = u16::try_from(packet_len.checked_add(LINK_HEADER_LEN)?).ok()?.to_be_bytes();
        let network = self.network.0.to_be_bytes();
        Some([FIRST_BYTE, self.hops, length[0], length[1], network[0], network[1], network[2], network[3]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_survives_the_wire(network: u32, hops: u8, packet in proptest::collection::vec(any::<u8>(), 0..300)) {
            let header = LinkHeader { network: NetworkId(network), hops };
            let mut frame = header.encode(packet.len()).unwrap().to_vec();
            frame.extend_from_slice(&packet);
            prop_assert_eq!(LinkHeader::parse(&frame), Some((header, &packet[..])));
            prop_assert!(LinkHeader::parse(&frame[..frame.len() - 1]).is_none());
        }

        #[test]
        fn junk_is_refused_not_misread(frame in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some((header, packet)) = LinkHeader::parse(&frame) {
                prop_assert_eq!(&header.encode(packet.len()).unwrap()[..], &frame[..LINK_HEADER_LEN]);
            }
        }
    }

    #[test]
    fn no_ip_packet_is_taken_for_a_link_frame() {
        assert!(!LinkHeader::is_link_frame(&[0x45]));
        assert!(!LinkHeader::is_link_frame(&[0x60]));
        assert!(LinkHeader::encode(&LinkHeader { network: NetworkId(1), hops: 1 }, 65_528).is_none());
    }
}
