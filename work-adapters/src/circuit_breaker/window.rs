use std::time::Duration;

use tokio::time::Instant;

/// Counts of calls over the last so long, in tenths: the oldest tenth is forgotten as a whole.
#[derive(Debug)]
pub(super) struct Window {
    tenth: Duration,
    /// When the newest tenth began.
    newest: Option<Instant>,
    at: usize,
    counts: [Counts; TENTHS],
}

/// How many calls ended, and how many of them failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) failed: u64,
}

const TENTHS: usize = 10;

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let tenth = (length / 10).max(Duration::from_nanos(1));
        Self { tenth, newest: None, at: 0, counts: [Counts::default(); TENTHS] }
    }

    /// Counts a call that ended, and answers the sums.
    pub(super) fn add(&mut self, failed: bool, now: Instant) -> Counts {
        self.turn(now);
        self.counts[self.at].calls += 1;
        self.counts[self.at].failed += u64::from(failed);
        let sum = |sum: Counts, one: &Counts| Counts { calls: sum.calls + one.calls, failed: sum.failed + one.failed };
        self.counts.iter().fold(Counts::default(), sum)
    }

    /// Forgets the tenths that are too old.
    fn turn(&mut self, now: Instant) {
        let newest = *self.newest.get_or_insert(now);
        let passed = now.saturating_duration_since(newest).as_nanos() / self.tenth.as_nanos();
        for _ in 0..passed.min(TENTHS as u128) {
            self.at = (self.at + 1) % TENTHS;
            self.counts[self.at] = Counts::default();
        }
        // Beyond a whole window the phase does not matter.
        let whole = u32::try_from(passed).ok().filter(|passed| *passed <= TENTHS as u32);
        self.newest = Some(whole.map_or(now, |passed| newest + self.tenth * passed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_for_nine_to_ten_tenths_of_the_window() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut window = Window::new(Duration::from_secs(1));
        assert_eq!(window.add(true, at(0)), Counts { calls: 1, failed: 1 });
        assert_eq!(window.add(false, at(99)), Counts { calls: 2, failed: 1 });
        assert_eq!(window.add(false, at(500)), Counts { calls: 3, failed: 1 });
        assert_eq!(window.add(false, at(999)), Counts { calls: 4, failed: 1 });
        assert_eq!(window.add(false, at(1_000)), Counts { calls: 3, failed: 0 });
        assert_eq!(window.add(true, at(3_600_000)), Counts { calls: 1, failed: 1 });
        // An instant of a thread whose clock was read before.
        assert_eq!(window.add(true, at(3_599_999)), Counts { calls: 2, failed: 2 });
    }
}
