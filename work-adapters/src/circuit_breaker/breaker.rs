use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use work_core::Status;

use super::window::Window;
use crate::InvalidSetting;

/// The breaker of a [`CircuitBreakerLayer`](super::CircuitBreakerLayer), and a handle to look at it. Cheap to clone;
/// every clone is the same breaker.
///
/// ```
/// use std::time::Duration;
/// use work_adapters::circuit_breaker::{BreakerState, CircuitBreaker};
///
/// let breaker = CircuitBreaker::builder("mail api").minimum_calls(50).open_for(Duration::from_secs(5)).build()?;
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// assert!(CircuitBreaker::builder("mail api").failure_share(1.5).build().is_err());
/// # Ok::<(), work_adapters::InvalidSetting>(())
/// ```
#[derive(Clone)]
pub struct CircuitBreaker {
    shared: Arc<Shared>,
}

/// Whether a [`CircuitBreaker`] lets jobs through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// It lets all through, and counts.
    Closed,
    /// It refuses all.
    Open,
    /// It lets a few through, to see how they end.
    HalfOpen,
}

/// Settings of a [`CircuitBreaker`].
#[derive(Clone)]
#[must_use]
pub struct CircuitBreakerBuilder {
    name: String,
    failure: Arc<dyn Fn(Status) -> bool + Send + Sync>,
    share: f64,
    window: Duration,
    minimum_calls: u32,
    open_for: Duration,
    probes: u32,
}

impl CircuitBreakerBuilder {
    /// It opens when at least this share of the calls failed: more than 0, at most 1; by default 0.5.
    pub const fn failure_share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Over so long, 10 ms to a day; by default 10 s. The oldest tenth is forgotten as a whole.
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// And only if so many calls ended in that time, at least 1; by default 20.
    pub const fn minimum_calls(mut self, calls: u32) -> Self {
        self.minimum_calls = calls;
        self
    }

    /// How long it stays open, 1 ms to a day; by default 30 s.
    pub const fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }

    /// How many calls must end well, half-open, before it closes, at least 1; by default 3. No more run at once then.
    pub const fn probes(mut self, calls: u32) -> Self {
        self.probes = calls;
        self
    }

    /// What a failure is; by default [`Status::is_error`], which is 408, 500 and 503.
    ///
    /// Of what is none, 429 and 499 are not counted at all: they do not tell that anything worked.
    pub fn failure(mut self, failure: impl Fn(Status) -> bool + Send + Sync + 'static) -> Self {
        self.failure = Arc::new(failure);
        self
    }

    /// Makes the breaker, closed.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] names a setting that is out of its range.
    pub fn build(self) -> Result<CircuitBreaker, InvalidSetting> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let time = |least| Duration::from_millis(least)..=DAY;
        let share = self.share > 0.0 && self.share <= 1.0;
        InvalidSetting::check(share, "failure share", self.share, "more than 0, at most 1")?;
        let given = format!("{:?}", self.window);
        InvalidSetting::check(time(10).contains(&self.window), "window", given, "10 ms to a day")?;
        let given = format!("{:?}", self.open_for);
        InvalidSetting::check(time(1).contains(&self.open_for), "open time", given, "1 ms to a day")?;
        InvalidSetting::check(self.minimum_calls > 0, "minimum calls", self.minimum_calls, "1 to 4294967295")?;
        InvalidSetting::check(self.probes > 0, "probes", self.probes, "1 to 4294967295")?;
        let circuit = Circuit { phase: Phase::Closed(Window::new(self.window)), number: 0 };
        Ok(CircuitBreaker { shared: Arc::new(Shared { settings: self, circuit: Mutex::new(circuit) }) })
    }
}

impl fmt::Debug for CircuitBreakerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

struct Shared {
    settings: CircuitBreakerBuilder,
    /// A std mutex: it is held for a few comparisons, and not while anything is logged.
    circuit: Mutex<Circuit>,
}

struct Circuit {
    phase: Phase,
    /// Of the phase: what a call that began in an earlier one came to says nothing about this one.
    number: u64,
}

enum Phase {
    Closed(Window),
    Open { until: Instant },
    HalfOpen { running: u32, succeeded: u32 },
}

