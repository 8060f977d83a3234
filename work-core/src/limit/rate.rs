use std::collections::VecDeque;
use std::time::Duration;

use super::InvalidLimit;
use crate::{InvalidName, Queue};

/// How many jobs of a queue may start in a time, over all runners of a store: see
/// [`Queues::rate_everywhere`](crate::runner::Queues::rate_everywhere).
///
/// The store counts, by its own clock and in the transaction that leases: a job without a permit is not leased, and has no
/// attempt. A start is a lease, so each further attempt needs a permit too.
///
/// | rate | what it promises |
/// |---|---|
/// | [`even`](Self::even) | a token bucket: evenly spaced, and a burst of a tenth of the count |
/// | [`fixed_window`](Self::fixed_window) | at most `count` in a window, which begins with its first start |
/// | [`sliding_window`](Self::sliding_window) | at most `count` in **any** span of `per` |
///
/// ```
/// use std::time::Duration;
/// use work_core::limit::Rate;
///
/// let rate = Rate::even(100, Duration::from_secs(1))?.burst(5)?;
/// assert_eq!(rate.to_string(), "100 per 1s, evenly, with a burst of 5");
/// assert!(Rate::sliding_window(0, Duration::from_secs(1)).is_err());
/// # Ok::<(), work_core::limit::InvalidLimit>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    shape: Shape,
    count: u32,
    per: Duration,
    burst: u32,
    name: Option<Queue>,
}

/// How the permits of a [`Rate`] are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// See [`Rate::even`].
    Even,
    /// See [`Rate::fixed_window`].
    FixedWindow,
    /// See [`Rate::sliding_window`].
    SlidingWindow,
}

/// A store keeps each lease of the window.
const MAX_SLIDING: u32 = 10_000;

/// For so long permits may gather before somebody who waits for one looks: so that a lease takes several of them.
const GATHER: Duration = Duration::from_millis(20);

impl Rate {
    /// A token bucket: `count` per `per`, evenly spaced, and a tenth of the count (at least 1) at once after a pause. In any
    /// span `t` there are at most `burst + t × count / per`.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] for a count of 0, and for a length of zero or more than 366 days.
    pub fn even(count: u32, per: Duration) -> Result<Self, InvalidLimit> {
        Ok(Self { burst: (count / 10).max(1), ..Self::new(Shape::Even, count, per)? })
    }

    /// At most `count` in a window of `per`, which begins with its first start: up to twice that around its end.
    ///
    /// # Errors
    ///
    /// As [`even`](Self::even).
    pub fn fixed_window(count: u32, per: Duration) -> Result<Self, InvalidLimit> {
        Self::new(Shape::FixedWindow, count, per)
    }

    /// At most `count` in any span of `per`.
    ///
    /// # Errors
    ///
    /// As [`even`](Self::even), and for a count of more than 10,000.
    pub fn sliding_window(count: u32, per: Duration) -> Result<Self, InvalidLimit> {
        if count == 0 || count > MAX_SLIDING {
            return Err(InvalidLimit::new("count", count, "1 to 10000"));
        }
        Self::new(Shape::SlidingWindow, count, per)
    }

    fn new(shape: Shape, count: u32, per: Duration) -> Result<Self, InvalidLimit> {
        // What a database keeps as a number with a sign.
        if count == 0 || count > i32::MAX.cast_unsigned() {
            return Err(InvalidLimit::new("count", count, "1 to 2147483647"));
        }
        InvalidLimit::check_per(per)?;
        Ok(Self { shape, count, per, burst: 1, name: None })
    }

    /// So many at once after a pause, of a rate that is [`even`](Self::even). 1 spaces them all; who is late then misses some.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] for 0, for more than the count, and for a window, which has none.
    pub fn burst(mut self, burst: u32) -> Result<Self, InvalidLimit> {
        if self.shape != Shape::Even || burst == 0 || burst > self.count {
            return Err(InvalidLimit::new("burst", burst, "1 to the count, for an even rate"));
        }
        self.burst = burst;
        Ok(self)
    }

    /// One rate for all queues that give it this name: say, of a service that several of them call. The rates must be the
    /// same.
    #[must_use]
    pub fn named(mut self, name: impl Into<Queue>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Checks the name.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] says what is wrong with it.
    pub fn validate(&self) -> Result<(), InvalidName> {
        self.name.as_ref().map_or(Ok(()), Queue::validate)
    }

    /// How the permits are spread.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// How many in [`per`](Self::per).
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The length of the span.
    #[must_use]
    pub const fn per(&self) -> Duration {
        self.per
    }

