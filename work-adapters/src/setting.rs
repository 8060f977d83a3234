use std::fmt;

/// A setting of a layer that is out of its range: which, what was given, and what is accepted.
///
/// ```
/// use work_adapters::KeyedConcurrencyLayer;
///
/// let none = KeyedConcurrencyLayer::new(0, |_| None).unwrap_err();
/// assert_eq!(none.to_string(), "jobs at once 0 is out of range; use 1 to 1000000");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {given} is out of range; use {accepted}")]
pub struct InvalidSetting {
    setting: &'static str,
    given: String,
    accepted: &'static str,
}

impl InvalidSetting {
    /// Fails with what was given unless it is in range.
    pub(crate) fn check(
        in_range: bool,
        setting: &'static str,
        given: impl fmt::Display,
        accepted: &'static str,
    ) -> Result<(), Self> {
        if in_range { Ok(()) } else { Err(Self { setting, given: given.to_string(), accepted }) }
    }
}
