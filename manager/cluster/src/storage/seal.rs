//! Values with a checksum, so that a bit which flipped on the disk is noticed.

use ring::digest::{Context, SHA256};

const CHECKSUM_LEN: usize = 8;

/// The first 64 bits of a SHA-256. Against accidents; whoever can write the file can do so with a right checksum.
pub(super) fn checksum(parts: &[&[u8]]) -> [u8; CHECKSUM_LEN] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut first = [0; CHECKSUM_LEN];
    first.copy_from_slice(&context.finish().as_ref()[..CHECKSUM_LEN]);
    first
}

/// `value` behind its checksum. The key goes into the checksum too: a value in the wrong place is damage.
pub(super) fn seal(key: u64, value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(CHECKSUM_LEN + value.len());
    sealed.extend_from_slice(&checksum(&[&key.to_le_bytes(), value]));
    sealed.extend_from_slice(value);
    sealed
}

/// The value that was sealed under `key`; none if a bit of it changed.
pub(super) fn open(key: u64, sealed: &[u8]) -> Option<&[u8]> {
    let (sum, value) = sealed.split_first_chunk::<CHECKSUM_LEN>()?;
    (*sum == checksum(&[&key.to_le_bytes(), value])).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let sealed = seal(7, b"value");
        assert_eq!(open(7, &sealed), Some(b"value".as_slice()));
        assert_eq!(open(8, &sealed), None, "in the wrong place");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(7, &flipped), None, "bit {bit}");
        }
        assert_eq!(open(7, &sealed[..CHECKSUM_LEN - 1]), None);
    }
}
