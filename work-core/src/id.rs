use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::{Builder, Uuid};

use crate::Clock;

/// Bits of the counter that orders the ids of one millisecond.
const COUNTER_BITS: u32 = 12;

/// The next UUID of version 7, later in order than every one this process made before.
///
/// The uuid crate asks the system for random bytes each time, which costs more than the rest of an in-process job. Here
/// each thread asks once, and the rest is a generator: ids have to be distinct, not secret.
pub(crate) fn next() -> Uuid {
    let (millis, counter) = if cfg!(feature = "testing") && SEEDED.get() { stamp_of_thread() } else { stamp() };
    let mut random = [0; 10];
    random[..2].copy_from_slice(&counter.to_be_bytes());
    random[2..].copy_from_slice(&mix().to_be_bytes());
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// Milliseconds since 1970 and a number within them. If more ids are made than a millisecond has numbers, or the clock
/// goes back, it runs ahead of the clock.
fn stamp() -> (u64, u16) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = Clock::system_millis() << COUNTER_BITS;
    let mut last = LAST.load(Ordering::Relaxed);
    loop {
        let next = now.max(last + 1);
        match LAST.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return (next >> COUNTER_BITS, (next & ((1 << COUNTER_BITS) - 1)) as u16),
            Err(other) => last = other,
        }
    }
}

thread_local! {
    static STATE: Cell<u64> = Cell::new(Uuid::new_v4().as_u64_pair().1 ^ Uuid::new_v4().as_u64_pair().0);
    /// What this thread makes follows from a seed.
    static SEEDED: Cell<bool> = const { Cell::new(false) };
    static MADE: Cell<u64> = const { Cell::new(0) };
}

/// As [`stamp`], from the ids that this thread has made since it got its seed.
fn stamp_of_thread() -> (u64, u16) {
    const START: u64 = 1_767_225_600_000 << COUNTER_BITS;
    let next = START + MADE.replace(MADE.get() + 1);
    (next >> COUNTER_BITS, (next & ((1 << COUNTER_BITS) - 1)) as u16)
}

/// From now on, what this thread makes follows from a number; or from the system again.
#[cfg(feature = "testing")]
pub(crate) fn seed(seed: Option<u64>) {
    SEEDED.set(seed.is_some());
    MADE.set(0);
    STATE.set(seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().1));
}

/// A random number: splitmix64 from a seed of the system.
pub(crate) fn mix() -> u64 {
    let state = STATE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    STATE.set(state);
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_version_7_distinct_and_in_order_on_each_thread() {
        let ids = std::thread::scope(|scope| {
            let make = || (0..50_000).map(|_| next()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(ids.iter().all(|ids| ids.is_sorted()));
        let mut all = ids.concat();
        assert!(all.iter().all(|id| id.get_version_num() == 7));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200_000);
    }

    #[test]
    fn an_id_says_when_it_was_made() {
        let (seconds, _) = next().get_timestamp().unwrap().to_unix();
        let now = Clock::system().now().timestamp();
        assert!((now - i64::try_from(seconds).unwrap()).abs() < 600, "the other test may have run ahead");
    }
}
