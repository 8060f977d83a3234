use std::convert::Infallible;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::table::Table;
use crate::Queue;
use crate::limit::Rate;
use crate::store::Want;

/// How many jobs start in a time.
impl Table {
    /// Answers the rate that stands.
    pub(super) fn declare_rate(&mut self, queue: Queue, rate: Rate) -> Rate {
        let named = rate.name().and_then(|name| self.rates.values().find(|other| other.name() == Some(name)));
        if let Some(stands) = self.rates.get(&queue).or(named.filter(|other| **other != rate)) {
            return stands.clone();
        }
        self.rates.insert(queue, rate.clone());
        rate
    }

    /// Answers the rate before.
    pub(super) fn set_rate(&mut self, queue: Queue, rate: Option<Rate>) -> Option<Rate> {
        self.rates.retain(|other, _| !other.is_key_of(&queue));
        let Some(rate) = rate else { return self.rates.remove(&queue) };
        let before = self.rates.get(&queue).cloned();
        if let Some(name) = rate.name() {
            self.rates.values_mut().filter(|other| other.name() == Some(name)).for_each(|other| *other = rate.clone());
        }
        self.rates.insert(queue, rate);
        before
    }

    /// The queues of keys by their names, the one whose job is due first first. Each gets the limits of all.
    pub(super) fn with_keys(&mut self, want: &Want, now: DateTime<Utc>) -> Want {
        let with_keys = want.with_keys(|keys| {
            let prefix = keys.keys_of().unwrap_or_default();
            let from = (Queue::from(prefix.to_owned()), 0, DateTime::<Utc>::MIN_UTC, i64::MIN);
            let waiting = self.ready.range(from..).take_while(|(queue, ..)| queue.as_str().starts_with(prefix));
            let mut queues: Vec<Queue> = waiting.map(|(queue, ..)| queue.clone()).collect();
            queues.dedup();
            queues.retain(|queue| queue.is_key_of(keys));
            queues.sort_by_cached_key(|queue| {
                let first = self.next_due(queue, now, want.aging).and_then(|seq| self.rows.get(&seq));
                first.map_or((u8::MAX, DateTime::<Utc>::MAX_UTC), |row| (row.stored.job.parts.priority, row.due()))
            });
            for queue in &queues {
                if let Some(at_most) = self.limits.get(keys).copied() {
                    self.limits.entry(queue.clone()).or_insert(at_most);
                }
                if let Some(rate) = self.rates.get(keys).cloned() {
                    self.rates.entry(queue.clone()).or_insert(rate);
                }
            }
            Ok::<_, Infallible>(queues)
        });
        with_keys.unwrap_or_else(|never| match never {})
    }

    /// How many jobs of a queue may start now.
    pub(super) fn permits(&self, queue: &Queue, now: DateTime<Utc>) -> usize {
        let Some(rate) = self.rates.get(queue) else { return usize::MAX };
        let taken = self.taken.get(&rate.bucket(queue));
        taken
            .map_or_else(|| crate::limit::Taken::default().room(rate, nanos(now)), |taken| taken.room(rate, nanos(now)))
            as usize
    }

    pub(super) fn take_permits(&mut self, queue: &Queue, now: DateTime<Utc>, jobs: usize) {
        if let Some(rate) = self.rates.get(queue).filter(|_| jobs > 0) {
            let taken = self.taken.entry(rate.bucket(queue)).or_default();
            taken.take(rate, nanos(now), u32::try_from(jobs).unwrap_or(u32::MAX));
        }
    }

    /// When it is worth looking for a permit; now if there is one.
    pub(super) fn permit_at(&self, queue: &Queue, now: DateTime<Utc>) -> DateTime<Utc> {
        let wait = self.rates.get(queue).filter(|_| self.permits(queue, now) == 0);
        let wait = wait.and_then(|rate| Some(self.taken.get(&rate.bucket(queue))?.wait(rate, nanos(now))));
        now + wait.unwrap_or(Duration::ZERO)
    }
}

fn nanos(at: DateTime<Utc>) -> i64 {
    at.timestamp_nanos_opt().unwrap_or(i64::MAX)
}
