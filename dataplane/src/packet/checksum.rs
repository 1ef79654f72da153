//! The Internet checksum (RFC 1071) and the pseudo-headers of TCP and UDP (RFC 9293 section 3.1, RFC 8200 section 8.1).

/// A one's complement sum that is not folded yet. Sums of parts add up if every part but the last has an even length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum over `bytes`, an odd last byte padded with zero.
    pub fn of(bytes: &[u8]) -> Self {
        Self::default().with(bytes)
    }

    /// This sum and that over `bytes`.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        // Words are added in the machine's own order and swapped once at the end (RFC 1071 section 2(B)). A 64-bit sum
        // of 32-bit words cannot overflow below 16 GiB, so the loop has no carries and the compiler makes vectors of it.
        let (words, rest) = bytes.as_chunks::<4>();
        let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        // Folding once a part keeps any number of parts from overflowing.
        let sum = sum + u64::from(u32::from_ne_bytes(last));
        Self((self.0 & 0xffff_ffff) + (self.0 >> 32) + (sum & 0xffff_ffff) + (sum >> 32))
    }

    /// This sum and a single 16-bit number.
    #[must_use]
    pub fn with_u16(self, number: u16) -> Self {
        Self(self.0 + u64::from(number.to_be()))
    }

    /// The 16-bit sum, not complemented: what a checksum field holds while the rest is left to a device.
    pub fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::from_be(sum as u16)
    }

    /// The checksum: the complement of the folded sum. Over data that contains a right checksum it is 0.
    pub fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// The sum over the pseudo-header of a TCP or UDP segment: both addresses as they stand in the IP header (8 or 32
/// bytes), the protocol and the length of the segment in bytes.
pub fn pseudo_header(addresses: &[u8], protocol: u8, segment_len: usize) -> Sum {
    let [high, low] = [(segment_len >> 16) as u16, segment_len as u16];
    Sum::of(addresses).with_u16(high).with_u16(low).with_u16(u16::from(protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        assert_eq!(Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
    }

    proptest! {
        #[test]
        fn it_equals_the_slow_definition(bytes in proptest::collection::vec(any::<u8>(), 0..3000), cut in 0usize..3000) {
            prop_assert_eq!(Sum::of(&bytes).checksum(), slow(&bytes));
            let cut = (cut & !1).min(bytes.len() & !1);
            prop_assert_eq!(Sum::of(&bytes[..cut]).with(&bytes[cut..]).checksum(), slow(&bytes));
        }
    }
}
