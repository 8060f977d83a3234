use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::later;
use crate::outcome::Directive;
use crate::store::{NewJob, Settlement};
use crate::worker::MAX_AHEAD;
use crate::{Outcome, Status};

/// Decides what becomes of a job after an attempt: a pure function of the outcome and the number of the attempt.
///
/// | outcome | decision |
/// |---|---|
/// | 2xx, 444 | complete |
/// | 429 | snooze: due again after the backoff, the attempt is given back |
/// | 499 | cancel |
/// | other 4xx than 408 | discard: a dead letter, which an operator may retry |
/// | 408, 5xx, anything else | retry after the backoff until `max_attempts`, then discard |
///
/// A [`Directive`] of the handler goes before the status.
///
/// ```
/// use std::time::Duration;
/// use work_core::{Backoff, Outcome, RetryPolicy, Status, store::Settlement};
///
/// let policy = RetryPolicy::default().backoff(Backoff::constant(Duration::from_secs(10)));
/// let now = chrono::DateTime::UNIX_EPOCH;
/// let retry = policy.decide(&Outcome::new(Status::INTERNAL_ERROR), 1, 3, now);
/// assert_eq!(retry, Settlement::Retry { at: now + Duration::from_secs(10) });
/// assert_eq!(policy.decide(&Outcome::new(Status::INTERNAL_ERROR), 3, 3, now), Settlement::Discard);
/// ```
#[derive(Debug, Clone, Default)]
pub struct RetryPolicy {
    backoff: Backoff,
}

/// How long to wait before the next attempt. By default attempt⁴ seconds ± 10 %, at most a day.
#[derive(Debug, Clone)]
pub struct Backoff {
    curve: Curve,
    cap: Duration,
    /// The share of the delay that chance may add or take, from 0 to 1.
    jitter: f64,
}

#[derive(Debug, Clone, Copy)]
enum Curve {
    Constant(Duration),
    Exponential(Duration, f64),
    FourthPower(Duration),
}

/// The longest delay that any [`Backoff`] gives.
pub const MAX_BACKOFF: Duration = Duration::from_secs(24 * 60 * 60);

/// How many attempts a stored job has that says nothing else.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 25;

impl RetryPolicy {
    /// The same policy with another backoff.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// What becomes of the job. `attempt` counts from 1.
    #[must_use]
    pub fn decide(&self, outcome: &Outcome, attempt: u32, max_attempts: u32, now: DateTime<Utc>) -> Settlement {
        let again = |at| if attempt < max_attempts { Settlement::Retry { at } } else { Settlement::Discard };
        match outcome.directive() {
            Some(Directive::Snooze(after)) => return Settlement::Snooze { at: later(now, after.min(MAX_AHEAD)) },
            Some(Directive::RetryAfter(after)) => return again(later(now, after.min(MAX_AHEAD))),
            Some(Directive::Discard) => return Settlement::Discard,
            Some(Directive::Cancel) => return Settlement::Cancel,
            None => {}
        }
        let status = outcome.status();
        match status.code() {
            _ if status.is_complete() => Settlement::Complete { output: outcome.output_json().cloned() },
            429 => Settlement::Snooze { at: later(now, self.backoff.delay(attempt)) },
            499 => Settlement::Cancel,
            400..=499 if status != Status::TIMEOUT => Settlement::Discard,
            _ => again(later(now, self.backoff.delay(attempt))),
        }
    }

    /// The attempts that a stored job may have.
    pub(crate) fn max_attempts(job: &NewJob) -> u32 {
        job.parts.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { curve: Curve::FourthPower(Duration::from_secs(1)), cap: MAX_BACKOFF, jitter: 0.1 }
    }
}

impl Backoff {
    /// Always the same delay.
    #[must_use]
    pub const fn constant(delay: Duration) -> Self {
        Self { curve: Curve::Constant(delay), cap: MAX_BACKOFF, jitter: 0.0 }
    }

    /// `first`, then `factor` times the one before, with 10 % of chance. A factor below 1 counts as 1.
    #[must_use]
    pub const fn exponential(first: Duration, factor: f64) -> Self {
        Self { curve: Curve::Exponential(first, factor), cap: MAX_BACKOFF, jitter: 0.1 }
    }

