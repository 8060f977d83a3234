use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poll_, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::util::Oneshot;
use tower_service::Service;
use work_core::{BoxError, Context, Job, Outcome};

/// A wait for leave to call, which is of type `P` and is given back when the call has ended.
pub(crate) type Wait<P> = Pin<Box<dyn Future<Output = P> + Send>>;

/// Notes how long a wait was, also if it is dropped before it is over.
pub(crate) struct Waited {
    context: Context,
    since: Instant,
    note: fn(&Context, Duration),
}

impl Drop for Waited {
    fn drop(&mut self) {
        (self.note)(&self.context, self.since.elapsed());
    }
}

pin_project! {
    /// Waits, then calls; or answers without a call.
    ///
    /// The readiness of the service is asked for after the wait: what it reserves is not held while another waits.
    #[project = AdmitProjection]
    pub(crate) enum Admit<S: Service<Job>, P> {
        // `call` is taken when the wait is over.
        Waiting { wait: Wait<P>, call: Option<(S, Job)>, waited: Waited },
        // In this order: the call is dropped before the permit.
        Calling { #[pin] call: Oneshot<S, Job>, permit: P },
        // Taken when polled.
        Answering { outcome: Option<Outcome> },
        Ended,
    }
}

impl<S: Service<Job>, P> Admit<S, P> {
    /// Calls once the wait is over. `note` adds to the times of the execution.
    pub(crate) fn after(wait: Wait<P>, service: S, job: Job, note: fn(&Context, Duration)) -> Self {
        let waited = Waited { context: job.context().clone(), since: Instant::now(), note };
        Self::Waiting { wait, call: Some((service, job)), waited }
    }

    /// Calls at once.
    pub(crate) fn now(permit: P, service: S, job: Job) -> Self {
        Self::Calling { call: Oneshot::new(service, job), permit }
    }

    /// Answers this, and calls nothing.
    pub(crate) fn answer(context: &Context, outcome: Outcome) -> Self {
        // As a handler does: the status is in the context before any layer looks.
        context.set_status(outcome.status());
        Self::Answering { outcome: Some(outcome) }
    }
}

impl<S, P> Future for Admit<S, P>
where
    S: Service<Job, Response = Outcome>,
    S::Error: Into<BoxError>,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        loop {
            let next = match self.as_mut().project() {
                AdmitProjection::Waiting { wait, call, .. } => {
                    let permit = ready!(wait.as_mut().poll(cx));
                    let Some((service, job)) = call.take() else { return Poll::Pending };
                    Self::now(permit, service, job)
                }
                AdmitProjection::Calling { call, .. } => {
                    let result = ready!(call.poll(cx)).map_err(Into::into);
                    self.set(Self::Ended);
                    return Poll::Ready(result);
                }
                AdmitProjection::Answering { outcome } => {
                    return outcome.take().map_or(Poll::Pending, |outcome| Poll::Ready(Ok(outcome)));
                }
                AdmitProjection::Ended => return Poll::Pending,
            };
            self.set(next);
        }
    }
}

/// The future of a layer that only [admits](Admit): `$permit` is held until the call has ended.
macro_rules! admit_future {
    ($service:ident, $permit:ty) => {
        ::pin_project_lite::pin_project! {
            #[doc = concat!("The future of the service [`", stringify!($service), "`].")]
            pub struct ResponseFuture<S: ::tower_service::Service<::work_core::Job>> {
                #[pin]
                admit: $crate::admit::Admit<S, $permit>,
            }
        }

        impl<S> ::std::future::Future for ResponseFuture<S>
        where
            S: ::tower_service::Service<::work_core::Job, Response = ::work_core::Outcome>,
            S::Error: Into<::work_core::BoxError>,
        {
            type Output = Result<::work_core::Outcome, ::work_core::BoxError>;

            fn poll(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<Self::Output> {
                self.project().admit.poll(cx)
            }
        }

        opaque_debug!(ResponseFuture<S: ::tower_service::Service<::work_core::Job>>);
    };
}
