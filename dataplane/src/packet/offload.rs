//! Segmentation offload: the header a TUN device puts in front of a packet, and the splitting of large packets.

use crate::packet::checksum::Sum;

/// Bytes of a [`VnetHeader`].
pub const VNET_HEADER_LEN: usize = 10;

/// The checksum at `csum_start + csum_offset` is partial: it covers only the pseudo-header.
pub const NEEDS_CSUM: u8 = 1;
/// Not to be split.
pub const GSO_NONE: u8 = 0;
/// TCP over IPv4.
pub const GSO_TCPV4: u8 = 1;
/// TCP over IPv6.
pub const GSO_TCPV6: u8 = 4;
/// UDP over either, split into datagrams (not into fragments).
pub const GSO_UDP_L4: u8 = 5;
/// Set beside a TCP type: CWR may stand in the first segment (RFC 3168).
pub const GSO_ECN: u8 = 0x80;

const UDP_HEADER_LEN: usize = 8;
/// Where the checksum stands in a TCP header (RFC 9293 section 3.1).
pub(crate) const TCP_CHECKSUM: usize = 16;
/// Where the checksum stands in a UDP header (RFC 768).
pub(crate) const UDP_CHECKSUM: usize = 6;

/// The longest headers (IP and TCP or UDP) that are split: IPv6, some extension headers, TCP with all its options.
const MAX_HEADERS: usize = 256;

const TCP_FIN_PSH: u8 = 0x09;
const TCP_CWR: u8 = 0x80;

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
    if header.gso_type == GSO_NONE {
        complete_checksum(header, frame)?;
        each(frame);
        return Ok(());
    }
    let plan = Plan::new(header, frame)?;
    let mut template = [0; MAX_HEADERS];
    let template = &mut template[..plan.headers];
    template.copy_from_slice(&frame[..plan.headers]);
    plan.field(template).copy_from_slice(&[0, 0]);
    let len = frame.len();
    for (index, payload) in (plan.headers..len).step_by(plan.size).enumerate() {
        let end = len.min(payload + plan.size);
        let packet = &mut frame[payload - plan.headers..end];
        packet[..plan.headers].copy_from_slice(template);
        plan.finish(packet, index, end == len);
        each(packet);
    }
    Ok(())
}

fn complete_checksum(header: &VnetHeader, frame: &mut [u8]) -> Result<(), SplitError> {
    if header.flags & NEEDS_CSUM == 0 {
        return Ok(());
    }
    let at = usize::from(header.csum_offset);
    let segment = frame.get_mut(usize::from(header.csum_start)..).ok_or(SplitError::Mismatch)?;
    // The partial sum stands in the field itself, so the sum over all is the sum with the pseudo-header.
    let checksum = Sum::of(segment).checksum();
    let field = segment.get_mut(at..at + 2).ok_or(SplitError::Mismatch)?;
    field.copy_from_slice(&as_field(checksum, at));
    Ok(())
}

/// To UDP a field of zero says that there is no checksum, so the other zero of one's complement is sent (RFC 768).
fn as_field(checksum: u16, offset: usize) -> [u8; 2] {
    match (checksum, offset) {
        (0, UDP_CHECKSUM) => [0xff, 0xff],
        _ => checksum.to_be_bytes(),
    }
}

/// How a large packet is split. Everything in it was checked against the packet.
struct Plan {
    v6: bool,
    udp: bool,
    /// Where the TCP or UDP header begins.
    transport: usize,
    /// Where the payload begins.
    headers: usize,
    /// Payload bytes of each packet but the last.
    size: usize,
    /// The pseudo-header's sum without the length, which differs from packet to packet.
    pseudo: Sum,
}

