use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::{Clock, JobId};

/// When a job is due: by tokio's clock, which only goes forward, or by wall time, which may jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Microseconds after the worker was made.
    In(u64),
    /// Microseconds since 1970.
    At(i64),
}

/// Jobs in the order in which they are due. An entry whose job is gone is skipped by whoever pops it.
pub(super) struct Timers {
    start: Instant,
    clock: Clock,
    by_time: BinaryHeap<Reverse<(u64, JobId)>>,
    by_wall: BinaryHeap<Reverse<(i64, JobId)>>,
}

/// How soon a jump of the wall clock is seen.
const LOOK_AT_WALL: Duration = Duration::from_secs(1);

impl Timers {
    pub(super) fn new(clock: Clock) -> Self {
        Self { start: Instant::now(), clock, by_time: BinaryHeap::new(), by_wall: BinaryHeap::new() }
    }

    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn after(&self, delay: Duration) -> Due {
        // Rounded up: never early.
        let nanos = (self.start.elapsed() + delay).as_nanos().div_ceil(1000);
        Due::In(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    pub(super) const fn at(at: DateTime<Utc>) -> Due {
        Due::At(at.timestamp_micros())
    }

    /// Adds one, and says whether it is now the first of its kind.
    pub(super) fn push(&mut self, due: Due, id: JobId) -> bool {
        match due {
            Due::In(micros) => {
                let first = self.by_time.peek().is_none_or(|Reverse((first, _))| micros < *first);
                self.by_time.push(Reverse((micros, id)));
                first
            }
            Due::At(micros) => {
                let first = self.by_wall.peek().is_none_or(|Reverse((first, _))| micros < *first);
                self.by_wall.push(Reverse((micros, id)));
                first
            }
        }
    }

    /// The next one that is due now.
    pub(super) fn pop(&mut self, now: &Now) -> Option<(Due, JobId)> {
        if let Some(Reverse((micros, id))) = self.by_time.peek().copied().filter(|Reverse((at, _))| *at <= now.time) {
            self.by_time.pop();
            return Some((Due::In(micros), id));
        }
        let Reverse((micros, id)) = self.by_wall.peek().copied().filter(|Reverse((at, _))| *at <= now.wall)?;
        self.by_wall.pop();
        Some((Due::At(micros), id))
    }

    pub(super) fn now(&self) -> Now {
        let time = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall = if self.by_wall.is_empty() { i64::MIN } else { self.clock.now().timestamp_micros() };
        Now { time, wall }
    }

    /// When to look again; none if nothing is pending.
    pub(super) fn next(&self, now: &Now) -> Option<Instant> {
        let time = self.by_time.peek().map(|Reverse((micros, _))| self.start + Duration::from_micros(*micros));
        let wall = self.by_wall.peek().map(|Reverse((micros, _))| {
            let wait = u64::try_from(micros.saturating_sub(now.wall)).unwrap_or_default();
            Instant::now() + Duration::from_micros(wait).min(LOOK_AT_WALL)
        });
        match (time, wall) {
            (Some(time), Some(wall)) => Some(time.min(wall)),
            (time, wall) => time.or(wall),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_time.len() + self.by_wall.len()
    }

    /// Forgets the entries of jobs that are gone.
    pub(super) fn retain(&mut self, keep: impl Fn(Due, &JobId) -> bool) {
        self.by_time.retain(|Reverse((micros, id))| keep(Due::In(*micros), id));
        self.by_wall.retain(|Reverse((micros, id))| keep(Due::At(*micros), id));
    }
}

/// One look at both clocks.
pub(super) struct Now {
    time: u64,
    wall: i64,
}