    /// How many at once after a pause; 1 for windows, which have none.
    #[must_use]
    pub const fn max_burst(&self) -> u32 {
        self.burst
    }

    /// Its [name](Self::named).
    #[must_use]
    pub const fn name(&self) -> Option<&Queue> {
        self.name.as_ref()
    }

    /// The name under which a store keeps what was taken of this rate for a queue. No two queues have the same, unless the
    /// rate has a name.
    #[must_use]
    pub fn bucket(&self, queue: &Queue) -> String {
        self.name.as_ref().map_or_else(|| format!("={queue}"), |name| name.as_str().to_owned())
    }

    /// A rate as a store keeps it; see the getters of the same names.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] for numbers that no rate has.
    pub fn from_parts(
        shape: Shape,
        count: u32,
        per: Duration,
        burst: u32,
        name: Option<Queue>,
    ) -> Result<Self, InvalidLimit> {
        let rate = match shape {
            Shape::Even => Self::even(count, per)?.burst(burst)?,
            Shape::FixedWindow => Self::fixed_window(count, per)?,
            Shape::SlidingWindow => Self::sliding_window(count, per)?,
        };
        Ok(Self { name, ..rate })
    }

    /// Nanoseconds of a permit, never too few.
    fn permit(&self) -> i64 {
        nanos(self.per).div_ceil_by(i64::from(self.count))
    }
}

impl Shape {
    /// As stores write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Even => "even",
            Self::FixedWindow => "fixed",
            Self::SlidingWindow => "sliding",
        }
    }

    /// The shape of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Even, Self::FixedWindow, Self::SlidingWindow].into_iter().find(|shape| shape.name() == name)
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} per {:?}", self.count, self.per)?;
        match self.shape {
            Shape::Even => write!(f, ", evenly, with a burst of {}", self.burst)?,
            Shape::FixedWindow => f.write_str(" in a window")?,
            Shape::SlidingWindow => f.write_str(" in any window")?,
        }
        self.name.as_ref().map_or(Ok(()), |name| write!(f, ", for all that name `{name}`"))
    }
}

trait DivCeil {
    fn div_ceil_by(self, by: Self) -> Self;
}

impl DivCeil for i64 {
    fn div_ceil_by(self, by: Self) -> Self {
        self / by + Self::from(self % by > 0)
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// What was taken of a [`Rate`], as a store keeps it. Instants are nanoseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Even: when the bucket is full again. A fixed window: when it began.
    pub at: i64,
    /// In this window.
    pub used: u32,
    /// In a sliding window: when, and how many.
    pub log: VecDeque<(i64, u32)>,
}

impl Taken {
    /// How many permits there are now.
    #[must_use]
    pub fn room(&self, rate: &Rate, now: i64) -> u32 {
        let (per, permit) = (nanos(rate.per), rate.permit());
        match rate.shape {
            Shape::Even => {
                let free = now.saturating_add(permit.saturating_mul(i64::from(rate.burst))) - self.full(rate, now);
                u32::try_from(free / permit).unwrap_or(0)
            }
            Shape::FixedWindow if self.is_over(per, now) => rate.count,
            Shape::FixedWindow => rate.count.saturating_sub(self.used),
            Shape::SlidingWindow => {
                let in_window = self.log.iter().filter(|(at, _)| counts(*at, per, now));
                rate.count.saturating_sub(in_window.map(|(_, taken)| taken).sum())
            }
        }
    }

    /// Takes permits that there are.
    pub fn take(&mut self, rate: &Rate, now: i64, permits: u32) {
        let per = nanos(rate.per);
        match rate.shape {
            Shape::Even => self.at = self.full(rate, now) + rate.permit() * i64::from(permits),
            Shape::FixedWindow => {
                if self.is_over(per, now) {
                    (self.at, self.used) = (now, 0);
                }
                self.used += permits;
            }
            Shape::SlidingWindow => {
                self.log.retain(|(at, _)| counts(*at, per, now));
                self.log.push_back((now, permits));
            }
        }
    }

    /// If there is none now: how long until it is worth looking.
    #[must_use]
    pub fn wait(&self, rate: &Rate, now: i64) -> Duration {
        let (per, permit) = (nanos(rate.per), rate.permit());
        let at = match rate.shape {
            Shape::Even => {
                let gather = (nanos(GATHER) / permit).min(i64::from(rate.burst / 2)).max(1);
                self.full(rate, now) - permit * (i64::from(rate.burst) - gather)
            }
            Shape::FixedWindow => self.at.saturating_add(per),
            Shape::SlidingWindow => {
                let first = self.log.iter().find(|(at, _)| counts(*at, per, now));
                first.map_or(now, |(at, _)| at.saturating_add(per))
            }
        };
        Duration::from_nanos(u64::try_from(at - now).unwrap_or(0))
    }

