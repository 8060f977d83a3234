use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poll_, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;
use tracing::Span;
use work_core::{BoxError, Job, Outcome};

use crate::guard::{Guard, Observe};

/// An observer that has a span around the execution.
pub(crate) trait Spanned: Observe {
    fn span(&self) -> &Span;
}

pin_project! {
    /// Calls, polls and drops what is inside of a layer within a span.
    pub(crate) struct InSpan<F, O: Spanned> {
        // `None` once it has ended, so that it is dropped within the span and before the end is seen.
        #[pin]
        future: Option<F>,
        seen: Option<Guard<O>>,
    }

    impl<F, O: Spanned> PinnedDrop for InSpan<F, O> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.seen.as_ref().map(|seen| seen.observer().span().enter());
            this.future.set(None);
        }
    }
}

impl<F, O: Spanned> InSpan<F, O> {
    /// `seen` is made before the call, since that may panic; it is `None` if nobody listens.
    pub(crate) fn call<S>(service: &mut S, job: Job, seen: Option<Guard<O>>) -> Self
    where
        S: Service<Job, Future = F>,
    {
        let entered = seen.as_ref().map(|seen| seen.observer().span().enter());
        let future = service.call(job);
        drop(entered);
        Self { future: Some(future), seen }
    }
}

impl<F, E, O> Future for InSpan<F, O>
where
    F: Future<Output = Result<Outcome, E>>,
    E: Into<BoxError>,
    O: Spanned,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = {
            let _entered = this.seen.as_ref().map(|seen| seen.observer().span().enter());
            let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Pending };
            let result = ready!(future.poll(cx)).map_err(Into::into);
            this.future.set(None);
            result
        };
        if let Some(seen) = this.seen {
            seen.end(&result);
        }
        Poll::Ready(result)
    }
}

/// The future of a layer that has an [`InSpan`] around what is inside.
macro_rules! in_span_future {
    ($service:ident, $seen:ty) => {
        ::pin_project_lite::pin_project! {
            #[doc = concat!("The future of the service [`", stringify!($service), "`].")]
            pub struct ResponseFuture<F> {
                #[pin]
                inner: $crate::in_span::InSpan<F, $seen>,
            }
        }

        impl<F, E> ::std::future::Future for ResponseFuture<F>
        where
            F: ::std::future::Future<Output = Result<::work_core::Outcome, E>>,
            E: Into<::work_core::BoxError>,
        {
            type Output = Result<::work_core::Outcome, ::work_core::BoxError>;

            fn poll(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<Self::Output> {
                self.project().inner.poll(cx)
            }
        }

        opaque_debug!(ResponseFuture<F>);
    };
}