    /// At most this delay, and at most a day.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap.min(MAX_BACKOFF);
        self
    }

    /// The share of the delay that chance may add or take: 0 to 1, and what is outside is cut off.
    #[must_use]
    pub const fn jitter(mut self, share: f64) -> Self {
        self.jitter = if share >= 0.0 { share.min(1.0) } else { 0.0 };
        self
    }

    /// The delay after the attempt of this number, from 1.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        let n = f64::from(attempt.max(1));
        let seconds = match self.curve {
            Curve::Constant(delay) => delay.as_secs_f64(),
            Curve::Exponential(first, factor) => first.as_secs_f64() * factor.max(1.0).powf(n - 1.0),
            Curve::FourthPower(unit) => unit.as_secs_f64() * n.powi(4),
        };
        let chance = (crate::id::mix() & 0xffff_ffff) as f64 / f64::from(u32::MAX);
        let jittered = seconds * (1.0 + self.jitter * (2.0 * chance - 1.0));
        Duration::try_from_secs_f64(jittered).unwrap_or(MAX_BACKOFF).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decide(outcome: &Outcome, attempt: u32) -> Settlement {
        RetryPolicy::default().decide(outcome, attempt, 25, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn every_status_has_the_decision_of_the_table() {
        for code in 100..=999 {
            let settlement = decide(&Outcome::new(Status::new(code).unwrap()), 1);
            let fits = match code {
                200..=299 | 444 => matches!(settlement, Settlement::Complete { .. }),
                429 => matches!(settlement, Settlement::Snooze { .. }),
                499 => settlement == Settlement::Cancel,
                408 => matches!(settlement, Settlement::Retry { .. }),
                400..=498 => settlement == Settlement::Discard,
                _ => matches!(settlement, Settlement::Retry { .. }),
            };
            assert!(fits, "{code}: {settlement:?}");
        }
    }

    #[test]
    fn the_last_attempt_is_discarded_and_a_directive_goes_first() {
        assert_eq!(decide(&Outcome::new(Status::INTERNAL_ERROR), 25), Settlement::Discard);
        let snooze = Outcome::new(Status::SUCCESS).with_directive(Directive::Snooze(Duration::from_secs(5)));
        assert!(matches!(decide(&snooze, 25), Settlement::Snooze { .. }));
        assert_eq!(decide(&Outcome::discard("no"), 1), Settlement::Discard);
    }

    #[test]
    fn ten_thousand_jobs_that_failed_in_one_moment_come_back_evenly_spread() {
        for backoff in [Backoff::default(), Backoff::exponential(Duration::from_secs(10), 2.0)] {
            let exact = backoff.clone().jitter(0.0).delay(3).as_secs_f64();
            // Each tenth of the time from 10 % before to 10 % after.
            let mut tenths = [0_u32; 10];
            for _ in 0..10_000 {
                let share = (backoff.delay(3).as_secs_f64() / exact - 0.9) / 0.2;
                tenths[((share * 10.0) as usize).min(9)] += 1;
            }
            assert!(tenths.iter().all(|jobs| (800..1_200).contains(jobs)), "{tenths:?}");
        }
    }

    proptest! {
        #[test]
        fn a_delay_is_never_over_the_cap_and_the_default_is_the_fourth_power(attempt in 0_u32..u32::MAX) {
            let delay = Backoff::default().delay(attempt);
            prop_assert!(delay <= MAX_BACKOFF);
            let exact = f64::from(attempt.max(1)).powi(4).min(MAX_BACKOFF.as_secs_f64());
            prop_assert!(delay.as_secs_f64() >= exact * 0.9 - 1e-6 && delay.as_secs_f64() <= exact * 1.1 + 1e-6);
        }

        #[test]
        fn no_curve_panics(first in any::<u64>(), factor in any::<f64>(), share in any::<f64>(), attempt in any::<u32>()) {
            let backoff = Backoff::exponential(Duration::from_secs(first), factor).jitter(share);
            prop_assert!(backoff.delay(attempt) <= MAX_BACKOFF);
        }
    }

    #[test]
    fn delays_grow_as_the_fourth_power_or_by_the_factor() {
        let doubled = Backoff::exponential(Duration::from_secs(3), 2.0).jitter(0.0);
        assert_eq!([1, 2, 5].map(|attempt| doubled.delay(attempt).as_secs()), [3, 6, 48]);
        let backoff = Backoff::default().jitter(0.0);
        for (attempt, seconds) in [(0, 1), (1, 1), (2, 16), (3, 81), (10, 10_000), (25, 86_400)] {
            assert_eq!(backoff.delay(attempt), Duration::from_secs(seconds), "{attempt}");
        }
    }
}
