//! How an attempt ended, and the one table that turns an error into a [`Status`].

use std::any::Any;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::args::ArgsError;
use crate::classify::Failure;
use crate::handle::Ticket;
use crate::store::{CompleteError, ErrorRecord};
use crate::{BoxError, Job, Status};

/// How an attempt ended: a status, and where there is more to say, an output, an error, a directive, follow-up jobs.
///
/// ```
/// use std::time::Duration;
/// use work_core::{IntoOutcome, Json, Outcome, Status};
///
/// let outcome = Json(vec![1, 2, 3]).into_outcome();
/// assert_eq!(outcome.status(), Status::SUCCESS);
/// assert_eq!(outcome.output::<Vec<u8>>()?, Some(vec![1, 2, 3]));
///
/// let later = Outcome::snooze(Duration::from_secs(60));
/// assert_eq!(later.status(), Status::TOO_MANY);
/// # Ok::<(), work_core::ArgsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Outcome {
    status: Option<Status>,
    /// Boxed, since most jobs have none of it.
    detail: Option<Box<Detail>>,
}

#[derive(Debug, Clone, Default)]
struct Detail {
    output: Option<Bytes>,
    error: Option<ErrorRecord>,
    directive: Option<Directive>,
    then: Vec<Job>,
    /// Where the handle of a chain finds its next job, in memory.
    next: Option<Ticket>,
}

/// What the handler wants to happen, whatever the status would say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Directive {
    /// Try again, but not before this long from now, ten years at most; it counts as an attempt.
    RetryAfter(Duration),
    /// Run again in so long, ten years at most; the attempt is given back.
    Snooze(Duration),
    /// Do not try again: a dead letter.
    Discard,
    /// Do not try again: cancelled.
    Cancel,
}

impl Outcome {
    /// An outcome of this status, and nothing else.
    #[must_use]
    pub const fn new(status: Status) -> Self {
        Self { status: Some(status), detail: None }
    }

    /// Ended well, with the status that the handler set in the context, else 200.
    #[must_use]
    pub const fn done() -> Self {
        Self { status: None, detail: None }
    }

    /// Runs again in so long; the attempt is given back.
    #[must_use]
    pub fn snooze(after: Duration) -> Self {
        Self::new(Status::TOO_MANY).with_directive(Directive::Snooze(after))
    }

    /// Gives up at once, as a dead letter with this reason.
    #[must_use]
    pub fn discard(reason: impl Into<String>) -> Self {
        Self::new(Status::BAD_REQUEST).with_error(ErrorRecord::new(reason)).with_directive(Directive::Discard)
    }

    /// What any error means: see the table at [`status_of`].
    #[must_use]
    pub fn from_error(error: impl Into<BoxError>) -> Self {
        let error = error.into();
        let failure = find::<Failure>(&*error);
        let outcome = Self::new(status_of(&*error)).with_error(ErrorRecord::new(chain(&*error)));
        let is_final = || find::<CompleteError>(&*error).is_some_and(CompleteError::is_final);
        match failure.and_then(Failure::directive).or_else(|| is_final().then_some(Directive::Discard)) {
            Some(directive) => outcome.with_directive(directive),
            None => outcome,
        }
    }

    /// What a panic means: 500, with its text.
    #[must_use]
    pub fn from_panic(panic: &(dyn Any + Send)) -> Self {
        Self::new(Status::INTERNAL_ERROR).with_error(ErrorRecord::new(panic_text(panic)))
    }

    /// Adds the output, as JSON.
    #[must_use]
    pub fn with_output(mut self, json: impl Into<Bytes>) -> Self {
        self.detail_mut().output = Some(json.into());
        self
    }

    /// Adds what went wrong.
    #[must_use]
    pub fn with_error(mut self, error: ErrorRecord) -> Self {
        self.detail_mut().error = Some(error);
        self
    }

    /// Adds what should happen, whatever the status would say.
    #[must_use]
    pub fn with_directive(mut self, directive: Directive) -> Self {
        self.detail_mut().directive = Some(directive);
        self
    }

    /// Adds a job that exists if and only if this one is recorded as completed, in the same transaction; at most
    /// [`MAX_FOLLOW_UPS`](crate::MAX_FOLLOW_UPS) of them.
    #[must_use]
    pub fn then(mut self, job: Job) -> Self {
        self.detail_mut().then.push(job);
        self
    }

