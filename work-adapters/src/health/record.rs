use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How the latest executions ended, in bounded memory.
pub(super) enum Record {
    Count { last: VecDeque<bool>, length: usize, errors: u64 },
    Time { slots: VecDeque<Slot>, window: Duration, errors: u64, total: u64 },
}

/// Executions that ended within a thousandth of the window, kept together.
pub(super) struct Slot {
    first: Instant,
    last: Instant,
    errors: u64,
    total: u64,
}

/// How fine a window is looked at.
const RESOLUTION: u32 = 1_000;

impl Record {
    pub(super) const fn by_count(length: usize) -> Self {
        Self::Count { last: VecDeque::new(), length, errors: 0 }
    }

    pub(super) const fn by_time(window: Duration) -> Self {
        Self::Time { slots: VecDeque::new(), window, errors: 0, total: 0 }
    }

    /// An execution ended now.
    pub(super) fn add(&mut self, error: bool) {
        match self {
            Self::Count { last, length, errors } => {
                if last.len() == *length && last.pop_front() == Some(true) {
                    *errors -= 1;
                }
                last.push_back(error);
                *errors += u64::from(error);
            }
            Self::Time { slots, window, errors, total } => {
                let now = Instant::now();
                let resolution = *window / RESOLUTION;
                // A slot is that of its last execution: none is forgotten too early.
                match slots.back_mut().filter(|slot| now.saturating_duration_since(slot.first) < resolution) {
                    Some(slot) => {
                        slot.last = slot.last.max(now);
                        slot.errors += u64::from(error);
                        slot.total += 1;
                    }
                    None => slots.push_back(Slot { first: now, last: now, errors: u64::from(error), total: 1 }),
                }
                *errors += u64::from(error);
                *total += 1;
                self.forget();
            }
        }
    }

    /// Errors, and all, of the latest.
    pub(super) fn counts(&mut self) -> (u64, u64) {
        self.forget();
        match self {
            Self::Count { last, errors, .. } => (*errors, last.len() as u64),
            Self::Time { errors, total, .. } => (*errors, *total),
        }
    }

    fn forget(&mut self) {
        let Self::Time { slots, window, errors, total } = self else { return };
        let now = Instant::now();
        while let Some(slot) = slots.pop_front_if(|slot| now.saturating_duration_since(slot.last) >= *window) {
            *errors -= slot.errors;
            *total -= slot.total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(record: &Record) -> usize {
        match record {
            Record::Count { last, .. } => last.len(),
            Record::Time { slots, .. } => slots.len(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_however_many_end() {
        let mut record = Record::by_time(Duration::from_secs(10));
        for n in 0..200_000_u32 {
            record.add(n % 2 == 0);
            if n % 4 == 0 {
                tokio::time::advance(Duration::from_micros(500)).await;
            }
        }
        assert!(slots(&record) <= RESOLUTION as usize + 1, "{} slots", slots(&record));
        let (errors, total) = record.counts();
        // 8,000 executions a second for the last 10 seconds, and those of the slot that is about to go.
        assert!((80_000..=80_080).contains(&total) && errors.abs_diff(total / 2) <= 1, "{errors} of {total}");
        let mut record = Record::by_count(10);
        (0..1_000).for_each(|_| record.add(true));
        assert_eq!((slots(&record), record.counts()), (10, (10, 10)));
    }
}
