//! What is stored: the arguments of a step, and its output.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use work_core::JobId;

/// The arguments of a job that is a step of an item.
#[derive(Debug, Serialize)]
pub(crate) struct Envelope<'e, C: ?Sized> {
    pub(crate) item: JobId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<JobId>,
    pub(crate) step: u32,
    pub(crate) context: &'e C,
    /// What the item waits for: the step is due when it has waited in vain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unless: Option<(&'e str, &'e str)>,
    /// The signal that brought it here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<&'e RawValue>,
    /// The errors of a former life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<&'e BTreeMap<String, Vec<String>>>,
}

/// Which step it is.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Head {
    pub(crate) item: JobId,
    #[serde(default)]
    pub(crate) parent: Option<JobId>,
    pub(crate) step: u32,
}

/// All of it, with the context as it is written.
#[derive(Debug, Deserialize)]
pub(crate) struct Whole<'e> {
    pub(crate) item: JobId,
    #[serde(default)]
    pub(crate) parent: Option<JobId>,
    pub(crate) step: u32,
    #[serde(borrow)]
    pub(crate) context: &'e RawValue,
    #[serde(default)]
    pub(crate) unless: Option<(String, String)>,
    #[serde(default)]
    pub(crate) log: Option<BTreeMap<String, Vec<String>>>,
}

/// What an extractor wants of it.
#[derive(Debug, Deserialize)]
pub(crate) struct OnlyContext<C> {
    pub(crate) context: C,
}

/// What an extractor wants of it.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: serde::de::DeserializeOwned")]
pub(crate) struct OnlySignal<T> {
    #[serde(default = "none")]
    pub(crate) signal: Option<T>,
}

const fn none<T>() -> Option<T> {
    None
}

/// What a handler answered, see [`Next`](crate::Next).
#[derive(Debug, Deserialize)]
pub(crate) struct Answer<'a> {
    pub(crate) to: &'a str,
    #[serde(borrow)]
    pub(crate) context: &'a RawValue,
    #[serde(borrow, default)]
    pub(crate) kicks: Vec<(&'a str, &'a RawValue)>,
    #[serde(default)]
    pub(crate) due: Due,
    #[serde(default)]
    pub(crate) unless: Option<(String, &'a str)>,
}

/// The output of a step that was recorded: where the item went, and if it ended there, with what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Went<'a> {
    pub(crate) to: &'a str,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<&'a RawValue>,
}

/// When a step is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Due {
    #[default]
    Now,
    After(Duration),
    At(DateTime<Utc>),
}

impl Due {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    pub(crate) fn is_now(self: &&Self) -> bool {
        **self == Self::Now
    }

    pub(crate) fn instant(self, now: impl FnOnce() -> DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Now => None,
            Self::At(at) => Some(at),
            Self::After(delay) => {
                let later = TimeDelta::from_std(delay).ok().and_then(|delay| now().checked_add_signed(delay));
                Some(later.unwrap_or(DateTime::<Utc>::MAX_UTC))
            }
        }
    }
}

/// The record of a run: a job that is never due, and whose cancellation is that of the run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record<'r> {
    pub(crate) run: String,
    #[serde(borrow)]
    pub(crate) overall: &'r RawValue,
    /// The states that the code knew: what a later one lacks is looked for by these names.
    pub(crate) states: Vec<String>,
    /// How they are joined, for who shows a run without this code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) graph: Vec<Shape>,
}

/// A state as it is drawn, and what a job in it may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) state: String,
    pub(crate) start: bool,
    pub(crate) terminal: bool,
    pub(crate) to: Vec<String>,
    pub(crate) kicks: Vec<String>,
    pub(crate) dead: Option<String>,
    pub(crate) max_attempts: u32,
}

/// A record that a run is paused: it is cancelled when the run goes on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Paused {
    pub(crate) run: String,
}

/// A signal on its way to an item.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Signalled<'s> {
    pub(crate) item: JobId,
    pub(crate) name: String,
    pub(crate) sent: DateTime<Utc>,
    #[serde(borrow)]
    pub(crate) payload: &'s RawValue,
}
