//! A few more tries within one attempt.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poll_, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower::util::Oneshot;
use tower_layer::Layer;
use tower_service::Service;
use work_core::{Backoff, BoxError, Context, Job, Outcome, Status};

use crate::InvalidSetting;
use crate::ending::is_server_error;

/// Tries a job again on the spot when it fails with 408 or 5xx: for hiccups that are over in less than a second.
///
/// It is **not** what makes jobs reliable. All tries are one attempt: they are not stored, they hold the worker's slot
/// and the lease, and they end with the process. What lasts longer than a moment is the business of
/// [`max_attempts`](Job::max_attempts) and the worker's [`RetryPolicy`](work_core::RetryPolicy), which takes over with
/// the status of the last try.
///
/// An outcome with a [directive](Outcome::directive) is not tried again here: it says itself when or whether. Nor is one
/// whose next try would come after the deadline of a timeout layer outside, or after the execution was cancelled: that
/// ends with 499. A panic is tried again only if a `CatchPanicLayer` inside makes it a 500.
///
/// Every try has the same [`Context`], with its status unknown again; what else the handler had put there stays. Each
/// try but the last works on a clone of the job, so arguments that were typed go through JSON there.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use work_adapters::RetryLayer;
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// static TRIES: AtomicU32 = AtomicU32::new(0);
///
/// async fn flaky() -> Status {
///     if TRIES.fetch_add(1, Ordering::SeqCst) < 2 { Status::UNAVAILABLE } else { Status::SUCCESS }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = LocalWorker::new(Router::new().route("flaky", flaky).layer(RetryLayer::new(3)?));
/// assert_eq!(worker.perform(Job::new("flaky", ())).await?.outcome().await?.status(), Status::SUCCESS);
/// assert_eq!(TRIES.load(Ordering::SeqCst), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RetryLayer {
    tries: u32,
    backoff: Backoff,
}

/// The longest wait between two tries: what needs more time needs another attempt.
pub const MAX_WAIT: Duration = Duration::from_secs(1);

impl RetryLayer {
    /// At most so many tries, the first included, with 50 ms between the first two, then twice the wait before, ± 10 %.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `tries` is 2 to 100.
    pub fn new(tries: u32) -> Result<Self, InvalidSetting> {
        InvalidSetting::check((2..=100).contains(&tries), "tries", tries, "2 to 100")?;
        let backoff = Backoff::exponential(Duration::from_millis(50), 2.0).cap(MAX_WAIT);
        Ok(Self { tries, backoff })
    }

    /// Other waits between the tries. None is longer than [`MAX_WAIT`], a second.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The wait after the try of this number, if there is to be another.
    fn wait(&self, tried: u32, outcome: &Outcome) -> Option<Duration> {
        let again = is_server_error(outcome.status()) && outcome.directive().is_none() && tried < self.tries;
        again.then(|| self.backoff.delay(tried).min(MAX_WAIT))
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry { inner, layer: self.clone() }
    }
}

/// The service of a [`RetryLayer`].
#[derive(Debug, Clone)]
pub struct Retry<S> {
    inner: S,
    layer: RetryLayer,
}

impl<S> Retry<S> {
    inner_service_accessors!();
}

impl<S> Service<Job> for Retry<S>
where
    S: Service<Job, Response = Outcome> + Clone,
    S::Error: Into<BoxError>,
{
    // Each try waits for the service inside.
    always_ready!();
    type Future = ResponseFuture<S>;

    fn call(&mut self, job: Job) -> Self::Future {
        // Asked for before the clone, so that both have the same.
        let context = job.context().clone();
        let first = Step::Trying { call: Oneshot::new(self.inner.clone(), job.clone()) };
        // Only the deadline of all tries together: a timeout layer inside sets one for its own.
        let deadline = context.deadline();
        let tries = Tries { inner: self.inner.clone(), layer: self.layer.clone(), job: Some(job), tried: 1 };
        ResponseFuture { step: first, tries, context, deadline }
    }
}

/// What the next try needs.
struct Tries<S> {
    inner: S,
    layer: RetryLayer,
    /// `None` once the last try has it.
    job: Option<Job>,
    tried: u32,
}

impl<S: Service<Job> + Clone> Tries<S> {
    /// The next try and the wait before it, if there is to be one.
    fn next(&mut self, outcome: &Outcome, deadline: Option<Instant>) -> Option<(Duration, Oneshot<S, Job>)> {
        let wait = self.layer.wait(self.tried, outcome)?;
        if deadline.is_some_and(|deadline| deadline <= Instant::now() + wait) {
            return None;
        }
        self.tried += 1;
        let job = if self.tried < self.layer.tries { self.job.clone() } else { self.job.take() };
        Some((wait, Oneshot::new(self.inner.clone(), job?)))
    }
}

pin_project! {
    #[project = StepProjection]
    enum Step<S: Service<Job>> {
        Trying { #[pin] call: Oneshot<S, Job> },
        // `next` is taken when the wait is over.
        Waiting { #[pin] sleep: Sleep, next: Option<Oneshot<S, Job>> },
        Ended,
    }
}

pin_project! {
    /// The future of a [`Retry`].
    pub struct ResponseFuture<S: Service<Job>> {
        #[pin]
        step: Step<S>,
        tries: Tries<S>,
        context: Context,
        deadline: Option<Instant>,
    }
}

impl<S> Future for ResponseFuture<S>
where
    S: Service<Job, Response = Outcome> + Clone,
    S::Error: Into<BoxError>,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.step.as_mut().project() {
                StepProjection::Trying { call } => {
                    let outcome = ready!(call.poll(cx)).unwrap_or_else(|error| Outcome::from_error(error.into()));
                    this.step.set(Step::Ended);
                    let status = outcome.status().code();
                    let Some((wait, next)) = this.tries.next(&outcome, *this.deadline) else {
                        return Poll::Ready(Ok(outcome));
                    };
                    tracing::debug!(job.status = status, ?wait, "trying again");
                    this.step.set(Step::Waiting { sleep: sleep(wait), next: Some(next) });
                }
                StepProjection::Waiting { sleep, next } => {
                    if this.context.is_cancelled() {
                        this.step.set(Step::Ended);
                        this.context.set_status(Status::CANCELLED);
                        return Poll::Ready(Ok(Outcome::new(Status::CANCELLED)));
                    }
                    ready!(sleep.poll(cx));
                    let Some(call) = next.take() else { return Poll::Pending };
                    this.context.clear_status();
                    this.step.set(Step::Trying { call });
                }
                StepProjection::Ended => return Poll::Pending,
            }
        }
    }
}

opaque_debug!(ResponseFuture<S: Service<Job>>);
