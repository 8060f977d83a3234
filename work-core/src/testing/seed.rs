use std::marker::PhantomData;

use crate::id;

/// Numbers by chance that follow from a seed: the same seed, the same numbers.
///
/// ```
/// use work_core::testing::Dice;
///
/// let (mut one, mut other) = (Dice::new(7), Dice::new(7));
/// assert_eq!([one.roll(6), one.roll(6)], [other.roll(6), other.roll(6)]);
/// assert!(one.roll(6) < 6 && !one.happens(0.0));
/// ```
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, from 0 to `sides` - 1. It is 0 if there are no sides.
    pub const fn roll(&mut self, sides: u64) -> u64 {
        let number = self.next();
        if sides == 0 { 0 } else { number % sides }
    }

    /// True in so large a share of the calls, from 0 to 1.
    pub fn happens(&mut self, share: f64) -> bool {
        (self.next() >> 11) as f64 / ((1_u64 << 53) as f64) < share
    }

    /// Dice of its own for somebody, so that the rolls of others change nothing for it.
    #[must_use]
    pub const fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// splitmix64.
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// As long as this is there, the ids and the spread of delays that this thread makes follow from a seed, so that a simulation
/// on one thread can be repeated. Nothing else may make jobs on the thread meanwhile.
///
/// ```
/// use work_core::{JobId, testing::Seeded};
///
/// let ids = || {
///     let _seeded = Seeded::new(7);
///     [JobId::new(), JobId::new()]
/// };
/// let [first, second] = ids();
/// assert!(first < second);
/// assert_eq!(ids(), [first, second]);
/// assert_ne!(JobId::new(), first);
/// ```
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Seeded {
    /// It is about this thread.
    here: PhantomData<*const ()>,
}

impl Seeded {
    /// From now on, by this seed.
    pub fn new(seed: u64) -> Self {
        id::seed(Some(seed));
        Self { here: PhantomData }
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        id::seed(None);
    }
}
