use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context as Poll_, Poll};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use work_core::store::ErrorRecord;
use work_core::{BoxError, Context, Job, Outcome, Status, panic_text};

/// Makes a panic of the handler an outcome: 500, with the text of the panic and a backtrace.
///
/// Workers survive a panic without this layer too; with it, the layers outside see an ordinary outcome, and the place of
/// the panic is kept with the attempt. A caught panic is logged once through `tracing` and is not printed to stderr:
/// the first layer puts a hook before the process's panic hook, which every other panic goes through as ever.
///
/// ```
/// use work_adapters::CatchPanicLayer;
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// async fn broken() {
///     panic!("no such luck");
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = LocalWorker::new(Router::new().route("broken", broken).layer(CatchPanicLayer::new()));
/// let outcome = worker.perform(Job::new("broken", ())).await?.outcome().await?;
/// assert_eq!(outcome.status(), Status::INTERNAL_ERROR);
/// let error = outcome.error().ok_or("a record")?;
/// assert_eq!(error.message, "no such luck");
/// assert!(error.backtrace.as_ref().is_some_and(|trace| trace.contains("broken")));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct CatchPanicLayer {}

impl CatchPanicLayer {
    /// The layer.
    #[must_use]
    pub fn new() -> Self {
        install_hook();
        Self {}
    }
}

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

/// The service of a [`CatchPanicLayer`].
#[derive(Debug, Clone, Copy)]
pub struct CatchPanic<S> {
    inner: S,
}

impl<S> Service<Job> for CatchPanic<S>
where
    S: Service<Job, Response = Outcome>,
    S::Error: Into<BoxError>,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Poll_<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let context = job.context().clone();
        match catch(|| self.inner.call(job)) {
            Ok(future) => ResponseFuture { future: Some(future), context, panicked: None },
            Err(outcome) => ResponseFuture { future: None, context, panicked: Some(outcome) },
        }
    }
}

pin_project! {
    /// The future of a [`CatchPanic`].
    pub struct ResponseFuture<F> {
        // `None` once it has ended, so that it is dropped where panics are caught.
        #[pin]
        future: Option<F>,
        context: Context,
        panicked: Option<Outcome>,
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Outcome, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = match this.future.as_mut().as_pin_mut() {
            Some(future) => catch(|| future.poll(cx)),
            None => Err(this.panicked.take().unwrap_or_else(|| Outcome::new(Status::INTERNAL_ERROR))),
        };
        let result = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result.map_err(Into::into),
            Err(outcome) => {
                this.context.set_status(Status::INTERNAL_ERROR);
                Ok(outcome)
            }
        };
        match catch(|| this.future.set(None)) {
            Ok(()) => Poll::Ready(result),
            Err(outcome) => {
                this.context.set_status(Status::INTERNAL_ERROR);
                Poll::Ready(Ok(outcome))
            }
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

thread_local! {
    /// How many `catch` are on the stack of this thread.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// Where the last panic inside a `catch` came from.
    static BACKTRACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic as an outcome.
fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Outcome> {
    CATCHING.set(CATCHING.get() + 1);
    // A panic that is passed on calls no hook: it must not get the place of an earlier one.
    BACKTRACE.take();
    let result = catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(CATCHING.get() - 1);
    result.map_err(|panic| {
        let message = panic_text(&*panic);
        let mut error = ErrorRecord::new(message);
        if let Some(backtrace) = BACKTRACE.take() {
            error = error.with_backtrace(backtrace);
        }
        tracing::error!(panic = error.message, "a handler panicked");
        Outcome::new(Status::INTERNAL_ERROR).with_error(error)
    })
}

fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() == 0 {
                return previous(info);
            }
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let backtrace = format!("panicked at {place}\n{}", Backtrace::force_capture());
            BACKTRACE.set(Some(backtrace));
        }));
    });
}
