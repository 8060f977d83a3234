//! As many starts in a time as the other side takes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Poll_, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use work_core::limit::{Adapts, Answer, Limiter};
use work_core::{BoxError, Context, Job, Outcome, status_of_result};

use crate::admit::Admit;

/// Lets jobs start as often as the other side takes them, which it learns from how they end: 429 and 503 are refusals, and
/// what ends well was accepted. After a refusal that says when to come again, nothing starts until then.
///
/// A job waits for its permit, in order. All routes that one layer wraps, and all clones of it, share the limit. A job that
/// waits has been started: it holds a slot of the worker, and on a store its lease. A runner can ask
/// [before it leases](work_core::runner::Runner::adaptive) instead; this is for workers in memory, and for limits of single
/// kinds. The wait is [`throttled`](work_core::JobTimings::throttled) in the times of the execution.
///
/// ```
/// use std::sync::Arc;
/// use work_adapters::AdaptiveLimitLayer;
/// use work_core::limit::{Adaptive, Adapts};
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limit = Arc::new(Adaptive::new(100.0, 1.0, 10_000.0)?);
/// let router = Router::new().route("call", async || Status::TOO_MANY).layer(AdaptiveLimitLayer::new(limit.clone()));
/// let worker = LocalWorker::new(router);
/// worker.perform(Job::new("call", ())).await?.outcome().await?;
/// assert_eq!(limit.rate(), 93.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AdaptiveLimitLayer {
    limit: Arc<dyn Adapts>,
    turn: Limiter,
}

impl AdaptiveLimitLayer {
    /// A layer that waits for permits of this limit, and feeds it. Give it an `Arc` and keep a clone, to see its
    /// [rate](Adapts::rate).
    pub fn new(limit: impl Adapts + 'static) -> Self {
        let limit: Arc<dyn Adapts> = Arc::new(limit);
        Self { turn: Limiter::new(limit.clone()), limit }
    }
}

impl<S> Layer<S> for AdaptiveLimitLayer {
    type Service = AdaptiveLimit<S>;

    fn layer(&self, inner: S) -> AdaptiveLimit<S> {
        AdaptiveLimit { inner, layer: self.clone() }
    }
}

/// The service of an [`AdaptiveLimitLayer`].
#[derive(Debug, Clone)]
pub struct AdaptiveLimit<S> {
    inner: S,
    layer: AdaptiveLimitLayer,
}

impl<S> AdaptiveLimit<S> {
    inner_service_accessors!();
}

impl<S> Service<Job> for AdaptiveLimit<S>
where
    S: Service<Job, Response = Outcome> + Clone,
    S::Error: Into<BoxError>,
{
    // The service inside is waited for after the permit.
    always_ready!();
    type Future = ResponseFuture<S>;

    fn call(&mut self, job: Job) -> Self::Future {
        let AdaptiveLimitLayer { limit, turn } = self.layer.clone();
        let wait = Box::pin(async move { turn.acquire().await });
        ResponseFuture { admit: Admit::after(wait, self.inner.clone(), job, Context::add_throttled), limit }
    }
}

pin_project! {
    /// The future of the service [`AdaptiveLimit`].
    pub struct ResponseFuture<S: Service<Job>> {
        #[pin]
        admit: Admit<S, ()>,
        limit: Arc<dyn Adapts>,
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
        let result = ready!(this.admit.poll(cx));
        // Of an error that is no outcome yet, the status is all that can be read here.
        let answer = match &result {
            Ok(outcome) => Answer::of(outcome),
            Err(_) => Answer::of(&Outcome::new(status_of_result(&result))),
        };
        if let Some(answer) = answer {
            this.limit.observe(Instant::now(), answer);
        }
        Poll::Ready(result)
    }
}

opaque_debug!(ResponseFuture<S: Service<Job>>);

impl fmt::Debug for AdaptiveLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveLimitLayer").field("rate", &self.limit.rate()).finish_non_exhaustive()
    }
}
