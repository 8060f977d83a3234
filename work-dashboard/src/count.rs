//! A number of jobs, and how far it can be trusted.

use std::fmt;
use std::ops::Add;

use serde::ser::{Serialize, SerializeMap, Serializer};
use work_core::JobState;
use work_core::store::Counts;

/// How many jobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// So many.
    Exactly(u64),
    /// There were so many when each of them was looked at, in the last minutes.
    About(u64),
    /// Counting stopped there.
    AtLeast(u64),
}

impl Default for Count {
    fn default() -> Self {
        Self::Exactly(0)
    }
}

impl Count {
    pub(crate) const fn jobs(self) -> u64 {
        match self {
            Self::Exactly(jobs) | Self::About(jobs) | Self::AtLeast(jobs) => jobs,
        }
    }
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let jobs = self.jobs() + other.jobs();
        match (self, other) {
            (Self::Exactly(_), Self::Exactly(_)) => Self::Exactly(jobs),
            (Self::About(_), _) | (_, Self::About(_)) => Self::About(jobs),
            _ => Self::AtLeast(jobs),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs = grouped(self.jobs());
        match self {
            Self::Exactly(_) => f.write_str(&jobs),
            Self::About(_) => write!(f, "≈\u{202f}{jobs}"),
            Self::AtLeast(_) => write!(f, "{jobs}+"),
        }
    }
}

/// With thin spaces between thousands.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// How many jobs are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ByState {
    pub(crate) available: Count,
    pub(crate) running: Count,
    pub(crate) completed: Count,
    pub(crate) discarded: Count,
    pub(crate) cancelled: Count,
}

impl ByState {
    /// By a function of the state.
    pub(crate) fn each(count: impl Fn(JobState) -> Count) -> Self {
        Self {
            available: count(JobState::Available),
            running: count(JobState::Running),
            completed: count(JobState::Completed),
            discarded: count(JobState::Discarded),
            cancelled: count(JobState::Cancelled),
        }
    }

    pub(crate) fn exactly(counts: &Counts) -> Self {
        Self::each(|state| Count::Exactly(counts.of(state)))
    }

    pub(crate) fn state(&self, state: JobState) -> Count {
        match state {
            JobState::Available => self.available,
            JobState::Running => self.running,
            JobState::Completed => self.completed,
            JobState::Discarded => self.discarded,
            JobState::Cancelled => self.cancelled,
            _ => Count::default(),
        }
    }

    fn states(&self, which: impl Fn(Count) -> bool) -> Vec<&'static str> {
        JobState::ALL.into_iter().filter(|state| which(self.state(*state))).map(JobState::name).collect()
    }
}

impl Add for ByState {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::each(|state| self.state(state) + other.state(state))
    }
}

/// The numbers, and the names of the states whose number is not exact.
impl Serialize for ByState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for state in JobState::ALL {
            map.serialize_entry(state.name(), &self.state(state).jobs())?;
        }
        map.serialize_entry("about", &self.states(|count| matches!(count, Count::About(_))))?;
        map.serialize_entry("at_least", &self.states(|count| matches!(count, Count::AtLeast(_))))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_as_sure_as_its_least_sure_part() {
        use Count::{About, AtLeast, Exactly};
        assert_eq!(Exactly(1) + Exactly(2), Exactly(3));
        assert_eq!(Exactly(1) + AtLeast(2), AtLeast(3));
        assert_eq!(AtLeast(1) + About(2), About(3), "it may be more, and it may be less");
        let shown = [Exactly(1_234), About(600_000), AtLeast(5_000)].map(|count| count.to_string());
        assert_eq!(shown, ["1\u{202f}234", "≈\u{202f}600\u{202f}000", "5\u{202f}000+"]);
    }

    #[test]
    fn the_api_names_the_states_whose_number_is_not_exact() {
        let counts = ByState { completed: Count::About(7), discarded: Count::AtLeast(3), ..ByState::default() };
        assert_eq!(
            serde_json::to_value(counts).unwrap(),
            serde_json::json!({ "available": 0, "running": 0, "completed": 7, "discarded": 3, "cancelled": 0,
                "about": ["completed"], "at_least": ["discarded"] })
        );
    }
}
