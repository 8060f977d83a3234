//! At most so many starts in so much time.

mod keys;

use std::sync::Arc;

use tower_layer::Layer;
use tower_service::Service;
use work_core::limit::Limiter;
use work_core::store::ErrorRecord;
use work_core::{BoxError, Context, Job, Outcome};

use crate::admit::Admit;
pub(crate) use keys::KeyOf;
use keys::Keys;
pub use keys::MAX_KEYS;

/// Lets jobs start only as often as a [`Limit`](work_core::limit::Limit) allows: a job waits for its permit, in order,
/// or is [refused](Self::refuse).
///
/// All routes that one layer wraps, and all clones of it, share the limit. A job that waits has been started: it holds a
/// slot of the worker, and on a store its lease, and a timeout layer outside of this one counts the wait. So wait where
/// waits are short, and refuse where they are not: a refused job costs nothing until it is due again. A job that is
/// cancelled while it waits takes no permit and never reaches the handler. The wait is
/// [`throttled`](work_core::JobTimings::throttled) in the times of the execution.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use work_adapters::RateLimitLayer;
/// use work_core::limit::Gcra;
/// use work_core::{Job, LocalWorker, Router, Worker};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let one_a_second = RateLimitLayer::new(Gcra::new(1, Duration::from_secs(1))?);
/// let worker = LocalWorker::new(Router::new().route("call", async || {}).layer(one_a_second));
/// let start = Instant::now();
/// for _ in 0..3 {
///     worker.perform(Job::new("call", ())).await?;
/// }
/// worker.stop().await;
/// assert_eq!(start.elapsed(), Duration::from_secs(2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    limit: Arc<Limiter>,
    keys: Option<Arc<Keys>>,
    excess: Excess,
}

/// What happens to a job for which there is no permit.
#[derive(Debug, Clone, Copy)]
enum Excess {
    Waits,
    IsRefused,
}

impl RateLimitLayer {
    /// A layer that waits for permits of this limit. A [`Limiter`] may be given too, and shared with others.
    pub fn new(limit: impl Into<Limiter>) -> Self {
        Self { limit: Arc::new(limit.into()), keys: None, excess: Excess::Waits }
    }

    /// Refuses a job for which there is no permit, instead of waiting: 429, to run again when there may be one. That
    /// does not spend an attempt. In memory only a job that says [`max_attempts`](Job::max_attempts) runs again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use work_adapters::RateLimitLayer;
    /// use work_core::limit::FixedWindow;
    /// use work_core::{Directive, Job, LocalWorker, Router, Status, Worker};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let layer = RateLimitLayer::new(FixedWindow::new(1, Duration::from_secs(60))?).refuse();
    /// let worker = LocalWorker::new(Router::new().route("call", async || {}).layer(layer));
    /// assert_eq!(worker.perform(Job::new("call", ())).await?.outcome().await?.status(), Status::SUCCESS);
    ///
    /// let refused = worker.perform(Job::new("call", ())).await?.outcome().await?;
    /// assert_eq!(refused.status(), Status::TOO_MANY);
    /// assert_eq!(refused.directive(), Some(Directive::Snooze(Duration::from_secs(60))));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn refuse(mut self) -> Self {
        self.excess = Excess::IsRefused;
        self
    }

    /// One limit for each key. A job without a key passes.
    ///
    /// A key is forgotten when its limit counts nothing any more. Of more than [`MAX_KEYS`] keys at a time, the further
    /// ones share one limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use work_adapters::RateLimitLayer;
    /// use work_core::limit::SlidingWindow;
    ///
    /// let layer = RateLimitLayer::new(SlidingWindow::new(10, Duration::from_secs(1))?)
    ///     .by(|job| job.parts().headers.get("tenant").cloned());
    /// assert_eq!(layer.keys(), 0);
    /// # Ok::<(), work_core::limit::InvalidLimit>(())
    /// ```
    #[must_use]
    pub fn by(mut self, key: impl Fn(&Job) -> Option<String> + Send + Sync + 'static) -> Self {
        self.keys = Some(Arc::new(Keys::new(self.limit.fresh(), Box::new(key))));
        self
    }

    /// Keys that wait or still count; it looks at each.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| keys.len())
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit { inner, layer: self.clone() }
    }
}

/// The service of a [`RateLimitLayer`].
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    layer: RateLimitLayer,
}

impl<S> RateLimit<S> {
    inner_service_accessors!();
}

impl<S> Service<Job> for RateLimit<S>
where
    S: Service<Job, Response = Outcome> + Clone,
    S::Error: Into<BoxError>,
{
    // The service inside is waited for after the permit.
    always_ready!();
    type Future = ResponseFuture<S>;

    fn call(&mut self, job: Job) -> Self::Future {
        let limit = match &self.layer.keys {
            Some(keys) => keys.limit(&job),
            None => Some(self.layer.limit.clone()),
        };
        let admit = match (limit, self.layer.excess) {
            (None, _) => Admit::now((), self.inner.clone(), job),
            (Some(limit), Excess::Waits) => {
                let wait = Box::pin(async move { limit.acquire().await });
                Admit::after(wait, self.inner.clone(), job, Context::add_throttled)
            }
            (Some(limit), Excess::IsRefused) => match limit.try_acquire() {
                Ok(()) => Admit::now((), self.inner.clone(), job),
                Err(after) => {
                    let error = ErrorRecord::new(format!("rate limit reached, there may be a permit in {after:?}"));
                    Admit::answer(job.context(), Outcome::snooze(after).with_error(error))
                }
            },
        };
        ResponseFuture { admit }
    }
}

admit_future!(RateLimit, ());
