use uuid::Uuid;

use crate::JobId;

impl JobId {
    /// An id that follows from this one, and keeps its time: what is made twice for the same cause is one job. The same in
    /// every version and on every machine, so that it may be stored.
    ///
    /// ```
    /// use work_core::JobId;
    ///
    /// let id = JobId::new();
    /// assert_eq!(id.follow("receipt", 0), id.follow("receipt", 0));
    /// assert_ne!(id.follow("receipt", 0), id.follow("receipt", 1));
    /// ```
    #[must_use]
    pub fn follow(self, why: &str, n: u64) -> Self {
        let base = self.as_uuid().as_bytes();
        let mut hash = Hash::new();
        hash.write(base);
        hash.write(why.as_bytes());
        hash.write(&[0]);
        hash.write(&n.to_be_bytes());
        hash.id([base[0], base[1], base[2], base[3], base[4], base[5]])
    }

    /// The id of something that has a name, or a name within a name; it has no time. As lasting as [`follow`](Self::follow).
    ///
    /// ```
    /// use work_core::JobId;
    ///
    /// assert_eq!(JobId::named(&["invoices", "2026-11"]), JobId::named(&["invoices", "2026-11"]));
    /// assert_ne!(JobId::named(&["a", "b"]), JobId::named(&["ab"]));
    /// ```
    #[must_use]
    pub fn named(names: &[&str]) -> Self {
        let mut hash = Hash::new();
        for name in names {
            hash.write(name.as_bytes());
            hash.write(&[0]);
        }
        hash.id([0; 6])
    }
}

/// FNV-1a over two lanes, mixed at the end: it must be the same in every version, and collide by no accident.
struct Hash(u64, u64);

impl Hash {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325, 0x6c62_272e_07bb_0142)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            self.1 = (self.1.rotate_left(23) ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    /// A UUID of version 7 with this time.
    fn id(&self, time: [u8; 6]) -> JobId {
        let mix = |mut x: u64| {
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        };
        let (high, low) = (mix(self.0 ^ self.1.rotate_left(32)).to_be_bytes(), mix(self.1).to_be_bytes());
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&time);
        bytes[6..8].copy_from_slice(&high[..2]);
        bytes[8..].copy_from_slice(&low);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        JobId::from(Uuid::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_that_follow_are_the_same_for_the_same_cause_and_differ_otherwise() {
        let first = JobId::new();
        let mut seen = HashSet::from([first]);
        for n in 0..10_000 {
            assert!(seen.insert(first.follow("kick", n)) && seen.insert(first.follow("next", n)));
            assert_eq!(first.follow("kick", n), first.follow("kick", n));
        }
        assert_eq!(JobId::named(&["a", "b"]), JobId::named(&["a", "b"]));
        assert_ne!(JobId::named(&["a", "b"]), JobId::named(&["ab"]));
        // Part of the stored format.
        assert_eq!(JobId::named(&["a"]).to_string(), "00000000-0000-798e-bb67-d32ff1eab1fe");
    }
}
