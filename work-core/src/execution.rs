use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as Poll_, Poll};

use pin_project_lite::pin_project;

use crate::router::{LastRoute, Routed, Routes};
use crate::{BoxError, Context, Job, Outcome, Status};

pin_project! {
    /// One attempt of one job: it always ends with an outcome, whatever the handler and the layers do.
    ///
    /// A panic is 500, a cancelled execution is dropped at its next await and is 499, and an error that no layer
    /// turned into an outcome goes through the table.
    pub(crate) struct Execution {
        context: Context,
        // `None` once it has ended, so that the end can drop it while panics are caught.
        #[pin]
        future: Option<Routed>,
        refused: Option<Outcome>,
    }
}

impl Execution {
    /// Finds the handler. `job` carries the context of this execution.
    pub(crate) fn start(routes: &Routes, job: Job, last: &mut LastRoute) -> Self {
        let context = job.context().clone();
        match routes.routed(job, last) {
            Ok(routed) => Self { context, future: Some(routed), refused: None },
            Err(outcome) => {
                context.set_status(outcome.status());
                Self { context, future: None, refused: Some(outcome) }
            }
        }
    }

    /// Runs it, and keeps the route for the next job.
    pub(crate) async fn run(routes: &Routes, job: Job, last: &mut LastRoute) -> Outcome {
        Keeping { execution: Self::start(routes, job, last), last }.await
    }
}

pin_project! {
    struct Keeping<'l> {
        #[pin]
        execution: Execution,
        last: &'l mut LastRoute,
    }
}

impl Future for Keeping<'_> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Outcome> {
        let this = self.project();
        this.execution.poll(cx, this.last)
    }
}

impl Execution {
    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>, last: &mut LastRoute) -> Poll<Outcome> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return this.refused.take().map_or(Poll::Pending, Poll::Ready);
        };
        let outcome = if this.context.poll_cancelled(cx.waker()) {
            Outcome::new(Status::CANCELLED)
        } else {
            match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(result)) => {
                    if let Some(routed) = this.future.as_mut().as_pin_mut() {
                        routed.keep(last);
                    }
                    result.unwrap_or_else(|error: BoxError| Outcome::from_error(error))
                }
                Err(panic) => Outcome::from_panic(&*panic),
            }
        };
        // The final status is set first, so that the guards of layers that are dropped here record it.
        this.context.set_status(outcome.status());
        match catch_unwind(AssertUnwindSafe(|| this.future.set(None))) {
            Ok(()) => Poll::Ready(outcome),
            Err(panic) => {
                this.context.set_status(Status::INTERNAL_ERROR);
                Poll::Ready(Outcome::from_panic(&*panic))
            }
        }
    }
}