impl Plan {
    fn new(header: &VnetHeader, frame: &[u8]) -> Result<Self, SplitError> {
        let (udp, version) = match header.gso_type & !GSO_ECN {
            GSO_TCPV4 => (false, Some(4)),
            GSO_TCPV6 => (false, Some(6)),
            GSO_UDP_L4 => (true, None),
            _ => return Err(SplitError::Type(header.gso_type)),
        };
        let first = *frame.first().ok_or(SplitError::Truncated)?;
        let v6 = match first >> 4 {
            4 => false,
            6 => true,
            _ => return Err(SplitError::Mismatch),
        };
        let transport = usize::from(header.csum_start);
        let offset = if udp { UDP_CHECKSUM } else { TCP_CHECKSUM };
        // The length of an IPv4 header is known; behind an IPv6 header there may be extension headers.
        let ip_fits = if v6 { transport >= 40 } else { transport >= 20 && transport == usize::from(first & 0xf) * 4 };
        let fits = ip_fits
            && version.is_none_or(|version| version == first >> 4)
            && header.flags & NEEDS_CSUM != 0
            && usize::from(header.csum_offset) == offset
            && header.gso_size > 0;
        if !fits {
            return Err(SplitError::Mismatch);
        }
        let transport_len = match frame.get(transport + 12) {
            _ if udp => UDP_HEADER_LEN,
            Some(data_offset) if data_offset >> 4 >= 5 => usize::from(data_offset >> 4) * 4,
            Some(_) => return Err(SplitError::Mismatch),
            None => return Err(SplitError::Truncated),
        };
        let headers = transport + transport_len;
        if headers >= frame.len() || headers > MAX_HEADERS {
            return Err(SplitError::Truncated);
        }
        let length = u16::try_from(frame.len() - transport).map_err(|_| SplitError::Mismatch)?;
        let partial = u16::from_be_bytes([frame[transport + offset], frame[transport + offset + 1]]);
        // One's complement: adding the complement of the old length takes it out of the sum.
        let pseudo = Sum::default().with_u16(partial).with_u16(!length);
        Ok(Self { v6, udp, transport, headers, size: usize::from(header.gso_size), pseudo })
    }

    /// The checksum field of the TCP or UDP header.
    fn field<'a>(&self, packet: &'a mut [u8]) -> &'a mut [u8] {
        let at = self.transport + self.checksum_offset();
        &mut packet[at..at + 2]
    }

    fn checksum_offset(&self) -> usize {
        if self.udp { UDP_CHECKSUM } else { TCP_CHECKSUM }
    }

    /// Makes a copy of the large packet's headers right for the packet with this index.
    fn finish(&self, packet: &mut [u8], index: usize, last: bool) {
        self.finish_ip(packet, index);
        let length = (packet.len() - self.transport) as u16;
        let transport = &mut packet[self.transport..];
        if self.udp {
            transport[4..6].copy_from_slice(&length.to_be_bytes());
        } else {
            add_u32(&mut transport[4..8], index * self.size);
            transport[13] &= !(if last { 0 } else { TCP_FIN_PSH } | if index == 0 { 0 } else { TCP_CWR });
        }
        let checksum = self.pseudo.with_u16(length).with(transport).checksum();
        self.field(packet).copy_from_slice(&as_field(checksum, self.checksum_offset()));
    }

    fn finish_ip(&self, packet: &mut [u8], index: usize) {
        let total = packet.len();
        if self.v6 {
            packet[4..6].copy_from_slice(&((total - 40) as u16).to_be_bytes());
            return;
        }
        packet[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        let id = u16::from_be_bytes([packet[4], packet[5]]).wrapping_add(index as u16);
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        write_ipv4_checksum(&mut packet[..self.transport]);
    }
}

/// Writes the checksum of an IPv4 header (RFC 791 section 3.1) that is all of `header`.
pub(crate) fn write_ipv4_checksum(header: &mut [u8]) {
    header[10..12].copy_from_slice(&[0, 0]);
    let checksum = Sum::of(header).checksum();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

fn add_u32(field: &mut [u8], number: usize) {
    let old = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
    field.copy_from_slice(&old.wrapping_add(number as u32).to_be_bytes());
}

#[cfg(test)]
mod tests;