    /// The same outcome with another status.
    #[must_use]
    pub const fn with_status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// How it went.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self.status {
            Some(status) => status,
            None => Status::SUCCESS,
        }
    }

    /// True if the status was said, by a value or an error, rather than left open by `()`.
    pub(crate) const fn is_decided(&self) -> bool {
        self.status.is_some()
    }

    /// The output as a value of type `T`, if there is one.
    ///
    /// # Errors
    ///
    /// [`ArgsError::Decode`] if it is of another shape.
    pub fn output<T: DeserializeOwned>(&self) -> Result<Option<T>, ArgsError> {
        let json = self.output_json().map(|json| serde_json::from_slice(json));
        json.transpose().map_err(|source| ArgsError::Decode { type_name: std::any::type_name::<T>(), source })
    }

    /// The output as JSON, if there is one.
    #[must_use]
    pub fn output_json(&self) -> Option<&Bytes> {
        self.detail.as_ref()?.output.as_ref()
    }

    /// What went wrong, if anything did.
    #[must_use]
    pub fn error(&self) -> Option<&ErrorRecord> {
        self.detail.as_ref()?.error.as_ref()
    }

    /// What the handler wants to happen, if it said so.
    #[must_use]
    pub fn directive(&self) -> Option<Directive> {
        self.detail.as_ref()?.directive
    }

    /// Takes the follow-up jobs out.
    pub fn take_then(&mut self) -> Vec<Job> {
        self.detail.as_mut().map(|detail| std::mem::take(&mut detail.then)).unwrap_or_default()
    }

    /// True if a job that ends like this is completed.
    pub(crate) fn is_completed(&self) -> bool {
        self.directive().is_none() && self.status().is_complete()
    }

    /// True if a job that ends like this was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        match self.directive() {
            Some(directive) => directive == Directive::Cancel,
            None => self.status() == Status::CANCELLED,
        }
    }

    pub(crate) fn set_next(&mut self, next: Option<Ticket>) {
        if next.is_some() {
            self.detail_mut().next = next;
        }
    }

    pub(crate) fn take_next(&mut self) -> Option<Ticket> {
        self.detail.as_mut()?.next.take()
    }

    /// Takes the output and the error out, for a store.
    pub(crate) fn into_parts(self) -> (Option<Bytes>, Option<ErrorRecord>) {
        self.detail.map(|detail| (detail.output, detail.error)).unwrap_or_default()
    }

    fn detail_mut(&mut self) -> &mut Detail {
        self.detail.get_or_insert_default()
    }
}

/// The table: what each error means. There is no other place where an error becomes a status.
///
/// | error | status |
/// |---|---|
/// | a [`Failure`], anywhere in the chain of causes | the one it carries |
/// | [`ArgsError::TooLarge`], [`ArgsError::Encode`] of an output | 500 |
/// | any other [`ArgsError`]: arguments that the handler cannot take | 400 |
/// | [`UnknownKind`]: no handler of that kind | 404 |
/// | tower's `Elapsed` | 408 |
/// | tower's `Overloaded` | 503 |
/// | anything else | 500 |
#[must_use]
pub fn status_of(error: &(dyn Error + 'static)) -> Status {
    if let Some(failure) = find::<Failure>(error) {
        return failure.status();
    }
    if let Some(args) = find::<ArgsError>(error) {
        return match args {
            ArgsError::Decode { .. } | ArgsError::Taken | ArgsError::TooDeep { .. } => Status::BAD_REQUEST,
            ArgsError::Encode { .. } | ArgsError::TooLarge { .. } => Status::INTERNAL_ERROR,
        };
    }
    if find::<UnknownKind>(error).is_some() {
        Status::NOT_FOUND
    } else if find::<tower::timeout::error::Elapsed>(error).is_some() {
        Status::TIMEOUT
    } else if find::<tower::load_shed::error::Overloaded>(error).is_some() {
        Status::UNAVAILABLE
    } else {
        Status::INTERNAL_ERROR
    }
}

/// The status that a layer should record for what its inner service answered.
///
/// # Errors
///
/// None of its own: it reads one.
pub fn status_of_result(result: &Result<Outcome, BoxError>) -> Status {
    match result {
        Ok(outcome) => outcome.status(),
        Err(error) => status_of(&**error),
    }
}

fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    causes(error).find_map(|cause| cause.downcast_ref::<E>())
}

/// An error and what caused it, outermost first.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let now = next?;
        next = now.source();
        Some(now)
    })
}

/// The text of an error and of its causes; a cause that only repeats the text before it is left out.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut last = String::new();
    for cause in causes(error) {
        let now = cause.to_string();
        if now != last && !last.ends_with(&now) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&now);
        }
        last = now;
    }
    text
}

/// The text of a panic: of a `&str`, a `String`, or an error; anything else has none.
#[must_use]
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .or_else(|| panic.downcast_ref::<BoxError>().map(ToString::to_string))
        .or_else(|| panic.downcast_ref::<std::io::Error>().map(ToString::to_string))
        .unwrap_or_else(|| "the handler panicked with a value that has no text".to_owned())
}

/// The router has no handler of that kind.
#[derive(Debug, thiserror::Error)]
#[error("no handler of kind {0:?}")]
pub struct UnknownKind(pub crate::Kind);
