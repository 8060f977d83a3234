use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;
use super::{Adapts, Answer, InvalidLimit, Limit};

/// Additive increase, multiplicative decrease: the plain rule, as TCP made it known.
///
/// Each second in which a call was accepted adds 1 to the rate; a refusal halves it, at most once in half a second.
/// After a refusal that says when to come again, there is no permit until then. In the long run it uses about three
/// quarters of what the other side takes, and it grows just as slowly towards 10,000 a second as towards 10: use
/// [`Adaptive`](super::Adaptive) unless you need this very curve.
///
/// ```
/// use tokio::time::Instant;
/// use work_core::limit::{Adapts, Aimd, Answer};
///
/// let limit = Aimd::new(100.0, 10.0, 200.0)?;
/// let now = Instant::now();
/// limit.observe(now, Answer::REFUSED);
/// limit.observe(now, Answer::REFUSED); // of the same burst
/// assert_eq!(limit.rate(), 50.0);
/// limit.observe(now, Answer::Accepted);
/// assert_eq!(limit.rate(), 51.0);
/// # Ok::<(), work_core::limit::InvalidLimit>(())
/// ```
#[derive(Debug)]
pub struct Aimd {
    settings: Settings,
    /// A std mutex: it is held for a few sums.
    state: Mutex<Now>,
}

#[derive(Debug, Clone)]
struct Settings {
    start: f64,
    min: f64,
    max: f64,
    increase: f64,
    decrease: f64,
    interval: Duration,
    debounce: Duration,
}

#[derive(Debug)]
struct Now {
    rate: f64,
    increased: Option<Instant>,
    decreased: Option<Instant>,
    bucket: Bucket,
}

impl Aimd {
    /// Starts at `start` permits a second, and stays between `min` and `max`. A start outside is moved to the nearer end.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if a rate is not a number above zero, or `min` is above `max`.
    pub fn new(start: f64, min: f64, max: f64) -> Result<Self, InvalidLimit> {
        InvalidLimit::check_rates(start, min, max)?;
        Ok(Self::of(Settings {
            start: start.clamp(min, max),
            min,
            max,
            increase: 1.0,
            decrease: 0.5,
            interval: Duration::from_secs(1),
            debounce: Duration::from_millis(500),
        }))
    }

    /// What one step up adds, in permits a second; by default 1.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if it is not a number above zero.
    pub fn increase(self, add: f64) -> Result<Self, InvalidLimit> {
        InvalidLimit::check_rate("increase", add)?;
        Ok(Self::of(Settings { increase: add, ..self.settings }))
    }

    /// What a refusal leaves of the rate; by default a half.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if it is not between 0 and 1.
    pub fn decrease(self, factor: f64) -> Result<Self, InvalidLimit> {
        InvalidLimit::check_share("decrease", factor)?;
        Ok(Self::of(Settings { decrease: factor, ..self.settings }))
    }

