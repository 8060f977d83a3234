use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Outcome;
use crate::limit::{Adapts, Answer, Limit};

/// Asked before anything is leased: how many jobs may start now. Told how each of them ended.
pub(super) struct Admission {
    limit: StartLimit,
    /// Nothing starts before this: somebody said when to come again.
    closed_until: Mutex<Option<Instant>>,
}

enum StartLimit {
    Fixed(Arc<dyn Limit>),
    Adaptive(Arc<dyn Adapts>),
}

/// Permits that were taken. Those that are not used are given back when this is dropped.
pub(super) struct Permits<'a> {
    admission: &'a Admission,
    taken: Instant,
    left: usize,
}

/// The least wait: a limit that says "now" and "no" at once does not make a busy loop.
const TICK: Duration = Duration::from_millis(1);

impl Admission {
    pub(super) fn fixed(limit: impl Limit + 'static) -> Self {
        Self { limit: StartLimit::Fixed(Arc::new(limit)), closed_until: Mutex::default() }
    }

    pub(super) fn adaptive(limit: impl Adapts + 'static) -> Self {
        Self { limit: StartLimit::Adaptive(Arc::new(limit)), closed_until: Mutex::default() }
    }

    fn limit(&self) -> &dyn Limit {
        match &self.limit {
            StartLimit::Fixed(limit) => &**limit,
            StartLimit::Adaptive(limit) => &**limit,
        }
    }

    /// Takes permits for up to `most` jobs, at least one; or says how long there is none.
    pub(super) fn take(&self, most: usize) -> Result<Permits<'_>, Duration> {
        let now = Instant::now();
        if let Some(until) = self.closed().filter(|until| *until > now) {
            return Err(until.duration_since(now));
        }
        let mut permits = Permits { admission: self, taken: now, left: 0 };
        while permits.left < most {
            match self.limit().try_acquire(now) {
                Ok(()) => permits.left += 1,
                Err(after) if permits.left == 0 => return Err(after.max(TICK)),
                Err(_) => break,
            }
        }
        Ok(permits)
    }

    fn closed(&self) -> Option<Instant> {
        *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt ended like this.
    pub(super) fn note(&self, outcome: &Outcome) {
        let Some(answer) = Answer::of(outcome) else { return };
        let now = Instant::now();
        if let Answer::Refused { retry_after: Some(after) } = answer {
            let mut closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
            // An instant that no clock has is none to wait for.
            *closed = closed.max(now.checked_add(after));
        }
        if let StartLimit::Adaptive(limit) = &self.limit {
            limit.observe(now, answer);
        }
    }
}

impl Permits<'_> {
    pub(super) const fn count(&self) -> usize {
        self.left
    }

    /// So many of them are used.
    pub(super) const fn use_up(&mut self, jobs: usize) {
        self.left = self.left.saturating_sub(jobs);
    }
}

impl Drop for Permits<'_> {
    fn drop(&mut self) {
        (0..self.left).for_each(|_| self.admission.limit().give_back(self.taken));
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission(..)")
    }
}
