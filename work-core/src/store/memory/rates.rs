use std::time::Duration;

use chrono::{DateTime, Utc};

use super::table::Table;
use crate::Queue;
use crate::limit::Rate;

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
        let Some(rate) = rate else { return self.rates.remove(&queue) };
        let before = self.rates.get(&queue).cloned();
        if let Some(name) = rate.name() {
            self.rates.values_mut().filter(|other| other.name() == Some(name)).for_each(|other| *other = rate.clone());
        }
        self.rates.insert(queue, rate);
        before
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
