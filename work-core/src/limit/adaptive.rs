use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;
use super::{Adapts, Answer, InvalidLimit, Limit};

/// Finds the rate that the other side takes, and stays close below it.
///
/// Each second (the [interval](Self::interval)) without a refusal is a step up, each burst of refusals a step down:
///
/// - a refusal takes 7 % off the rate, and remembers where it was; refusals on end take ever more;
/// - from there the rate grows in a curve that is steep at first, flat where the last refusal was, about 54 steps long:
///   so it is near the ceiling nearly all the time and over it once in a curve;
/// - a rate that is accepted above the last refusal means that the ceiling has moved, or was never known: then each step
///   adds a half.
///
/// All of it goes by shares, so it behaves alike at 10 and at 10,000 permits a second. In the long run it uses about 98 %
/// of a ceiling, with less than 2 % of the intervals refused, and it finds one that has doubled within a minute. A rate
/// that is not used is not raised. After a refusal that says when to come again, there is no permit until then.
///
/// ```
/// use tokio::time::Instant;
/// use work_core::limit::{Adaptive, Adapts, Answer};
///
/// let limit = Adaptive::new(100.0, 1.0, 10_000.0)?;
/// limit.observe(Instant::now(), Answer::REFUSED);
/// assert_eq!(limit.rate(), 93.0);
/// # Ok::<(), work_core::limit::InvalidLimit>(())
/// ```
#[derive(Debug)]
pub struct Adaptive {
    settings: Settings,
    /// A std mutex: it is held for a few sums.
    state: Mutex<Now>,
}

#[derive(Debug, Clone)]
struct Settings {
    start: f64,
    min: f64,
    max: f64,
    interval: Duration,
}

#[derive(Debug)]
struct Now {
    rate: f64,
    /// Where the last refusal was. `None`: never, or the ceiling has moved up since.
    ceiling: Option<f64>,
    /// The rate right after it, and the steps since.
    floor: f64,
    steps: u32,
    /// The highest rate that was accepted since the refusal before.
    good: Option<f64>,
    /// Refusals without an accepted interval between them.
    refusals: u32,
    interval: Option<Interval>,
    /// Refusals before this belong to the one that counted.
    settled_at: Option<Instant>,
    bucket: Bucket,
}

/// What happened since the last step.
#[derive(Debug, Clone, Copy)]
struct Interval {
    began: Instant,
    taken: u64,
}

/// What a first refusal leaves of the rate.
const DROP: f64 = 0.93;

/// What later ones leave, when the rate is far too high.
const FALL: f64 = 0.5;

/// Steps from a refusal to where it was.
const CURVE: f64 = 54.0;

/// A step while the ceiling is not known.
const DISCOVER: f64 = 1.5;

/// A rate of which a smaller share was taken says nothing about the ceiling.
const USED: f64 = 0.5;

impl Adaptive {
    /// Starts at `start` permits a second, and stays between `min` and `max`. A start outside is moved to the nearer end.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if a rate is not a number above zero, or `min` is above `max`.
    pub fn new(start: f64, min: f64, max: f64) -> Result<Self, InvalidLimit> {
        InvalidLimit::check_rates(start, min, max)?;
        Ok(Self::of(Settings { start: start.clamp(min, max), min, max, interval: Duration::from_secs(1) }))
    }

    /// How long a step is: by default a second. Longer than the other side takes to answer.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self::of(Settings { interval, ..self.settings })
    }

    const fn of(settings: Settings) -> Self {
        let state = Now {
            rate: settings.start,
            ceiling: None,
            floor: 0.0,
            steps: 0,
            good: None,
            refusals: 0,
            interval: None,
            settled_at: None,
            bucket: Bucket::new(),
        };
        Self { settings, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up to `want` permits at once, and answers how many.
    #[cfg(test)]
    fn acquire_many(&self, now: Instant, want: u32) -> u32 {
        self.lock().take(now, want).unwrap_or_default()
    }
}

impl Now {
    fn take(&mut self, now: Instant, want: u32) -> Result<u32, Duration> {
        let granted = self.bucket.take(now, self.rate, want)?;
        self.interval.get_or_insert(Interval { began: now, taken: 0 }).taken += u64::from(granted);
        Ok(granted)
    }

    fn accepted(&mut self, settings: &Settings, now: Instant) {
        let interval = *self.interval.get_or_insert(Interval { began: now, taken: 0 });
        let elapsed = now.saturating_duration_since(interval.began);
        if elapsed < settings.interval || self.settled_at.is_some_and(|at| now < at) {
            return;
        }
        self.interval = Some(Interval { began: now, taken: 0 });
        if (interval.taken as f64) < USED * self.rate * elapsed.as_secs_f64() {
            return;
        }
        self.refusals = 0;
        self.good = Some(self.good.map_or(self.rate, |good| good.max(self.rate)));
        self.rate = self.step_up().clamp(settings.min, settings.max);
    }

    fn step_up(&mut self) -> f64 {
        let Some(ceiling) = self.ceiling.filter(|ceiling| self.rate <= *ceiling) else {
            self.ceiling = None;
            return self.rate * DISCOVER;
        };
        self.steps += 1;
        let left = 1.0 - f64::from(self.steps) / CURVE;
        if left >= 0.0 {
            ceiling - (ceiling - self.floor) * left.powi(3)
        } else {
            // A hair above: if that is accepted too, the ceiling has moved.
            ceiling * 1.002
        }
    }

    fn refused(&mut self, settings: &Settings, now: Instant, retry_after: Option<Duration>) {
        if let Some(after) = retry_after {
            self.bucket.close(now, now + after);
        }
        if self.settled_at.is_some_and(|at| now < at) {
            return;
        }
        self.refusals += 1;
        let dropped = if self.refusals <= 2 { self.rate * DROP } else { self.rate * FALL };
        self.ceiling = Some(self.rate);
        self.rate = self.good.take().map_or(dropped, |good| dropped.min(good)).max(settings.min);
        self.floor = self.rate;
        self.steps = 0;
        self.interval = Some(Interval { began: now, taken: 0 });
        // Answers of calls that were made at the old rate are still to come.
        self.settled_at = Some(now + retry_after.unwrap_or_default() + settings.interval / 2);
    }
}

impl Limit for Adaptive {
    fn try_acquire(&self, now: Instant) -> Result<(), Duration> {
        self.lock().take(now, 1).map(drop)
    }

    fn give_back(&self, taken: Instant) {
        let mut state = self.lock();
        state.bucket.give_back();
        if let Some(interval) = state.interval.as_mut().filter(|interval| interval.began <= taken) {
            interval.taken = interval.taken.saturating_sub(1);
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        let state = self.lock();
        state.bucket.is_full(now, state.rate)
    }

    fn fresh(&self) -> Box<dyn Limit> {
        Box::new(Self::of(self.settings.clone()))
    }
}

impl Adapts for Adaptive {
    fn observe(&self, now: Instant, answer: Answer) {
        let mut state = self.lock();
        match answer {
            Answer::Accepted => state.accepted(&self.settings, now),
            Answer::Refused { retry_after } => state.refused(&self.settings, now, retry_after),
        }
    }

    fn rate(&self) -> f64 {
        self.lock().rate
    }
}

#[cfg(test)]
#[path = "hidden_ceiling.rs"]
mod hidden_ceiling;
