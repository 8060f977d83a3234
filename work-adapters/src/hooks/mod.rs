//! Functions that are called when executions start and end.

mod event;
mod future;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tower_layer::Layer;
use tower_service::Service;
use work_core::{BoxError, Job, Outcome, panic_text};

pub use event::{Event, Next};
pub use future::ResponseFuture;
use future::Seen;

use crate::catch_panic::drop_thrown;
use crate::guard::Guard;

/// Calls functions of yours when an execution starts and when it ends, with an [`Event`] that says which and how.
///
/// | hook | when |
/// |---|---|
/// | `on_start` | once, before the handler is called |
/// | `on_success` | it ended well: 2xx or 444 |
/// | `on_error` | it ended in any other way, also cancelled (499) or put off (429) |
/// | `on_panic` | besides `on_error`, if it was a panic |
/// | `on_retry` | besides `on_error`, if there will be another attempt |
/// | `on_exhausted` | besides `on_error`, if there will be none: the job is a dead letter |
/// | `on_finish` | once, last, however it ended |
///
/// So each execution has one `on_start`, either `on_success` or `on_error`, and one `on_finish`; at the end they are called
/// in the order of the table. Neither `on_retry` nor `on_exhausted` follows what was cancelled or put off. Whether there
/// is another attempt is what [`RetryPolicy`](work_core::RetryPolicy) will decide from what this layer sees; a layer
/// outside that changes the outcome, and a worker that stops, change that too.
///
/// Hooks run on the worker and must be quick; several of one name are called in order. A hook that panics is logged as
/// ERROR and changes nothing else.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use work_adapters::HooksLayer;
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let given_up = Arc::new(AtomicU32::new(0));
/// let counted = given_up.clone();
/// let hooks = HooksLayer::new().on_exhausted(move |event| {
///     assert_eq!((event.kind().as_str(), event.attempt(), event.status()), ("bad", 1, Some(Status::UNAVAILABLE)));
///     counted.fetch_add(1, Ordering::Relaxed);
/// });
/// let worker = LocalWorker::new(Router::new().route("bad", async || Status::UNAVAILABLE).layer(hooks));
/// worker.perform(Job::new("bad", ())).await?.outcome().await?;
/// assert_eq!(given_up.load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct HooksLayer {
    hooks: HookSet,
}

/// When a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Start,
    Success,
    Error,
    Panic,
    Retry,
    Exhausted,
    Finish,
}

type Hook = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// All hooks of a layer.
#[derive(Clone, Default)]
struct HookSet(Arc<Vec<(Moment, Hook)>>);

macro_rules! hooks {
    ($($(#[$doc:meta])* $name:ident: $moment:ident;)*) => {
        impl HooksLayer {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, hook: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
                Arc::make_mut(&mut self.hooks.0).push((Moment::$moment, Arc::new(hook)));
                self
            })*
        }
    };
}

hooks! {
    /// When an execution starts.
    on_start: Start;
    /// When it ended well.
    on_success: Success;
    /// When it ended in any other way.
    on_error: Error;
    /// When it ended with a panic, whether a layer inside caught it or not.
    on_panic: Panic;
    /// When it did not end well and there will be another attempt.
    on_retry: Retry;
    /// When it did not end well and there will be no other attempt.
    on_exhausted: Exhausted;
    /// When it ended, whatever the other hooks said.
    on_finish: Finish;
}

impl HooksLayer {
    /// A layer without hooks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl HookSet {
    fn call(&self, moment: Moment, event: &Event<'_>) {
        for (_, hook) in self.0.iter().filter(|(at, _)| *at == moment) {
            let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(event))) else { continue };
            let text = panic_text(&*panic);
            tracing::error!(job.id = %event.job_id(), hook = ?moment, panic = text, "a hook panicked");
            drop_thrown(panic);
        }
    }
}

impl<S> Layer<S> for HooksLayer {
    type Service = Hooks<S>;

    fn layer(&self, inner: S) -> Hooks<S> {
        Hooks { inner, hooks: self.hooks.clone() }
    }
}

impl fmt::Debug for HooksLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moments: Vec<Moment> = self.hooks.0.iter().map(|(moment, _)| *moment).collect();
        f.debug_struct("HooksLayer").field("hooks", &moments).finish()
    }
}

/// The service of a [`HooksLayer`].
#[derive(Clone)]
pub struct Hooks<S> {
    inner: S,
    hooks: HookSet,
}

impl<S> Hooks<S> {
    inner_service_accessors!();
}

impl<S> Service<Job> for Hooks<S>
where
    S: Service<Job, Response = Outcome>,
    S::Error: Into<BoxError>,
{
    ready_as_inner!();
    type Future = ResponseFuture<S::Future>;

    fn call(&mut self, job: Job) -> Self::Future {
        let seen = Seen::start(&job, self.hooks.clone());
        let mut seen = Guard::new(job.context().clone(), seen);
        let future = future::noting(seen.observer_mut(), || self.inner.call(job));
        ResponseFuture::new(future, seen)
    }
}

opaque_debug!(Hooks<S>);
