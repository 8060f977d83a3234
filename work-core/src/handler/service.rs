use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context as Poll_, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::Handler;
use crate::{BoxError, Context, Job, Outcome};

/// A [`Handler`] and its state as a [`Service`]: the innermost of a stack of layers.
///
/// It never fails: what goes wrong in the handler is an [`Outcome`]. The status that the outcome leaves open is the
/// one that the handler set in the context, else 200; and it is in the context before any layer looks.
pub struct HandlerService<H, M, S> {
    handler: H,
    state: S,
    marker: PhantomData<fn() -> M>,
}

impl<H, M, S> HandlerService<H, M, S> {
    /// Joins a handler with its state.
    pub const fn new(handler: H, state: S) -> Self {
        Self { handler, state, marker: PhantomData }
    }
}

impl<H: Clone, M, S: Clone> Clone for HandlerService<H, M, S> {
    fn clone(&self) -> Self {
        Self::new(self.handler.clone(), self.state.clone())
    }
}

impl<H, M, S> fmt::Debug for HandlerService<H, M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}

impl<H, M, S> Service<Job> for HandlerService<H, M, S>
where
    H: Handler<M, S>,
    S: Clone + Send + Sync + 'static,
    M: 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = ResponseFuture<H::Future>;

    fn poll_ready(&mut self, _: &mut Poll_<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let context = job.context().clone();
        ResponseFuture { context, future: self.handler.clone().call(job, self.state.clone()) }
    }
}

pin_project! {
    /// The future of a [`HandlerService`].
    pub struct ResponseFuture<F> {
        context: Context,
        #[pin]
        future: F,
    }
}

impl<F: Future<Output = Outcome>> Future for ResponseFuture<F> {
    type Output = Result<Outcome, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut outcome = ready!(this.future.poll(cx));
        if let (false, Some(status)) = (outcome.is_decided(), this.context.status()) {
            outcome = outcome.with_status(status);
        }
        this.context.set_status(outcome.status());
        Poll::Ready(Ok(outcome))
    }
}
