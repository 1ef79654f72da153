//! Fragmentation of IPv4 packets (RFC 791 section 3.2, required of routers by RFC 1812 section 4.2.2.7).

use super::checksum::Sum;
use super::ip::IpHeader;

/// The header without options.
const FIXED: usize = 20;
/// The header with as many options as there can be.
const LONGEST_HEADER: usize = 60;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
/// Offsets count in units of this many bytes.
const UNIT: usize = 8;
/// Options with this bit are in every fragment, others in the first alone.
const COPIED: u8 = 0x80;

/// An IPv4 packet, cut into fragments one by one. The packet may be a fragment itself.
#[derive(Debug)]
pub struct Fragments<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    /// The most bytes in a fragment, its header included.
    mtu: usize,
    /// How much of the payload is cut off already.
    done: usize,
}

impl<'a> Fragments<'a> {
    /// Cuts `packet`, which [`IpHeader::parse`] found to be `header`, into parts of at most `mtu` bytes. There are none of a
    /// packet that may not be cut: one of IPv6, or one that says so.
    pub fn new(packet: &'a [u8], header: &IpHeader, mtu: u16) -> Self {
        let packet = if header.may_fragment { packet.get(..header.len).unwrap_or_default() } else { &[] };
        let words = packet.first().map_or(0, |byte| usize::from(byte & 0xf));
        let (header, payload) = packet.split_at_checked(words * 4).unwrap_or_default();
        Self { header, payload, mtu: usize::from(mtu), done: 0 }
    }

    /// Writes the next fragment to the start of `buffer` of at least the MTU, and says how many bytes it has.
    pub fn write_next(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if self.header.len() < FIXED || self.done >= self.payload.len() {
            return None;
        }
        let header_len =
            if self.done == 0 { self.write_first_header(buffer)? } else { self.write_later_header(buffer)? };
        let room = self.mtu.min(buffer.len()).checked_sub(header_len)?;
        let left = &self.payload[self.done..];
        let len = if left.len() > room { room / UNIT * UNIT } else { left.len() };
        if len == 0 {
            return None;
        }
        buffer[header_len..header_len + len].copy_from_slice(&left[..len]);
        let is_last = len == left.len();
        self.set_fields(&mut buffer[..header_len], len, is_last)?;
        self.done += len;
        Some(header_len + len)
    }

    fn write_first_header(&self, buffer: &mut [u8]) -> Option<usize> {
        buffer.get_mut(..self.header.len())?.copy_from_slice(self.header);
        Some(self.header.len())
    }

    /// The header with those options alone that every fragment has.
    fn write_later_header(&self, buffer: &mut [u8]) -> Option<usize> {
        const END: u8 = 0;
        const NO_OPERATION: u8 = 1;
        let buffer = buffer.get_mut(..LONGEST_HEADER)?;
        buffer[..FIXED].copy_from_slice(&self.header[..FIXED]);
        let (mut options, mut len) = (&self.header[FIXED..], FIXED);
        while let Some(&kind) = options.first().filter(|&&kind| kind != END) {
            let of_option = if kind == NO_OPERATION { 1 } else { usize::from(*options.get(1)?) };
            // Its parser has walked these options before.
            let (option, rest) = options.split_at_checked(of_option.max(1))?;
            if kind & COPIED != 0 {
                buffer[len..len + option.len()].copy_from_slice(option);
                len += option.len();
            }
            options = rest;
        }
        let padded = len.next_multiple_of(4);
        buffer[len..padded].fill(END);
        buffer[0] = 0x40 | u8::try_from(padded / 4).ok()?;
        Some(padded)
    }

