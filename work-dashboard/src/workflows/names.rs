//! The names and ids of a workflow's jobs, as the guide to workflows has them: part of the stored format.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use work_core::{JobId, Kind, Queue};

/// Which run: a workflow and a name, written `workflow.run`.
///
/// ```
/// use work_dashboard::workflows::RunName;
///
/// let name: RunName = "pages.monday".parse()?;
/// assert_eq!((name.workflow(), name.run()), ("pages", "monday"));
/// assert!("monday".parse::<RunName>().is_err());
/// # Ok::<(), work_dashboard::workflows::InvalidRun>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName {
    workflow: String,
    run: String,
}

/// A text that names no run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} names no run; use workflow.run, such as pages.monday, of A-Z a-z 0-9 _ -")]
pub struct InvalidRun {
    /// What was given, shortened.
    pub given: String,
}

/// Bytes of the name of a workflow, a run and a state.
const MAX_WORKFLOW: usize = 16;
const MAX_RUN: usize = 24;
const MAX_STATE: usize = 21;

fn is_name(name: &str, most: usize) -> bool {
    name.len() <= most
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

pub(super) fn is_state(name: &str) -> bool {
    is_name(name, MAX_STATE)
}

impl RunName {
    /// A run of a workflow.
    ///
    /// # Errors
    ///
    /// [`InvalidRun`] if one of them is no name: 1 to 16 and 1 to 24 of `A-Z a-z 0-9 _ -`, starting with a letter or a digit.
    pub fn new(workflow: &str, run: &str) -> Result<Self, InvalidRun> {
        if is_name(workflow, MAX_WORKFLOW) && is_name(run, MAX_RUN) {
            return Ok(Self { workflow: workflow.to_owned(), run: run.to_owned() });
        }
        Err(InvalidRun { given: work_core::cut(&format!("{workflow}.{run}")) })
    }

    /// The name of the workflow.
    #[must_use]
    pub fn workflow(&self) -> &str {
        &self.workflow
    }

    /// The name of the run.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Where its steps in a state wait.
    pub(crate) fn queue(&self, state: &str) -> Queue {
        Queue::from(format!("{self}.{state}"))
    }

    pub(super) fn kind(&self, what: &str) -> Kind {
        Kind::from(format!("{}.{what}", self.workflow))
    }

    /// Where the records of runs are.
    pub(super) fn control(&self) -> Queue {
        Queue::from(format!("{}.runs", self.workflow))
    }

    pub(super) fn pause_key(&self) -> String {
        format!("{self}.pause")
    }

    pub(super) fn record_id(&self) -> JobId {
        JobId::named(&["run", &self.workflow, &self.run])
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.workflow, self.run)
    }
}

impl FromStr for RunName {
    type Err = InvalidRun;

    fn from_str(text: &str) -> Result<Self, InvalidRun> {
        let invalid = || InvalidRun { given: work_core::cut(text) };
        let (workflow, run) = text.split_once('.').ok_or_else(invalid)?;
        Self::new(workflow, run).map_err(|_| invalid())
    }
}

/// The run and the state of a queue, if it is that of a state.
pub(crate) fn of_queue(queue: &str) -> Option<(RunName, &str)> {
    let (run, state) = queue.rsplit_once('.')?;
    let run: RunName = run.parse().ok()?;
    is_state(state).then_some((run, state))
}

/// The workflow whose records are in this queue, if it looks like one.
pub(super) fn of_control(queue: &str) -> Option<&str> {
    queue.strip_suffix(".runs").filter(|workflow| is_name(workflow, MAX_WORKFLOW))
}

/// The step that an import makes of an item: the same one if it is repeated.
pub(super) fn import_id(item: JobId, step: u32) -> JobId {
    item.follow("import", u64::from(step))
}

/// The step in which an item waits for a signal: the signal finds it by its id.
pub(super) fn wait_id(item: JobId, signal: &str) -> JobId {
    item.follow(signal, u64::MAX)
}

/// An instant that never comes: 1 January 9999.
pub(super) fn never() -> DateTime<Utc> {
    DateTime::from_timestamp(253_370_764_800, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_as_they_are_put_together() {
        let (run, state) = of_queue("pages.monday-1.fetch").unwrap();
        assert_eq!((run.to_string().as_str(), state), ("pages.monday-1", "fetch"));
        assert_eq!(run.queue("fetch"), Queue::from("pages.monday-1.fetch"));
        assert_eq!(of_control("pages.runs"), Some("pages"));
        for text in ["", "a", "a.", ".b", "a.b.c", "a b.c", "-a.b", "seventeen-letters.b"] {
            assert!(text.parse::<RunName>().is_err(), "{text}");
        }
        assert!(of_queue("default").is_none() && of_queue("pages.runs").is_none() && of_control("a.b.runs").is_none());
    }
}
