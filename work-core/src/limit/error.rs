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

/// Permits a second, at least.
const MIN_RATE: f64 = 1e-6;

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

    pub(super) fn check_rate(what: &'static str, given: f64) -> Result<(), Self> {
        let ok = given.is_finite() && given >= MIN_RATE;
        if ok { Ok(()) } else { Err(Self::new(what, given, "a number of at least 0.000001 a second")) }
    }

    pub(super) fn check_share(what: &'static str, given: f64) -> Result<(), Self> {
        if given > 0.0 && given < 1.0 { Ok(()) } else { Err(Self::new(what, given, "more than 0 and less than 1")) }
    }

    pub(super) fn check_rates(start: f64, min: f64, max: f64) -> Result<(), Self> {
        Self::check_rate("start", start)?;
        Self::check_rate("min", min)?;
        Self::check_rate("max", max)?;
        if min > max { Err(Self::new("min", min, "at most max")) } else { Ok(()) }
    }

    pub(super) fn new(what: &'static str, given: impl fmt::Display, accepted: &'static str) -> Self {
        Self { what, given: given.to_string(), accepted }
    }
}
