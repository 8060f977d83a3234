use std::fmt;
use std::time::Duration;

/// A limit that would never let anything pass, or that no clock can keep: which number, and what is accepted.
///
/// ```
/// use std::time::Duration;
/// use work_core::limit::{FixedWindow, Gcra};
///
/// let none = FixedWindow::new(0, Duration::from_secs(1)).unwrap_err();
/// assert_eq!(none.to_string(), "count 0 is out of range; use 1 to 4294967295");
/// let never = Gcra::new(5, Duration::ZERO).unwrap_err();
/// assert_eq!(never.to_string(), "per 0ns is out of range; use more than zero, at most 366 days");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given} is out of range; use {accepted}")]
pub struct InvalidLimit {
    what: &'static str,
    given: String,
    accepted: &'static str,
}

const MAX_PER: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl InvalidLimit {
    pub(super) fn check_count(what: &'static str, given: u32) -> Result<(), Self> {
        if given == 0 { Err(Self::new(what, given, "1 to 4294967295")) } else { Ok(()) }
    }

    /// The upper end keeps sums of instants and of their parts from overflowing.
    pub(super) fn check_per(given: Duration) -> Result<(), Self> {
        if given.is_zero() || given > MAX_PER {
            return Err(Self::new("per", format_args!("{given:?}"), "more than zero, at most 366 days"));
        }
        Ok(())
    }

    pub(super) fn new(what: &'static str, given: impl fmt::Display, accepted: &'static str) -> Self {
        Self { what, given: given.to_string(), accepted }
    }
}
