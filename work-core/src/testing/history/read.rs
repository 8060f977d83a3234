use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::event::{Event, What};

/// Everything that processes wrote down, in the order of time.
///
/// A process that is killed while it writes leaves a part of a line. Such parts are passed over and counted; what stands
/// behind one on the same line is read.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub(super) lines: Vec<Line>,
    pub(super) torn: Vec<String>,
}

/// An event, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// The number of the file, from 0, in the order in which they were given.
    pub file: usize,
    /// The number of the line, from 1.
    pub number: usize,
    /// What it says.
    pub event: Event,
}

/// How a line begins.
const BEGIN: &str = "{\"at\":";

impl History {
    /// Reads files that [recorders](super::Recorder) have written.
    ///
    /// # Errors
    ///
    /// Those of reading a file.
    pub fn read(files: impl IntoIterator<Item = impl AsRef<Path>>) -> io::Result<Self> {
        let mut history = Self::default();
        for (file, path) in files.into_iter().enumerate() {
            // One line at a time: a long history is larger as text than what is kept of it.
            let lines = BufReader::new(File::open(path)?).split(b'\n').enumerate();
            for (at, line) in lines {
                let line = line?;
                if !line.is_empty() {
                    history.line(file, at + 1, &line);
                }
            }
        }
        history.lines.sort_by_key(|line| line.event.at);
        Ok(history)
    }

    /// A history of events that did not come from files: one of a test.
    #[must_use]
    pub fn of(events: impl IntoIterator<Item = Event>) -> Self {
        let lines = events.into_iter().enumerate();
        let mut lines: Vec<Line> = lines.map(|(at, event)| Line { file: 0, number: at + 1, event }).collect();
        lines.sort_by_key(|line| line.event.at);
        Self { lines, torn: Vec::new() }
    }

    /// The lines, in the order of time.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The parts of lines that processes left behind.
    #[must_use]
    pub fn torn(&self) -> &[String] {
        &self.torn
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.lines.iter().map(|line| &line.event)
    }

    pub(super) fn kills(&self) -> usize {
        self.events().filter(|event| matches!(event.what, What::Killed { .. })).count()
    }

    fn line(&mut self, file: usize, number: usize, line: &[u8]) {
        if let Ok(event) = serde_json::from_slice(line) {
            self.lines.push(Line { file, number, event });
            return;
        }
        let text = String::from_utf8_lossy(line);
        // Another process went on behind the part.
        let next = text.get(1..).and_then(|rest| rest.rfind(BEGIN)).map(|at| at + 1);
        let whole = next.and_then(|at| serde_json::from_str(&text[at..]).ok().map(|event| (at, event)));
        if let Some((at, event)) = whole {
            self.lines.push(Line { file, number, event });
            self.torn.push(text[..at].to_owned());
        } else {
            self.torn.push(text.into_owned());
        }
    }
}
