//! At most so many jobs with the same key at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;
use tower_service::Service;
use work_core::{BoxError, Context, Job, Outcome};

use crate::InvalidSetting;
use crate::admit::Admit;
use crate::rate_limit::KeyOf;

/// Lets at most so many jobs with the same key run at once; the others wait, in order for each key.
///
/// A job without a key passes. All routes that one layer wraps, and all clones of it, count together. A place is given
/// back however the job ends, and a key that nobody holds or waits for is forgotten. A job that waits holds a slot of
/// the worker, so that a flood of one key can fill it: a worker needs more slots than jobs of one key wait. The wait is
/// [`waiting`](work_core::JobTimings::waiting) in the times of the execution.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::{Instant, sleep};
/// use work_adapters::KeyedConcurrencyLayer;
/// use work_core::{Job, LocalWorker, Router, Worker};
///
/// async fn sync() {
///     sleep(Duration::from_secs(1)).await;
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let one_an_account = KeyedConcurrencyLayer::new(1, |job| job.parts().headers.get("account").cloned())?;
/// let worker = LocalWorker::new(Router::new().route("sync", sync).layer(one_an_account));
/// let start = Instant::now();
/// for account in ["ann", "ann", "bob"] {
///     worker.perform(Job::new("sync", ()).header("account", account)).await?;
/// }
/// worker.stop().await;
/// assert_eq!(start.elapsed(), Duration::from_secs(2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeyedConcurrencyLayer {
    shared: Arc<Shared>,
}

impl KeyedConcurrencyLayer {
    /// At most `jobs` at once for which `key` says the same.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `jobs` is 1 to 1,000,000.
    pub fn new(
        jobs: usize,
        key: impl Fn(&Job) -> Option<String> + Send + Sync + 'static,
    ) -> Result<Self, InvalidSetting> {
        InvalidSetting::check((1..=1_000_000).contains(&jobs), "jobs at once", jobs, "1 to 1000000")?;
        Ok(Self { shared: Arc::new(Shared { jobs, key_of: Box::new(key), keys: Mutex::default() }) })
    }

    /// Keys of jobs that run or wait.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shared.keys().len()
    }
}

impl fmt::Debug for KeyedConcurrencyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (jobs, keys) = (self.shared.jobs, self.keys());
        f.debug_struct("KeyedConcurrencyLayer").field("jobs", &jobs).field("keys", &keys).finish()
    }
}

impl<S> Layer<S> for KeyedConcurrencyLayer {
    type Service = KeyedConcurrency<S>;

    fn layer(&self, inner: S) -> KeyedConcurrency<S> {
        KeyedConcurrency { inner, layer: self.clone() }
    }
}

struct Shared {
    jobs: usize,
    key_of: KeyOf,
    /// A std mutex: it is held for a look-up.
    keys: Mutex<HashMap<String, Places>>,
}

/// The places of one key. There while someone has a [`Ticket`].
struct Places {
    /// Tokio's semaphore is fair, and never gives a free place to one who comes later than one who waits.
    free: Arc<Semaphore>,
    tickets: usize,
}

impl Shared {
    fn keys(&self) -> MutexGuard<'_, HashMap<String, Places>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticket(self: &Arc<Self>, key: String) -> (Ticket, Arc<Semaphore>) {
        let mut keys = self.keys();
        let new = || Places { free: Arc::new(Semaphore::new(self.jobs)), tickets: 0 };
        let places = keys.entry(key.clone()).or_insert_with(new);
        places.tickets += 1;
        (Ticket { shared: self.clone(), key }, places.free.clone())
    }
}

/// Keeps the key known, from the call until the job has ended.
struct Ticket {
    shared: Arc<Shared>,
    key: String,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut keys = self.shared.keys();
        let Some(places) = keys.get_mut(&self.key) else { return };
        places.tickets -= 1;
        if places.tickets == 0 {
            keys.remove(&self.key);
        }
    }
}

/// What a job holds while it runs; one without a key holds nothing.
struct Place {
    // In this order: the place is free before the key may be forgotten.
    _permit: Option<OwnedSemaphorePermit>,
    _ticket: Option<Ticket>,
}

/// The service of a [`KeyedConcurrencyLayer`].
#[derive(Debug, Clone)]
pub struct KeyedConcurrency<S> {
    inner: S,
    layer: KeyedConcurrencyLayer,
}

impl<S> KeyedConcurrency<S> {
    inner_service_accessors!();
}

impl<S> Service<Job> for KeyedConcurrency<S>
where
    S: Service<Job, Response = Outcome> + Clone,
    S::Error: Into<BoxError>,
{
    // The service inside is waited for when the job has its place.
    always_ready!();
    type Future = ResponseFuture<S>;

    fn call(&mut self, job: Job) -> Self::Future {
        let inner = self.inner.clone();
        // Before the lock: it is the user's code.
        let Some(key) = (self.layer.shared.key_of)(&job) else {
            return ResponseFuture { admit: Admit::now(Place { _permit: None, _ticket: None }, inner, job) };
        };
        let (ticket, free) = self.layer.shared.ticket(key);
        let admit = match free.clone().try_acquire_owned() {
            Ok(permit) => Admit::now(Place { _permit: Some(permit), _ticket: Some(ticket) }, inner, job),
            Err(_) => {
                // The semaphore is never closed, so there is always a permit.
                let place = async move { Place { _permit: free.acquire_owned().await.ok(), _ticket: Some(ticket) } };
                Admit::after(Box::pin(place), inner, job, Context::add_waiting)
            }
        };
        ResponseFuture { admit }
    }
}

admit_future!(KeyedConcurrency, Place);
