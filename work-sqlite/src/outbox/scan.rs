use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::keys::{Key, Value};
use super::table::Table;

/// Rows of one page.
const PAGE: usize = 256;

/// Keys that are remembered as held by a dead row, during one look.
const MAX_HELD: usize = 10_000;

/// Looks at full length take a tenth of the time at most.
const REST: u32 = 10;

/// The look at the pending rows: at new ones as soon as they are there, and at all of them again and again.
///
/// Ids grow as a rule, so that new rows are behind the last one. But no row may be missed, so that is no more than a short
/// cut: a look at all of them follows as soon as the last one is over, if that was quick, or a while later.
#[derive(Debug)]
pub(super) struct Scan {
    page: VecDeque<(Value, Key)>,
    /// The last id that was read.
    cursor: Option<Value>,
    at_end: bool,
    wants_all: bool,
    /// How long the reading of this look has taken.
    spent: Duration,
    not_before: Instant,
    held: HashSet<Key>,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self {
            page: VecDeque::new(),
            cursor: None,
            at_end: true,
            wants_all: true,
            spent: Duration::ZERO,
            not_before: Instant::now(),
            held: HashSet::new(),
        }
    }

    /// There may be new rows.
    pub(super) fn wake(&mut self) {
        self.at_end = false;
        self.wants_all = true;
    }

    /// A look at all rows is wanted and may begin at this time.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.at_end && self.page.is_empty() && self.wants_all).then_some(self.not_before)
    }

    /// Begins a look at all rows, if it is time to.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let begins = self.due().is_some_and(|due| due <= now);
        if begins {
            *self = Self { at_end: false, wants_all: false, ..Self::new() };
        }
        begins
    }

    /// The next row: id and key.
    pub(super) fn next(&mut self, connection: &Connection, table: &Table) -> rusqlite::Result<Option<(Value, Key)>> {
        if self.page.is_empty() && !self.at_end {
            self.read(connection, table)?;
        }
        Ok(self.page.pop_front())
    }

    /// Where `next` was called for nothing: the row comes again.
    pub(super) fn put_back(&mut self, row: (Value, Key)) {
        self.page.push_front(row);
    }

    fn read(&mut self, connection: &Connection, table: &Table) -> rusqlite::Result<()> {
        let start = Instant::now();
        let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<_> {
            let id: Value = row.get(0)?;
            let key = match row.get(1)? {
                Value::Null => Key::Alone(id.clone()),
                key => Key::Of(key),
            };
            Ok((id, key))
        };
        let page: rusqlite::Result<_> = match &self.cursor {
            None => connection.prepare_cached(&table.first_page)?.query_map([PAGE as i64], row)?.collect(),
            Some(id) => connection.prepare_cached(&table.next_page)?.query_map((PAGE as i64, id), row)?.collect(),
        };
        self.page = page?;
        self.at_end = self.page.len() < PAGE;
        if let Some((id, _)) = self.page.back() {
            self.cursor = Some(id.clone());
        }
        let now = Instant::now();
        self.spent += now - start;
        if self.at_end {
            self.not_before = now + self.spent * REST;
        }
        Ok(())
    }

    /// A dead row holds this key.
    pub(super) fn hold(&mut self, key: Key) {
        if self.held.len() < MAX_HELD {
            self.held.insert(key);
        }
    }

    pub(super) fn is_held(&self, key: &Key) -> bool {
        self.held.contains(key)
    }
}
