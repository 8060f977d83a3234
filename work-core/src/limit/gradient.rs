use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::InvalidLimit;
use super::latencies::{Latencies, Latency};
use crate::Status;

/// Finds how many jobs at once the other side takes before they get slower, and lets so many run: see
/// [`Runner::concurrency_by_latency`](crate::runner::Runner::concurrency_by_latency). A clone is the same rule: keep one, to
/// see its [slots](Self::slots).
///
/// It compares how long attempts take with how long they took when nothing waited on the other side, the baseline:
///
/// - as long as all slots are used and attempts take no more than a tenth longer, there are more slots: by one, then two, then
///   four, at most a quarter more at once;
/// - if they take longer, there are fewer, in that proportion: one step for twice the time halves them at most;
/// - if a quarter fewer slots make attempts no faster, it is no queue that made them slow: that is the new baseline. Now and
///   then a third of the slots rests for a moment, to see the same while all seems well.
///
/// Attempts that ended well or ran out of time count; the tenth that took longest does not, and what may be chance is taken for
/// chance. On a modelled server that gets slower from N at once it uses N to N + 20 %, and it follows within seconds if N or
/// the time of an attempt changes.
///
/// ```
/// use work_core::limit::Gradient;
///
/// let slots = Gradient::new(4, 200)?.start(20);
/// assert_eq!((slots.min(), slots.max(), slots.slots()), (4, 200, 20));
/// let none = Gradient::new(0, 200).unwrap_err();
/// assert_eq!(none.to_string(), "min 0 is out of range; use 1 to max, at most 1000000");
/// # Ok::<(), work_core::limit::InvalidLimit>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gradient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    /// A std mutex: it is held for a few sums.
    state: Mutex<Now>,
    slots: watch::Sender<usize>,
}

#[derive(Debug, Clone)]
struct Settings {
    min: usize,
    max: usize,
    start: usize,
    tolerance: f64,
    interval: Duration,
}

#[derive(Debug)]
struct Now {
    /// Whole slots and a part of one.
    slots: f64,
    /// How long an attempt takes while nothing waits, in seconds. `None`: not seen yet.
    baseline: Option<f64>,
    /// What the next step up adds.
    step: f64,
    /// Attempts have been slower than the baseline: the ceiling has been met once.
    met: bool,
    compared: Compared,
    /// Slots, and how long attempts took with them, while some rest to see whether that makes a difference.
    resting: Option<(f64, f64)>,
    /// Windows since that was last seen.
    unseen: u32,
    running: usize,
    window: Window,
}

/// What attempts with fewer slots are compared with, while they are slow.
#[derive(Debug, Clone, Copy)]
enum Compared {
    Nothing,
    /// With the next window.
    Soon,
    /// So many slots, and how long attempts took with them.
    With(f64, f64),
}

/// What ended since the last step.
#[derive(Debug)]
struct Window {
    began: Instant,
    most: usize,
    seen: Latencies,
}

/// Attempts in a window, at least; and for each slot.
const ENDS: usize = 32;
const ENDS_A_SLOT: usize = 2;

/// What an exceeded window leaves of the slots, at least.
const FALL: f64 = 0.5;

/// What is left while some rest, and how many windows are between two rests; after a start above the least and after a rest
/// that made a difference, fewer.
const REST: f64 = 0.7;
const REST_AFTER: u32 = 40;
const REST_SOON: u32 = 30;

/// So many fewer slots have to make a difference.
const TELLING: f64 = 0.75;

/// The most slots there can be.
const MAX_SLOTS: usize = 1_000_000;

impl Gradient {
    /// At least `min` slots, with which it begins, and at most `max`.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if `min` is 0 or above `max`, or `max` is above 1,000,000.
    pub fn new(min: usize, max: usize) -> Result<Self, InvalidLimit> {
        if max == 0 || max > MAX_SLOTS {
            return Err(InvalidLimit::new("max", max, "1 to 1000000"));
        }
        if min == 0 || min > max {
            return Err(InvalidLimit::new("min", min, "1 to max, at most 1000000"));
        }
        Ok(Self::of(Settings { min, max, start: min, tolerance: 1.1, interval: Duration::from_millis(100) }))
    }

