use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::outcome::Directive;
use crate::{BoxError, Status};

/// Says at the `?` what an error means.
///
/// ```
/// use work_core::{Classify, Outcome, Status};
///
/// fn parse(text: &str) -> Result<u8, work_core::Classified> {
///     text.parse::<u8>().discard()
/// }
///
/// let outcome = Outcome::from_error(parse("x").unwrap_err());
/// assert_eq!(outcome.status(), Status::BAD_REQUEST);
/// ```
pub trait Classify<T>: Sized {
    /// May work another time: 500, tried again with backoff.
    ///
    /// # Errors
    ///
    /// The error, classified.
    fn retryable(self) -> Result<T, Classified>;

    /// Would fail again: 400, a dead letter at once.
    ///
    /// # Errors
    ///
    /// The error, classified.
    fn discard(self) -> Result<T, Classified>;

    /// The other side is away: 503, tried again after this long without spending an attempt.
    ///
    /// # Errors
    ///
    /// The error, classified.
    fn retry_after(self, after: Duration) -> Result<T, Classified>;

    /// Means this status; the table of statuses says what happens.
    ///
    /// # Errors
    ///
    /// The error, classified.
    fn status(self, status: Status) -> Result<T, Classified>;
}

impl<T, E: Into<BoxError>> Classify<T> for Result<T, E> {
    fn retryable(self) -> Result<T, Classified> {
        self.status(Status::INTERNAL_ERROR)
    }

    fn discard(self) -> Result<T, Classified> {
        self.map_err(|e| Classified::new(Status::BAD_REQUEST, Some(Directive::Discard), e))
    }

    fn retry_after(self, after: Duration) -> Result<T, Classified> {
        self.map_err(|e| Classified::new(Status::UNAVAILABLE, Some(Directive::Snooze(after)), e))
    }

    fn status(self, status: Status) -> Result<T, Classified> {
        self.map_err(|e| Classified::new(status, None, e))
    }
}

/// An error that was classified at the `?`: it carries the status, and what should happen.
///
/// It keeps its meaning inside `anyhow::Error` and behind any number of causes. Made by [`Classify`].
#[derive(Debug)]
pub struct Failure {
    status: Status,
    directive: Option<Directive>,
    error: BoxError,
}

impl Failure {
    /// What it means.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// What should happen, if that was said.
    #[must_use]
    pub const fn directive(&self) -> Option<Directive> {
        self.directive
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}

/// What the `?` after a [`Classify`] method carries: converts into `anyhow::Error`, `Box<dyn Error>` and the like.
///
/// The classification is its *cause*, not the error itself: wrappers such as `anyhow::Error` hide the type of the
/// outermost error, but never that of a cause.
#[derive(Debug)]
pub struct Classified(Failure);

impl Classified {
    fn new(status: Status, directive: Option<Directive>, error: impl Into<BoxError>) -> Self {
        Self(Failure { status, directive, error: error.into() })
    }
}

impl fmt::Display for Classified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Classified {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
