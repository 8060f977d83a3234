use std::str::FromStr;

/// What happens to runs of a durable schedule that nobody made in time, since no worker was up.
///
/// A run is missed when it is more than a minute late.
///
/// ```
/// use work_core::{CatchUp, Schedule};
///
/// let hourly = Schedule::cron("0 * * * *", "UTC")?.catch_up(CatchUp::All { max: 24 });
/// assert_eq!(hourly.catches_up(), CatchUp::All { max: 24 });
/// # Ok::<(), work_core::InvalidSchedule>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CatchUp {
    /// They do not take place.
    #[default]
    None,
    /// One run takes place for all of them: the last.
    One,
    /// Each takes place, the last `max` of them at most. Runs that may not overlap are one.
    All {
        /// How many, at most.
        max: u32,
    },
}

impl CatchUp {
    /// How many runs may be made at once.
    pub(crate) const fn most(self) -> usize {
        match self {
            Self::None | Self::One => 1,
            Self::All { max } => max as usize,
        }
    }
}

/// As stores keep it: `none`, `one` or `all:24`.
impl std::fmt::Display for CatchUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::One => f.write_str("one"),
            Self::All { max } => write!(f, "all:{max}"),
        }
    }
}

/// A text that is no [`CatchUp`] or no [`Overlap`](crate::Overlap).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {given:?}; use {accepted}")]
pub struct UnknownPolicy {
    what: &'static str,
    given: String,
    accepted: &'static str,
}

impl FromStr for CatchUp {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let all = || text.strip_prefix("all:").and_then(|max| max.parse().ok()).map(|max| Self::All { max });
        match text {
            "none" => Some(Self::None),
            "one" => Some(Self::One),
            _ => all(),
        }
        .ok_or_else(|| UnknownPolicy::of("catch-up", text, "none, one or all:N"))
    }
}

impl UnknownPolicy {
    pub(super) fn of(what: &'static str, given: &str, accepted: &'static str) -> Self {
        Self { what, given: crate::cut(given), accepted }
    }
}
