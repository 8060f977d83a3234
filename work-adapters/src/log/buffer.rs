use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The entries of one execution, as JSON, in bounded memory.
pub(super) struct Buffer {
    /// Which log it belongs to.
    pub(super) log: u64,
    limit: usize,
    /// A std mutex: it is held for a push. Entries are formatted outside of it, since that may log as well.
    entries: Mutex<Entries>,
}

/// What was collected.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) lines: Vec<Line>,
    /// Of all lines, each with a comma.
    bytes: usize,
    pub(super) left_out: u64,
    /// The line is written: what comes now is too late.
    closed: bool,
}

/// One entry.
pub(super) struct Line {
    pub(super) json: String,
    /// It is not all of it.
    pub(super) is_cut: bool,
}

impl Buffer {
    pub(super) fn new(log: u64, limit: usize) -> Self {
        Self { log, limit, entries: Mutex::default() }
    }

    /// How many bytes there is room for; `None` once it is closed.
    pub(super) fn room(&self) -> Option<usize> {
        let entries = self.entries();
        (!entries.closed).then(|| self.limit.saturating_sub(entries.bytes + 1))
    }

    /// Takes the first of these that there is room for.
    pub(super) fn push(&self, whole: Option<String>, cut: impl FnOnce() -> Option<String>) {
        // Two threads may have seen the same room, so it is looked at again.
        let fits = |entry: &String| entry.len() < self.limit.saturating_sub(self.entries().bytes);
        let whole = whole.filter(fits);
        let is_cut = whole.is_none();
        let entry = whole.or_else(|| cut().filter(fits));
        let mut entries = self.entries();
        match entry {
            _ if entries.closed => {}
            Some(json) if entries.bytes + json.len() < self.limit => {
                entries.bytes += json.len() + 1;
                entries.lines.push(Line { json, is_cut });
            }
            _ => entries.left_out += 1,
        }
    }

    /// Everything, once.
    pub(super) fn close(&self) -> Entries {
        std::mem::replace(&mut *self.entries(), Entries { closed: true, ..Entries::default() })
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    /// The buffer of the span that is being made on this thread: the subscriber takes it from here.
    static OFFERED: RefCell<Option<Arc<Buffer>>> = const { RefCell::new(None) };
}

/// Makes a span, to which the subscriber of the same log ties the buffer.
pub(super) fn offer<T>(buffer: &Arc<Buffer>, make: impl FnOnce() -> T) -> T {
    OFFERED.set(Some(buffer.clone()));
    let made = make();
    OFFERED.take();
    made
}

/// The buffer on offer, if it belongs to this log.
pub(super) fn accept(log: u64) -> Option<Arc<Buffer>> {
    OFFERED.with_borrow_mut(|offered| offered.take_if(|buffer| buffer.log == log))
}
