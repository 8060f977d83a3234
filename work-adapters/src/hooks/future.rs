use std::borrow::Cow;
use std::error::Error;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context as Poll_, Poll, ready};

use pin_project_lite::pin_project;
use work_core::store::Settlement;
use work_core::{BoxError, Clock, Context, Failure, Job, Outcome, RetryPolicy, Status, panic_text};

use super::event::{End, Event, Ids, Next};
use super::{HookSet, Moment};
use crate::catch_panic::Panicked;
use crate::ending::error_text;
use crate::guard::{Guard, Observe};

/// Calls the hooks of one execution.
pub(super) struct Seen {
    job: Ids,
    context: Context,
    hooks: HookSet,
    /// The text of a panic that went through this layer.
    panic: Option<String>,
}

impl Seen {
    pub(super) fn start(job: &Job, hooks: HookSet) -> Self {
        let seen = Self { job: Ids::of(job.parts()), context: job.context().clone(), hooks, panic: None };
        seen.call(Moment::Start, None);
        seen
    }

    fn call(&self, moment: Moment, end: Option<End<'_>>) {
        self.hooks.call(moment, &Event { job: &self.job, context: &self.context, end });
    }
}

impl Observe for Seen {
    fn ended(&mut self, status: Status, result: Option<&Result<Outcome, BoxError>>) {
        let caught = self.context.extension::<Panicked>().is_some();
        // A panic that went through is 500, whatever the one who caught it left in the context.
        let status = if self.panic.is_some() { Status::INTERNAL_ERROR } else { status };
        let text = self.panic.as_deref().map(Cow::Borrowed).or_else(|| result.and_then(error_text));
        let next = next(status, result, &self.context);
        let end = Some(End { status, error: text.as_deref(), next });
        if status.is_complete() {
            self.call(Moment::Success, end);
        } else {
            self.call(Moment::Error, end);
            if caught || self.panic.is_some() {
                self.call(Moment::Panic, end);
            }
            match next {
                Next::Retry => self.call(Moment::Retry, end),
                Next::Discard => self.call(Moment::Exhausted, end),
                Next::Complete | Next::Snooze | Next::Cancel => {}
            }
        }
        self.call(Moment::Finish, end);
    }
}

/// What the policy makes of it: which decision it is does not depend on the backoff.
fn next(status: Status, result: Option<&Result<Outcome, BoxError>>, context: &Context) -> Next {
    let directive = match result {
        Some(Ok(outcome)) => outcome.directive(),
        Some(Err(error)) => failure(&**error).and_then(Failure::directive),
        None => None,
    };
    if status.is_complete() && directive.is_none() {
        return Next::Complete;
    }
    let outcome = Outcome::new(status);
    let outcome = directive.into_iter().fold(outcome, Outcome::with_directive);
    let now = Clock::system().now();
    match RetryPolicy::default().decide(&outcome, context.attempt(), context.max_attempts(), now) {
        Settlement::Complete { .. } => Next::Complete,
        Settlement::Retry { .. } => Next::Retry,
        Settlement::Snooze { .. } => Next::Snooze,
        Settlement::Cancel => Next::Cancel,
        _ => Next::Discard,
    }
}

fn failure<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Failure> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// Notes the text of a panic on its way through.
pub(super) fn noting<T>(seen: &mut Seen, run: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => value,
        Err(panic) => {
            seen.panic = Some(panic_text(&*panic));
            resume_unwind(panic)
        }
    }
}

pin_project! {
    /// The future of a [`Hooks`](super::Hooks).
    pub struct ResponseFuture<F> {
        // `None` once it has ended, so that it is dropped before the end is seen; and before `seen` if it is dropped.
        #[pin]
        future: Option<F>,
        seen: Guard<Seen>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(future: F, seen: Guard<Seen>) -> Self {
        Self { future: Some(future), seen }
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
        let seen = this.seen;
        let result = ready!(noting(seen.observer_mut(), || {
            let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Pending };
            let result = ready!(future.poll(cx)).map_err(Into::into);
            this.future.set(None);
            Poll::Ready(result)
        }));
        seen.end(&result);
        Poll::Ready(result)
    }
}

opaque_debug!(ResponseFuture<F>);
