use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::event::{Event, What};
use super::read::History;
use crate::Clock;

/// Appends events of this process to a file. Several processes may share one file. Cheap to clone.
///
/// Each line is one `write` to a file in append mode: when [`note`](Self::note) has returned, the line outlives the
/// process. It does not wait for the disk.
///
/// All processes of a history need the same clock, so they run on one machine.
#[derive(Debug, Clone)]
pub struct Recorder {
    lines: Lines,
    clock: Clock,
    pid: u32,
}

#[derive(Debug, Clone)]
enum Lines {
    File(Arc<File>),
    Memory(Arc<Mutex<Vec<Event>>>),
}

impl Recorder {
    /// Opens a file, or makes it, and notes that this process begins.
    ///
    /// # Errors
    ///
    /// Those of opening and writing a file.
    pub fn append(path: impl AsRef<Path>, clock: Clock) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let recorder = Self { lines: Lines::File(Arc::new(file)), clock, pid: std::process::id() };
        recorder.note(What::Began)?;
        Ok(recorder)
    }

    /// Keeps the lines in memory, for a [simulation](crate::testing::faulty) whose processes are tasks: see
    /// [`of_process`](Self::of_process). So that the order of lines is known although time stands still between them, each is a
    /// nanosecond later than the one before, at least.
    ///
    /// ```
    /// use work_core::testing::history::{History, Recorder, What};
    /// use work_core::{Clock, JobId};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let clock = Clock::manual("2026-03-29T00:59:59Z".parse().map_err(std::io::Error::other)?);
    /// let recorder = Recorder::in_memory(clock);
    /// let (one, other) = (recorder.of_process(1), recorder.of_process(2));
    /// one.note(What::Accepted { job: JobId::new() })?;
    /// other.note(What::Killed { victim: 1 })?;
    /// let history = recorder.history();
    /// assert_eq!(history.lines().iter().map(|line| line.event.pid).collect::<Vec<_>>(), [1, 2]);
    /// assert!(history.check().is_clean());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn in_memory(clock: Clock) -> Self {
        Self { lines: Lines::Memory(Arc::default()), clock, pid: 0 }
    }

    /// Writes to the same place, in the name of a process with this number.
    #[must_use]
    pub fn of_process(&self, pid: u32) -> Self {
        Self { pid, ..self.clone() }
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// What was kept in memory; nothing of a recorder that writes to a file.
    #[must_use]
    pub fn history(&self) -> History {
        match &self.lines {
            Lines::File(_) => History::default(),
            Lines::Memory(events) => History::of(locked(events).iter().cloned()),
        }
    }

    /// The time now, for [`note_since`](Self::note_since).
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.lines {
            Lines::File(_) => self.clock.now(),
            Lines::Memory(events) => after(&locked(events), self.clock.now()),
        }
    }

    /// Writes down what happens now.
    ///
    /// # Errors
    ///
    /// Those of writing a file.
    pub fn note(&self, what: What) -> io::Result<()> {
        self.write(None, [what])
    }

    /// Writes down what happened between an instant and now, such as the answer of a store: each as a line, all at once.
    ///
    /// # Errors
    ///
    /// Those of writing a file.
    pub fn note_since(&self, since: DateTime<Utc>, what: impl IntoIterator<Item = What>) -> io::Result<()> {
        self.write(Some(since), what)
    }

    fn write(&self, since: Option<DateTime<Utc>>, what: impl IntoIterator<Item = What>) -> io::Result<()> {
        let (at, pid, mut lines) = (self.now(), self.pid, Vec::new());
        let file = match &self.lines {
            Lines::File(file) => file,
            Lines::Memory(events) => {
                let mut events = locked(events);
                for what in what {
                    let at = after(&events, at);
                    events.push(Event { at, since, pid, what });
                }
                return Ok(());
            }
        };
        for what in what {
            serde_json::to_writer(&mut lines, &Event { at, since, pid, what })?;
            lines.push(b'\n');
        }
        if lines.is_empty() { Ok(()) } else { (&**file).write_all(&lines) }
    }
}

/// A list of lines is never left half done.
fn locked(events: &Mutex<Vec<Event>>) -> MutexGuard<'_, Vec<Event>> {
    events.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `now`, or just after the last line.
fn after(events: &[Event], now: DateTime<Utc>) -> DateTime<Utc> {
    events.last().map_or(now, |last| now.max(last.at + TimeDelta::nanoseconds(1)))
}