    /// How many slots there are at first; by default the least. One outside of the range is moved to its nearer end.
    #[must_use]
    pub fn start(self, slots: usize) -> Self {
        let settings = self.settings();
        Self::of(Settings { start: slots.clamp(settings.min, settings.max), ..settings.clone() })
    }

    /// How many times as long as the baseline attempts may take, before there are fewer slots; by default 1.1.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if it is not between 1 and 10.
    pub fn tolerance(self, times: f64) -> Result<Self, InvalidLimit> {
        if times > 1.0 && times <= 10.0 {
            return Ok(Self::of(Settings { tolerance: times, ..self.settings().clone() }));
        }
        Err(InvalidLimit::new("tolerance", times, "more than 1, at most 10"))
    }

    /// How much time there is between two steps, at least; by default 100 ms. There are also some attempts between them: 32, and
    /// two for each slot.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self::of(Settings { interval, ..self.settings().clone() })
    }

    fn of(settings: Settings) -> Self {
        let state = Now {
            slots: settings.start as f64,
            baseline: None,
            step: 1.0,
            met: false,
            compared: Compared::Nothing,
            resting: None,
            unseen: if settings.start > settings.min { REST_SOON } else { 0 },
            running: 0,
            window: Window { began: Instant::now(), most: 0, seen: Latencies::default() },
        };
        let slots = watch::Sender::new(settings.start);
        Self { shared: Arc::new(Shared { settings, state: Mutex::new(state), slots }) }
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The least number of slots.
    #[must_use]
    pub fn min(&self) -> usize {
        self.settings().min
    }

    /// The largest number of slots.
    #[must_use]
    pub fn max(&self) -> usize {
        self.settings().max
    }

    /// How many jobs run at once, as it stands.
    #[must_use]
    pub fn slots(&self) -> usize {
        *self.shared.slots.borrow()
    }

    /// How long an attempt takes while nothing waits on the other side; `None` if that has not been seen yet.
    #[must_use]
    pub fn baseline(&self) -> Option<Duration> {
        self.lock().baseline.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// Tells of changes.
    pub(crate) fn watch(&self) -> watch::Receiver<usize> {
        self.shared.slots.subscribe()
    }

    /// An attempt begins.
    pub(crate) fn begin(&self) -> Call {
        self.lock().started();
        Call { gradient: self.clone(), began: Instant::now() }
    }

    fn ended(&self, began: Instant, now: Instant) {
        let mut state = self.lock();
        // Of those that began before, there may have been more or fewer at once.
        if began < state.window.began {
            return;
        }
        state.window.seen.add(now.duration_since(began));
        let slots = state.whole(self.settings());
        let enough = state.window.seen.count() >= ENDS.max(ENDS_A_SLOT * slots);
        if !enough || now.duration_since(state.window.began) < self.settings().interval {
            return;
        }
        state.step(self.settings(), slots);
        let most = state.running;
        state.window = Window { began: now, most, seen: Latencies::default() };
        let slots = state.whole(self.settings());
        drop(state);
        self.shared.slots.send_if_modified(|before| std::mem::replace(before, slots) != slots);
    }
}

impl Now {
    fn started(&mut self) {
        self.running += 1;
        self.window.most = self.window.most.max(self.running);
    }

    fn whole(&self, settings: &Settings) -> usize {
        ((self.slots + 1e-9) as usize).clamp(settings.min, settings.max)
    }

    fn set(&mut self, settings: &Settings, slots: f64) {
        self.slots = slots.clamp(settings.min as f64, settings.max as f64);
    }

    /// A window has ended, with so many slots.
    fn step(&mut self, settings: &Settings, slots: usize) {
        // Whatever made them slow, it was not that so many ran.
        if self.window.most * 2 < slots {
            return;
        }
        let seen = self.window.seen.sum_up();
        let baseline = *self.baseline.get_or_insert(seen.mean);
        // If they got slower while some rested, this is no time to compare.
        if let Some((before, took)) = self.resting.take().filter(|(_, took)| seen.mean <= 1.3 * took) {
            self.rested(settings, seen, before, took);
            return;
        }
        self.unseen += 1;
        if seen.at_most() < baseline {
            let share = if seen.at_most() < 0.7 * baseline { 1.0 } else { 0.3 };
            self.baseline = Some(baseline + share * (seen.mean - baseline));
        }
        let allowed = settings.tolerance * self.baseline.unwrap_or(baseline);
        if self.unseen >= REST_AFTER && slots > settings.min {
            self.compared = Compared::Nothing;
            self.resting = Some((self.slots, seen.mean));
            self.set(settings, self.slots * REST);
        } else if seen.at_least() <= allowed {
            self.compared = Compared::Nothing;
            // What is between may be chance.
            if seen.mean <= allowed && self.window.most * 10 >= slots * 9 {
                self.raise(settings);
            }
        } else {
            self.is_slow(settings, slots, seen, allowed);
        }
    }

    fn raise(&mut self, settings: &Settings) {
        self.set(settings, self.slots + self.step);
        let most = if self.met { self.slots / 4.0 } else { self.slots };
        self.step = (2.0 * self.step).min(most).max(1.0);
    }

    fn is_slow(&mut self, settings: &Settings, slots: usize, seen: Latency, allowed: f64) {
        self.step = 1.0;
        self.met = true;
        if slots <= settings.min {
            // There is nothing to take away, so this is as fast as it gets.
            self.baseline = self.baseline.map(|baseline| f64::midpoint(baseline, seen.mean));
            self.compared = Compared::Nothing;
            return;
        }
        self.compared = match self.compared {
            Compared::With(before, took) if seen.mean <= 1.2 * took => {
                if self.slots > TELLING * before {
                    Compared::With(before, took)
                } else if made_no_difference(self.slots / before, seen.at_most() / took) {
                    // Nor is it sure that they did.
                    self.unseen = 0;
                    self.baseline = Some(seen.mean);
                    self.compared = Compared::Nothing;
                    return;
                } else {
                    Compared::With(self.slots, seen.mean)
                }
            }
            Compared::Soon => Compared::With(self.slots, seen.mean),
            // In a part of this window all may still have been well.
            _ => Compared::Soon,
        };
        self.set(settings, self.slots * (allowed / seen.at_least()).max(FALL));
    }

    /// Some have rested: there were `before` slots, and attempts took so long.
    fn rested(&mut self, settings: &Settings, seen: Latency, before: f64, took: f64) {
        if made_no_difference(self.slots / before, seen.mean / took) {
            self.unseen = 0;
            let known = self.baseline.filter(|known| (0.7..1.3).contains(&(seen.mean / known)));
            self.baseline = Some(known.map_or(seen.mean, |known| 0.5 * (known + seen.mean)));
            self.set(settings, before);
        } else {
            // There was a queue, and may be one still.
            self.baseline = Some(seen.mean);
            self.unseen = REST_SOON;
            self.step = 1.0;
        }
    }
}

/// Where slots wait for each other, a share of them takes that share of the time: it took more than half of the way less.
fn made_no_difference(slots: f64, took: f64) -> bool {
    took >= f64::midpoint(1.0, slots)
}

/// An attempt that is under way. It counts as running until this is dropped.
pub(crate) struct Call {
    gradient: Gradient,
    began: Instant,
}

impl Call {
    /// It ended with this status. What failed says nothing about how long it takes, but for what ran out of time.
    pub(crate) fn end(self, status: Status) {
        if status.is_complete() || status == Status::TIMEOUT {
            self.gradient.ended(self.began, Instant::now());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.gradient.lock().running -= 1;
    }
}

#[cfg(test)]
#[path = "knee.rs"]
mod knee;