    fn set_fields(&self, header: &mut [u8], payload: usize, is_last: bool) -> Option<()> {
        let flags = u16::from_be_bytes([self.header[6], self.header[7]]);
        let offset = usize::from(flags & OFFSET) + self.done / UNIT;
        let more = if is_last { flags & MORE_FRAGMENTS } else { MORE_FRAGMENTS };
        let offset = u16::try_from(offset).ok().filter(|&offset| offset <= OFFSET)?;
        let len = u16::try_from(header.len() + payload).ok()?;
        header[2..4].copy_from_slice(&len.to_be_bytes());
        header[6..8].copy_from_slice(&(more | offset).to_be_bytes());
        header[10..12].fill(0);
        let checksum = Sum::of(header).checksum();
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use etherparse::Ipv4HeaderSlice;
    use proptest::prelude::*;

    use super::*;

    /// A packet with these options, `len` bytes of payload, and an offset and flag as if it were a fragment itself.
    fn packet(options: &[u8], len: usize, flags: u16) -> Vec<u8> {
        let header = FIXED + options.len();
        let mut packet = vec![0x40 | (header / 4) as u8, 0];
        packet.extend(((header + len) as u16).to_be_bytes());
        packet.extend([0xab, 0xcd]);
        packet.extend(flags.to_be_bytes());
        packet.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(options);
        packet.extend((0..len).map(|at| (at * 7 % 251) as u8));
        packet
    }

    fn cut(packet: &[u8], mtu: u16) -> Vec<Vec<u8>> {
        let header = IpHeader::parse(packet).unwrap();
        let (mut fragments, mut buffer) = (Fragments::new(packet, &header, mtu), vec![0; usize::from(mtu)]);
        std::iter::from_fn(|| fragments.write_next(&mut buffer).map(|len| buffer[..len].to_vec())).collect()
    }

    /// What a receiver makes of fragments (RFC 791 section 3.2), from the given offset on.
    fn join(fragments: &[Vec<u8>], first: usize) -> (Vec<u8>, bool) {
        let (mut payload, mut more) = (Vec::new(), true);
        for fragment in fragments {
            let header = Ipv4HeaderSlice::from_slice(fragment).unwrap();
            assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
            assert_eq!(usize::from(header.total_len()), fragment.len());
            assert_eq!((header.identification(), header.ttl()), (0xabcd, 64));
            assert!(more, "something follows the last fragment");
            assert_eq!(usize::from(header.fragments_offset().value()) * UNIT, first + payload.len());
            payload.extend(&fragment[header.slice().len()..]);
            more = header.more_fragments();
        }
        (payload, more)
    }

    proptest! {
        #[test]
        fn fragments_are_what_was_cut(len in 1_usize..65_000, mtu in 68_u16..9000, options: bool, first in 0_u16..20, more: bool) {
            let options: &[u8] = if options { &[7, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0] } else { &[] };
            let flags = first | if more { MORE_FRAGMENTS } else { 0 };
            let packet = packet(options, len, flags);
            let fragments = cut(&packet, mtu);
            prop_assert!(fragments.iter().all(|fragment| fragment.len() <= usize::from(mtu)));
            let (payload, is_more) = join(&fragments, usize::from(first) * UNIT);
            prop_assert_eq!(payload, &packet[FIXED + options.len()..]);
            prop_assert_eq!(is_more, more);
        }

        #[test]
        fn junk_never_panics(mut packet in proptest::collection::vec(any::<u8>(), 20..2000), mtu in 0_u16..1500) {
            packet[0] = 0x40 | (packet[0] & 0xf);
            let len = packet.len() as u16;
            packet[2..4].copy_from_slice(&len.to_be_bytes());
            if IpHeader::parse(&packet).is_ok() {
                cut(&packet, mtu);
            }
        }
    }

    #[test]
    fn later_fragments_have_the_options_that_are_to_be_copied() {
        // Record route is for the first alone, router alert (RFC 2113) for all.
        let fragments = cut(&packet(&[7, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0], 3000, 0), 1300);
        let options = |fragment: &Vec<u8>| Ipv4HeaderSlice::from_slice(fragment).unwrap().options().to_vec();
        assert_eq!(options(&fragments[0]).len(), 12);
        assert!(fragments[1..].iter().all(|fragment| options(fragment) == [0x94, 4, 0, 0]));
    }

    #[test]
    fn what_may_not_be_cut_is_not() {
        assert!(cut(&packet(&[], 3000, 0x4000), 1300).is_empty());
        let mut v6 = vec![0; 2040];
        v6[0] = 0x60;
        v6[4..6].copy_from_slice(&2000_u16.to_be_bytes());
        v6[6] = 17;
        assert!(cut(&v6, 1300).is_empty());
    }
}