    /// True if nothing that was taken counts any more.
    #[must_use]
    pub fn is_idle(&self, rate: &Rate, now: i64) -> bool {
        let most = if rate.shape == Shape::Even { rate.burst } else { rate.count };
        self.room(rate, now) == most
    }

    /// When the bucket is full: never further away than a whole bucket, should a clock have been put back.
    fn full(&self, rate: &Rate, now: i64) -> i64 {
        self.at.clamp(now, now.saturating_add(rate.permit().saturating_mul(i64::from(rate.burst))))
    }

    /// Also if the clock was put back.
    fn is_over(&self, per: i64, now: i64) -> bool {
        self.used == 0 || now >= self.at.saturating_add(per) || now < self.at
    }
}

/// What was taken then is in the window that ends now.
fn counts(at: i64, per: i64, now: i64) -> bool {
    at > now.saturating_sub(per) && at <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// Takes all there is every `step`, for ten seconds. Answers when, and how many.
    fn greedy(rate: &Rate, step: i64) -> Vec<(i64, u32)> {
        let (mut taken, mut all) = (Taken::default(), Vec::new());
        let start = 1_700_000_000 * SECOND;
        for now in (start..start + 10 * SECOND).step_by(usize::try_from(step).unwrap()) {
            let room = taken.room(rate, now);
            taken.take(rate, now, room);
            all.push((now, room));
        }
        all
    }

    fn most_in_a_second(all: &[(i64, u32)]) -> u32 {
        let in_window = |from: i64| all.iter().filter(move |(at, _)| (from..from + SECOND).contains(at));
        all.iter().map(|(from, _)| in_window(*from).map(|(_, n)| n).sum()).max().unwrap()
    }

    #[test]
    fn no_rate_is_exceeded_in_any_second_and_each_is_used() {
        let second = Duration::from_secs(1);
        for step in [1_000_000, 7_000_000, 33_000_000] {
            for (rate, most) in [
                (Rate::even(100, second).unwrap(), 110),
                (Rate::even(3, second).unwrap(), 4),
                (Rate::sliding_window(100, second).unwrap(), 100),
                (Rate::fixed_window(100, second).unwrap(), 200),
            ] {
                let all = greedy(&rate, step);
                let (found, sum) = (most_in_a_second(&all), all.iter().map(|(_, n)| n).sum::<u32>());
                assert!(found <= most, "{rate}: {found} in a second, every {step} ns");
                assert!(sum >= rate.count() * 95 / 10, "{rate}: {sum}, every {step} ns");
            }
        }
    }

    #[test]
    fn who_waits_as_long_as_it_is_told_finds_a_permit() {
        let second = Duration::from_secs(1);
        for rate in [
            Rate::even(100, second).unwrap(),
            Rate::even(3, second).unwrap(),
            Rate::sliding_window(5, second).unwrap(),
            Rate::fixed_window(5, second).unwrap(),
        ] {
            let (mut taken, mut now) = (Taken::default(), 5 * SECOND);
            for _ in 0..50 {
                let room = taken.room(&rate, now);
                assert!(room > 0, "{rate}");
                taken.take(&rate, now, room);
                assert!(taken.room(&rate, now) == 0 && !taken.is_idle(&rate, now));
                now += nanos(taken.wait(&rate, now));
            }
            assert!(taken.is_idle(&rate, now + 10 * SECOND));
        }
    }

    #[test]
    fn a_clock_that_is_put_back_closes_nothing_for_long() {
        let rate = Rate::even(10, Duration::from_secs(1)).unwrap();
        let mut taken = Taken::default();
        taken.take(&rate, 1_000 * SECOND, 1);
        assert!(taken.wait(&rate, SECOND) <= Duration::from_millis(200));
        let window = Rate::fixed_window(10, Duration::from_secs(1)).unwrap();
        taken.take(&window, 1_000 * SECOND, 10);
        assert_eq!(taken.room(&window, SECOND), 10);
    }

    #[test]
    fn parts_make_the_same_rate() {
        let rate = Rate::even(7, Duration::from_millis(300)).unwrap().named("crm");
        let again = Rate::from_parts(
            Shape::of(rate.shape().name()).unwrap(),
            rate.count(),
            rate.per(),
            rate.max_burst(),
            rate.name().cloned(),
        );
        assert_eq!(again, Ok(rate));
    }
}
