use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poll_, Poll};

use pin_project_lite::pin_project;

use crate::IntoOutcome;
use crate::{BoxError, Outcome};

pin_project! {
    /// The future of a [`Handler`](super::Handler) that is a function.
    #[derive(Debug)]
    pub struct HandlerFuture<F> {
        #[pin]
        step: Step<F>,
    }
}

pin_project! {
    #[project = StepProjection]
    #[derive(Debug)]
    enum Step<F> {
        Running { #[pin] future: F },
        // Taken when polled: an argument could not be had, and the function was not called.
        Rejected { error: Option<BoxError> },
    }
}

impl<F> HandlerFuture<F> {
    pub(super) const fn running(future: F) -> Self {
        Self { step: Step::Running { future } }
    }

    pub(super) const fn rejected(error: BoxError) -> Self {
        Self { step: Step::Rejected { error: Some(error) } }
    }
}

impl<F: Future<Output: IntoOutcome>> Future for HandlerFuture<F> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Outcome> {
        match self.project().step.project() {
            StepProjection::Running { future } => future.poll(cx).map(IntoOutcome::into_outcome),
            StepProjection::Rejected { error } => match error.take() {
                Some(error) => Poll::Ready(Outcome::from_error(error)),
                None => Poll::Pending,
            },
        }
    }
}