impl Phase {
    const fn state(&self) -> BreakerState {
        match self {
            Self::Closed(_) => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

impl Circuit {
    fn turn(&mut self, phase: Phase) -> Turn {
        let from = std::mem::replace(&mut self.phase, phase).state();
        self.number += 1;
        (from, self.phase.state())
    }
}

type Turn = (BreakerState, BreakerState);

/// The phase that a call began in; to be given back with its status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry(u64);

impl CircuitBreaker {
    /// A breaker with settings. The name is for the log.
    pub fn builder(name: impl Into<String>) -> CircuitBreakerBuilder {
        CircuitBreakerBuilder {
            name: name.into(),
            failure: Arc::new(Status::is_error),
            share: 0.5,
            window: Duration::from_secs(10),
            minimum_calls: 20,
            open_for: Duration::from_secs(30),
            probes: 3,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.settings.name
    }

    /// Whether it lets jobs through. It is half-open from the moment its open time is over.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.circuit().phase {
            Phase::Open { until } if until <= Instant::now() => BreakerState::HalfOpen,
            ref phase => phase.state(),
        }
    }

    /// Lets a call through, or says when to look again.
    pub(super) fn enter(&self) -> Result<Entry, Duration> {
        let now = Instant::now();
        let settings = &self.shared.settings;
        let mut circuit = self.circuit();
        let mut turn = None;
        if matches!(circuit.phase, Phase::Open { until } if until <= now) {
            turn = Some(circuit.turn(Phase::HalfOpen { running: 0, succeeded: 0 }));
        }
        let number = circuit.number;
        let entry = match &mut circuit.phase {
            Phase::Closed(_) => Ok(Entry(number)),
            Phase::Open { until } => Err(until.duration_since(now)),
            Phase::HalfOpen { running, succeeded } if *running + *succeeded < settings.probes => {
                *running += 1;
                Ok(Entry(number))
            }
            // The probes will have ended some time, and then it is open or closed.
            Phase::HalfOpen { .. } => Err((settings.open_for / 10).max(Duration::from_millis(1))),
        };
        drop(circuit);
        self.log(turn);
        entry
    }

    /// A call that was let through has ended.
    pub(super) fn leave(&self, Entry(number): Entry, status: Status) {
        // Before the lock: it is the user's code.
        let failed = (self.shared.settings.failure)(status);
        let counts = failed || !matches!(status, Status::TOO_MANY | Status::CANCELLED);
        let mut circuit = self.circuit();
        if circuit.number != number {
            return;
        }
        let next = self.after(&mut circuit.phase, counts.then_some(failed));
        let turn = next.map(|phase| circuit.turn(phase));
        drop(circuit);
        self.log(turn);
    }

    /// The phase that follows when a call of this one has failed, or not, or said nothing.
    fn after(&self, phase: &mut Phase, failed: Option<bool>) -> Option<Phase> {
        let settings = &self.shared.settings;
        let open = || Phase::Open { until: Instant::now() + settings.open_for };
        match phase {
            Phase::Closed(window) => {
                let counts = window.add(failed?, Instant::now());
                let enough = counts.calls >= u64::from(settings.minimum_calls);
                let bad = counts.failed as f64 >= counts.calls as f64 * settings.share;
                (enough && bad).then(open)
            }
            Phase::Open { .. } => None,
            Phase::HalfOpen { running, succeeded } => {
                *running -= 1;
                if failed? {
                    return Some(open());
                }
                *succeeded += 1;
                (*succeeded >= settings.probes).then(|| Phase::Closed(Window::new(settings.window)))
            }
        }
    }

    /// With the target of the layer, whatever file this is.
    fn log(&self, turn: Option<Turn>) {
        let Some((from, to)) = turn else { return };
        let breaker = self.name();
        if to == BreakerState::Open {
            tracing::warn!(target: "work_adapters::circuit_breaker", breaker, ?from, ?to, "circuit breaker turned");
        } else {
            tracing::info!(target: "work_adapters::circuit_breaker", breaker, ?from, ?to, "circuit breaker turned");
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.shared.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker").field("name", &self.name()).field("state", &self.state()).finish()
    }
}
