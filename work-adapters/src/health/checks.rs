use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Health;

/// Something that is well or not: a [`Health`], a [`Heartbeat`](super::Heartbeat), or any `Fn() -> bool`.
pub trait Check: Send + Sync + 'static {
    /// True if it is well. Must answer at once: it is called for every request.
    fn is_ok(&self) -> bool;
}

impl Check for Health {
    fn is_ok(&self) -> bool {
        self.is_up()
    }
}

impl<F: Fn() -> bool + Send + Sync + 'static> Check for F {
    fn is_ok(&self) -> bool {
        self()
    }
}

/// Named checks, for being ready and for being alive. All must be well.
///
/// ```
/// use work_adapters::{Health, health::Checks};
/// # let stop = tokio_util::sync::CancellationToken::new();
///
/// let checks = Checks::new().add("jobs", Health::default()).add("disk", || true).until("stop", stop.clone());
/// assert!(checks.is_ready());
/// stop.cancel();
/// assert!(!checks.is_ready() && checks.is_alive());
/// ```
#[derive(Clone, Default)]
pub struct Checks {
    ready: Vec<Named>,
    live: Vec<Named>,
}

#[derive(Clone)]
struct Named {
    name: String,
    check: Arc<dyn Check>,
}

impl Checks {
    /// No checks: ready and alive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ready only while this is well.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, check: impl Check) -> Self {
        self.ready.push(Named { name: name.into(), check: Arc::new(check) });
        self
    }

    /// Not ready from the moment the token is cancelled: no more work is sent to what is about to stop.
    #[must_use]
    pub fn until(self, name: impl Into<String>, stop: CancellationToken) -> Self {
        self.add(name, move || !stop.is_cancelled())
    }

    /// Alive only while this is well. Who is not alive is killed, so nothing belongs here that a new start does not cure.
    #[must_use]
    pub fn add_live(mut self, name: impl Into<String>, check: impl Check) -> Self {
        self.live.push(Named { name: name.into(), check: Arc::new(check) });
        self
    }

    /// True if every check of [`add`](Self::add) and [`until`](Self::until) is well.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready().all(|(_, ok)| ok)
    }

    /// True if every check of [`add_live`](Self::add_live) is well.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.live().all(|(_, ok)| ok)
    }

    /// Each check of being ready, in order, as it is now.
    pub fn ready(&self) -> impl Iterator<Item = (&str, bool)> {
        self.ready.iter().map(Named::look)
    }

    /// Each check of being alive, in order, as it is now.
    pub fn live(&self) -> impl Iterator<Item = (&str, bool)> {
        self.live.iter().map(Named::look)
    }
}

/// The one check `jobs`.
impl From<Health> for Checks {
    fn from(health: Health) -> Self {
        Self::new().add("jobs", health)
    }
}

impl Named {
    /// A check that panics is not well.
    fn look(&self) -> (&str, bool) {
        (&self.name, catch_unwind(AssertUnwindSafe(|| self.check.is_ok())).unwrap_or(false))
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |checks: &[Named]| checks.iter().map(|check| check.name.clone()).collect::<Vec<_>>();
        f.debug_struct("Checks").field("ready", &names(&self.ready)).field("live", &names(&self.live)).finish()
    }
}
