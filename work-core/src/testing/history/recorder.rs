use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::event::{Event, What};
use crate::Clock;

/// Appends events of this process to a file. Several processes may share one file. Cheap to clone.
///
/// Each line is one `write` to a file in append mode: when [`note`](Self::note) has returned, the line outlives the
/// process. It does not wait for the disk.
///
/// All processes of a history need the same clock, so they run on one machine.
#[derive(Debug, Clone)]
pub struct Recorder {
    file: Arc<File>,
    clock: Clock,
    pid: u32,
}

impl Recorder {
    /// Opens a file, or makes it, and notes that this process begins.
    ///
    /// # Errors
    ///
    /// Those of opening and writing a file.
    pub fn append(path: impl AsRef<Path>, clock: Clock) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let recorder = Self { file: Arc::new(file), clock, pid: std::process::id() };
        recorder.note(What::Began)?;
        Ok(recorder)
    }

    /// The time now, for [`note_since`](Self::note_since).
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
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
        for what in what {
            serde_json::to_writer(&mut lines, &Event { at, since, pid, what })?;
            lines.push(b'\n');
        }
        if lines.is_empty() { Ok(()) } else { (&*self.file).write_all(&lines) }
    }
}
