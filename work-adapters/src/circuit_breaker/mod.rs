//! No calls to what fails anyway.

mod breaker;
mod window;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poll_, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use work_core::store::ErrorRecord;
use work_core::{BoxError, Directive, Job, Outcome, Status};

use crate::admit::Admit;
use crate::guard::{Guard, Observe};
use breaker::Entry;
pub use breaker::{BreakerState, CircuitBreaker, CircuitBreakerBuilder};

/// Stops calling a handler that mostly fails, and looks again later.
///
/// Closed, it lets every job through and counts how they end over a sliding window. When enough of them failed it
/// opens: for a while jobs are answered with 503, to run again when that time is over, which does not spend an attempt,
/// and no handler runs. (In memory only a job that says [`max_attempts`](Job::max_attempts) runs again.) Then it is
/// half-open: it lets a few probes through, opens again at the first that fails, and closes when all ended well. A job
/// that is cancelled says nothing, and its probe may be made again; put a timeout layer inside, so that every probe ends.
///
/// All routes that one layer wraps share its breaker, so put one around the handlers that need the same thing. What it
/// does is logged with the target `work_adapters::circuit_breaker`: WARN when it opens, INFO when it probes or closes.
///
/// ```
/// use std::time::Duration;
/// use work_adapters::{BreakerState, CircuitBreaker, CircuitBreakerLayer};
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreaker::builder("api").minimum_calls(2).open_for(Duration::from_secs(30)).build()?;
/// let router = Router::new().route("call", async || Status::INTERNAL_ERROR);
/// let worker = LocalWorker::new(router.layer(CircuitBreakerLayer::new(breaker.clone())));
/// for status in [Status::INTERNAL_ERROR, Status::INTERNAL_ERROR, Status::UNAVAILABLE] {
///     assert_eq!(worker.perform(Job::new("call", ())).await?.outcome().await?.status(), status);
/// }
/// assert_eq!(breaker.state(), BreakerState::Open);
/// tokio::time::advance(Duration::from_secs(30)).await;
/// assert_eq!(breaker.state(), BreakerState::HalfOpen);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer {
    breaker: CircuitBreaker,
}

impl CircuitBreakerLayer {
    /// A layer of this breaker. Several layers may have one breaker.
    #[must_use]
    pub const fn new(breaker: CircuitBreaker) -> Self {
        Self { breaker }
    }
}

impl<S> Layer<S> for CircuitBreakerLayer {
    type Service = CircuitBreak<S>;

    fn layer(&self, inner: S) -> CircuitBreak<S> {
        CircuitBreak { inner, breaker: self.breaker.clone() }
    }
}

/// The service of a [`CircuitBreakerLayer`].
#[derive(Debug, Clone)]
pub struct CircuitBreak<S> {
    inner: S,
    breaker: CircuitBreaker,
}

impl<S> CircuitBreak<S> {
    inner_service_accessors!();
}

impl<S> Service<Job> for CircuitBreak<S>
where
    S: Service<Job, Response = Outcome> + Clone,
    S::Error: Into<BoxError>,
{
    // A service that is not is no reason to keep a refusal waiting.
    always_ready!();
    type Future = ResponseFuture<S>;

    fn call(&mut self, job: Job) -> Self::Future {
        let context = job.context().clone();
        match self.breaker.enter() {
            Ok(entry) => {
                let seen = Guard::new(context, Seen { breaker: self.breaker.clone(), entry });
                ResponseFuture { admit: Admit::now((), self.inner.clone(), job), seen: Some(seen) }
            }
            Err(after) => ResponseFuture { admit: Admit::answer(&context, self.refusal(after)), seen: None },
        }
    }
}

impl<S> CircuitBreak<S> {
    fn refusal(&self, after: Duration) -> Outcome {
        let error = ErrorRecord::new(format!("circuit breaker {:?} lets nothing through", self.breaker.name()));
        Outcome::new(Status::UNAVAILABLE).with_error(error).with_directive(Directive::Snooze(after))
    }
}

struct Seen {
    breaker: CircuitBreaker,
    entry: Entry,
}

impl Observe for Seen {
    fn ended(&mut self, status: Status, _: Option<&Result<Outcome, BoxError>>) {
        self.breaker.leave(self.entry, status);
    }
}

pin_project! {
    /// The future of a [`CircuitBreak`].
    pub struct ResponseFuture<S: Service<Job>> {
        // In this order: the call is dropped before its end is seen.
        #[pin]
        admit: Admit<S, ()>,
        seen: Option<Guard<Seen>>,
    }
}

impl<S> Future for ResponseFuture<S>
where
    S: Service<Job, Response = Outcome>,
    S::Error: Into<BoxError>,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = std::task::ready!(this.admit.poll(cx));
        if let Some(seen) = this.seen {
            seen.end(&result);
        }
        Poll::Ready(result)
    }
}

opaque_debug!(ResponseFuture<S: Service<Job>>);