    /// The least time between two steps up; by default a second.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self::of(Settings { interval, ..self.settings })
    }

    /// Refusals this soon after one that counted belong to it; by default half a second.
    #[must_use]
    pub fn debounce(self, debounce: Duration) -> Self {
        Self::of(Settings { debounce, ..self.settings })
    }

    const fn of(settings: Settings) -> Self {
        let now = Now { rate: settings.start, increased: None, decreased: None, bucket: Bucket::new() };
        Self { settings, state: Mutex::new(now) }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limit for Aimd {
    fn try_acquire(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.lock();
        let rate = state.rate;
        state.bucket.take(now, rate, 1).map(drop)
    }

    fn give_back(&self, _: Instant) {
        self.lock().bucket.give_back();
    }

    fn is_idle(&self, now: Instant) -> bool {
        let state = self.lock();
        state.bucket.is_full(now, state.rate)
    }

    fn fresh(&self) -> Box<dyn Limit> {
        Box::new(Self::of(self.settings.clone()))
    }
}

impl Adapts for Aimd {
    fn observe(&self, now: Instant, answer: Answer) {
        let Settings { min, max, increase, decrease, interval, debounce, .. } = self.settings;
        let within = |since: Option<Instant>, span| since.is_some_and(|at| now.saturating_duration_since(at) < span);
        let mut state = self.lock();
        match answer {
            // At the top the timer is left alone, so that the first step after a fall is not late.
            Answer::Accepted if state.rate >= max || within(state.increased, interval) => {}
            Answer::Accepted => {
                state.rate = (state.rate + increase).min(max);
                state.increased = Some(now);
            }
            Answer::Refused { retry_after } => {
                if let Some(after) = retry_after {
                    state.bucket.close(now, now + after);
                }
                if !within(state.decreased, debounce) {
                    state.rate = (state.rate * decrease).max(min);
                    state.decreased = Some(now);
                    state.increased = None;
                }
            }
        }
    }

    fn rate(&self) -> f64 {
        self.lock().rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn four_refusals_halve_it_down_to_the_least() {
        let (limit, start) = (Aimd::new(100.0, 10.0, 200.0).unwrap(), Instant::now());
        let mut rates = Vec::new();
        for n in 0..4 {
            limit.observe(at(start, n * 1000), Answer::REFUSED);
            rates.push(limit.rate());
        }
        assert_eq!(rates, [50.0, 25.0, 12.5, 10.0]);
    }

    #[test]
    fn fifty_successes_in_one_window_are_one_step_up_and_the_next_window_is_the_next() {
        let (limit, start) =
            (Aimd::new(100.0, 10.0, 200.0).unwrap().interval(Duration::from_millis(500)), Instant::now());
        (0..50).for_each(|n| limit.observe(at(start, n * 10), Answer::Accepted));
        assert_eq!(limit.rate(), 101.0);
        limit.observe(at(start, 600), Answer::Accepted);
        assert_eq!(limit.rate(), 102.0);
    }

    #[test]
    fn twenty_refusals_of_one_burst_count_once() {
        let (limit, start) = (Aimd::new(100.0, 10.0, 200.0).unwrap(), Instant::now());
        (0..20).for_each(|n| limit.observe(at(start, n * 20), Answer::REFUSED));
        assert_eq!(limit.rate(), 50.0);
    }

    #[test]
    fn successes_a_second_apart_climb_to_the_top_and_stay_and_the_first_step_after_a_fall_is_at_once() {
        let (limit, start) = (Aimd::new(100.0, 10.0, 200.0).unwrap(), Instant::now());
        (0..150).for_each(|n| limit.observe(at(start, n * 1000), Answer::Accepted));
        assert_eq!(limit.rate(), 200.0);
        let slow = Aimd::new(200.0, 10.0, 200.0).unwrap().interval(Duration::from_secs(3600));
        slow.observe(start, Answer::Accepted);
        slow.observe(start, Answer::REFUSED);
        assert_eq!(slow.rate(), 100.0);
        slow.observe(at(start, 1), Answer::Accepted);
        assert_eq!(slow.rate(), 101.0);
    }

    #[test]
    fn the_saw_of_fifty_up_one_down_and_twenty_five_up() {
        let (limit, start) = (Aimd::new(100.0, 10.0, 200.0).unwrap(), Instant::now());
        let mut second = 0;
        let mut up = |n| {
            (0..n).for_each(|_| {
                second += 1000;
                limit.observe(at(start, second), Answer::Accepted);
            });
        };
        up(50);
        assert_eq!(limit.rate(), 150.0);
        limit.observe(at(start, 50_500), Answer::REFUSED);
        assert_eq!(limit.rate(), 75.0);
        up(25);
        assert_eq!(limit.rate(), 100.0);
    }

    #[test]
    fn the_first_second_at_100_a_second_has_at_most_110_permits() {
        let (limit, start) = (Aimd::new(100.0, 1.0, 100.0).unwrap(), Instant::now());
        let permits = (0..1000).filter(|ms| limit.try_acquire(at(start, *ms)).is_ok()).count();
        assert!((100..=110).contains(&permits), "{permits}");
    }

    #[test]
    fn a_refusal_that_says_when_gives_no_permit_until_then() {
        let (limit, start) = (Aimd::new(100.0, 1.0, 100.0).unwrap(), Instant::now());
        limit.observe(start, Answer::Refused { retry_after: Some(Duration::from_secs(2)) });
        assert_eq!(limit.try_acquire(at(start, 500)), Err(Duration::from_millis(1500)));
        assert!(limit.try_acquire(at(start, 1999)).is_err());
        assert!(limit.try_acquire(at(start, 2100)).is_ok());
    }

    #[test]
    fn rates_that_are_none_are_refused() {
        for (start, min, max) in [(1.0, 2.0, 1.0), (f64::NAN, 1.0, 2.0), (1.0, 0.0, 2.0), (1.0, 1.0, f64::INFINITY)] {
            assert!(Aimd::new(start, min, max).is_err(), "{start} {min} {max}");
        }
        assert_eq!(Aimd::new(10_000.0, 1.0, 500.0).unwrap().rate(), 500.0);
        assert!(Aimd::new(1.0, 1.0, 2.0).unwrap().decrease(1.0).is_err());
    }
}
