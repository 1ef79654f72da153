//! The bytes of a checked stream: known from a seed and a position alone, so a receiver needs no copy to prove that they
//! came in order and unharmed. Pure.

/// Where the next byte of a stream stands, and a digest of all before it.
#[derive(Debug, Clone)]
pub struct Pattern {
    seed: u64,
    position: u64,
    digest: u64,
}

impl Pattern {
    /// The start of the stream that `seed` names.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, position: 0, digest: 0 }
    }

    /// Bytes so far.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// A number that two ends share when they saw the same bytes in the same order. Against accidents, not attackers.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Writes the next bytes into `buffer`, without moving on.
    pub fn write(&self, buffer: &mut [u8]) {
        let mut word = self.word(self.position / 8);
        for (at, byte) in (self.position..).zip(buffer) {
            if at.is_multiple_of(8) {
                word = self.word(at / 8);
            }
            *byte = word[usize::from((at % 8) as u8)];
        }
    }

    /// Moves past `bytes`, whatever they are.
    pub fn advance(&mut self, bytes: &[u8]) {
        self.position += bytes.len() as u64;
        for &byte in bytes {
            self.digest = self.digest.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte) + 1);
        }
    }

    /// Moves past `bytes` and gives the position of the first that is not what it should be.
    pub fn check(&mut self, bytes: &[u8]) -> Option<u64> {
        let mut expected = vec![0; bytes.len()];
        self.write(&mut expected);
        let start = self.position;
        self.advance(bytes);
        let wrong = bytes.iter().zip(&expected).position(|(got, wanted)| got != wanted)?;
        Some(start + wrong as u64)
    }

    /// SplitMix64 over the word's index.
    fn word(&self, index: u64) -> [u8; 8] {
        let mut z = self.seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        Pattern::new(seed).write(&mut bytes);
        bytes
    }

    #[test]
    fn any_split_gives_the_same_stream_and_digest() {
        let whole = stream(5, 1000);
        let mut one = Pattern::new(5);
        assert_eq!(one.check(&whole), None);
        let mut many = Pattern::new(5);
        for part in whole.chunks(13) {
            assert_eq!(many.check(part), None);
        }
        assert_eq!((one.position(), one.digest()), (many.position(), many.digest()));
    }

    #[test]
    fn a_wrong_a_missing_and_a_swapped_byte_are_found() {
        let mut wrong = stream(5, 100);
        wrong[40] ^= 1;
        assert_eq!(Pattern::new(5).check(&wrong), Some(40));
        let mut missing = stream(5, 100);
        missing.remove(17);
        assert!(Pattern::new(5).check(&missing).is_some_and(|at| (17..20).contains(&at)));
        assert!(Pattern::new(6).check(&stream(5, 100)).is_some());
    }
}
