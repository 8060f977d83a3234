//! Panics as outcomes.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context as Poll_, Poll};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::level_filters::LevelFilter;
use work_core::store::ErrorRecord;
use work_core::{BoxError, Context, Job, Outcome, Status, panic_text};

/// Makes a panic of the handler an outcome: 500, with the text of the panic and a backtrace.
///
/// Workers survive a panic without this layer too; with it, the layers outside see an ordinary outcome, and the place of
/// the panic is kept with the attempt. What is caught: panics when the inner service is called, polled and dropped.
///
/// The first layer of a process puts a hook before the panic hook that is there. A panic inside this layer is logged once
/// through `tracing`, as ERROR, and is not passed on to the hook before, so it is not on stderr as well; only where no
/// subscriber is installed at all, it is passed on. Every other panic goes to the hook before as ever. A panic that the
/// handler catches by itself is logged as WARN; one that it resumes by `std::panic::resume_unwind` has no backtrace.
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

impl<S> CatchPanic<S> {
    inner_service_accessors!();
}

impl<S> Service<Job> for CatchPanic<S>
where
    S: Service<Job, Response = Outcome>,
    S::Error: Into<BoxError>,
{
    ready_as_inner!();
    type Future = ResponseFuture<S::Future>;

    fn call(&mut self, job: Job) -> Self::Future {
        let context = job.context().clone();
        match catch(&context, || self.inner.call(job)) {
            Ok(future) => ResponseFuture { future: Some(future), panicked: None, context },
            Err(outcome) => ResponseFuture { future: None, panicked: Some(outcome), context },
        }
    }
}

pin_project! {
    /// The future of a [`CatchPanic`].
    pub struct ResponseFuture<F> {
        // `None` once it has ended, so that it is dropped where panics are caught.
        #[pin]
        future: Option<F>,
        // What the call came to, if it panicked.
        panicked: Option<Outcome>,
        context: Context,
    }

    impl<F> PinnedDrop for ResponseFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                // Nobody is left to take the outcome; the panic is logged.
                drop(catch(this.context, || this.future.set(None)));
            }
        }
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
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return this.panicked.take().map_or(Poll::Pending, |outcome| Poll::Ready(Ok(outcome)));
        };
        let polled = match catch(this.context, || future.poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => Ok(result.map_err(Into::into)),
            Err(outcome) => Err(outcome),
        };
        // The status is in the context by now, for the guards of inner layers. Of two panics the first is told.
        let dropped = catch(this.context, || this.future.set(None));
        Poll::Ready(match (polled, dropped) {
            (Err(outcome), _) | (Ok(_), Err(outcome)) => Ok(outcome),
            (Ok(result), Ok(())) => result,
        })
    }
}

opaque_debug!(ResponseFuture<F>);

/// Tells layers outside that a panic was caught, which the outcome alone does not say: an extension of the context.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panicked;

thread_local! {
    /// How many `catch` are on the stack of this thread.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// The last panic inside the innermost `catch`.
    static LAST: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// A thread that is about to end has no place left, which is as good as none.
fn replace_last(place: Option<Place>) -> Option<Place> {
    LAST.try_with(|last| last.replace(place)).ok().flatten()
}

/// Where a panic came from.
struct Place {
    location: String,
    /// Its symbols are looked up when it is written, which is after the hook.
    backtrace: Backtrace,
}

/// A panic as an outcome, whose status is in the context.
fn catch<T>(context: &Context, run: impl FnOnce() -> T) -> Result<T, Outcome> {
    // A panic may be on its way already, if this drops something while a `catch` further out unwinds.
    let outer = replace_last(None);
    CATCHING.set(CATCHING.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(CATCHING.get() - 1);
    let place = replace_last(outer);
    match result {
        Ok(value) => {
            if let Some(Place { location, .. }) = place {
                tracing::warn!(job.id = context.job_id().map(display), location, "a handler caught a panic");
            }
            Ok(value)
        }
        Err(panic) => {
            context.set_status(Status::INTERNAL_ERROR);
            context.insert(Panicked);
            Err(outcome(context, panic, place))
        }
    }
}

fn outcome(context: &Context, panic: Box<dyn Any + Send>, place: Option<Place>) -> Outcome {
    let mut error = ErrorRecord::new(panic_text(&*panic));
    drop_thrown(panic);
    let location = place.as_ref().map(|place| place.location.as_str());
    tracing::error!(job.id = context.job_id().map(display), panic = error.message, location, "a handler panicked");
    if let Some(Place { location, backtrace }) = place {
        error = error.with_backtrace(format!("panicked at {location}\n{backtrace}"));
    }
    Outcome::new(Status::INTERNAL_ERROR).with_error(error)
}

/// What was thrown may panic when it is dropped.
pub(crate) fn drop_thrown(panic: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(second);
    }
}

fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let caught = CATCHING.get() > 0;
            if !caught || LevelFilter::current() == LevelFilter::OFF {
                previous(info);
            }
            if caught {
                let location = info.location().map(ToString::to_string).unwrap_or_default();
                replace_last(Some(Place { location, backtrace: Backtrace::force_capture() }));
            }
        }));
    });
}
