//! Is the worker well? By the share of its executions that end with an error, and by whatever else a program checks.
//!
//! [`HealthLayer`] notes how executions end, [`Health`] answers; [`Checks`] puts several answers together, and with the
//! feature `http` `routes` serves them at `/ready` and `/livez`.

mod builder;
mod checks;
mod heartbeat;
#[cfg(feature = "http")]
mod http;
mod layer;
mod record;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use work_core::Status;

pub use builder::{HealthBuilder, InvalidHealth};
pub use checks::{Check, Checks};
pub use heartbeat::Heartbeat;
#[cfg(feature = "http")]
pub use http::routes;
pub use layer::{HealthLayer, HealthService, ResponseFuture};
use record::Record;

/// Whether too large a share of the latest executions ended with an error: 408, 500 or 503 ([`Status::is_error`]).
///
/// The latest are either a [count](Self::by_count) or those of a [time](Self::by_time). The bound is strict: a share that
/// is just what is allowed is well. With fewer executions than the minimum nothing is said, so all is well. It is
/// looked at when it is asked: by time, a worker without traffic is well again once its errors are old.
///
/// By default: the last 5 minutes, at least 5 executions, at most half of them errors. Cheap to clone; every clone is the
/// same. Time is tokio's, which tests can pause.
///
/// ```
/// use work_adapters::{Health, HealthLayer, health::HealthStatus};
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let health = Health::by_count(4).minimum(3).allowed_share(0.25).build()?;
/// let router = Router::new()
///     .route("good", async || {})
///     .route("bad", async || Status::UNAVAILABLE)
///     .layer(HealthLayer::new(health.clone()));
/// let worker = LocalWorker::new(router);
/// for kind in ["bad", "bad", "good"] {
///     worker.perform(Job::new(kind, ())).await?.outcome().await?;
/// }
/// assert_eq!(health.status(), HealthStatus::Down);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Health {
    minimum: u64,
    allowed: f64,
    /// A std mutex: it is held for one step.
    record: Arc<Mutex<Record>>,
}

/// What a [`Health`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HealthStatus {
    /// It works.
    Up,
    /// Too many errors.
    Down,
}

impl Health {
    /// Looks at the last `n` executions, whenever they were. By default the minimum is all `n` of them.
    #[must_use]
    pub const fn by_count(n: usize) -> HealthBuilder {
        HealthBuilder::by_count(n)
    }

    /// Looks at the executions that ended in the last `window`.
    ///
    /// An execution is forgotten one window after it ended, or up to a thousandth of the window later: so many ends
    /// are kept together, and the memory is that of about a thousand at most.
    #[must_use]
    pub const fn by_time(window: Duration) -> HealthBuilder {
        HealthBuilder::by_time(window)
    }

    fn new(minimum: u64, allowed: f64, record: Record) -> Self {
        Self { minimum, allowed, record: Arc::new(Mutex::new(record)) }
    }

    /// How it is now.
    #[must_use]
    pub fn status(&self) -> HealthStatus {
        if self.error_share() > self.allowed { HealthStatus::Down } else { HealthStatus::Up }
    }

    /// True if it works: [`status`](Self::status) is [`HealthStatus::Up`].
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.status() == HealthStatus::Up
    }

    /// The share of errors among the latest executions, from 0 to 1; 0 while there are fewer than the minimum.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        let (errors, total) = self.lock().counts();
        if total == 0 || total < self.minimum { 0.0 } else { errors as f64 / total as f64 }
    }

    /// Notes an execution that ended now, where no layer does.
    pub fn record(&self, status: Status) {
        self.lock().add(status.is_error());
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Health {
    fn default() -> Self {
        let record = Record::by_time(builder::DEFAULT_WINDOW);
        Self::new(builder::DEFAULT_MINIMUM, builder::DEFAULT_ALLOWED, record)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("status", &self.status())
            .field("error_share", &self.error_share())
            .finish_non_exhaustive()
    }
}
