use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};

/// Keys that are known at once: those in flight, those that wait for a backoff, those whose turn is next. At this number
/// no other key is begun.
const MAX_KEYS: usize = 10_000;

/// What is under way for each key. A key that is not here has nothing under way.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: HashMap<Key, Try>,
    /// Keys whose next row may be delivered, in turn, so that no key takes all of the room.
    ready: VecDeque<Key>,
    waiting: BTreeMap<(Instant, u64), Key>,
    next: u64,
}

/// Rows of one key come one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The value of the key column.
    Of(Value),
    /// A row that has none, by its id.
    Alone(Value),
}

/// A value of SQLite that can be compared. Texts are bytes, since SQLite does not check that they are UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Real(u64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

/// How often a row was delivered in vain.
#[derive(Debug)]
struct Try {
    row: Value,
    /// Deliveries that were not the last.
    tries: u32,
    /// Those of them that tell against the row.
    failures: u32,
}

impl Keys {
    pub(super) fn is_known(&self, key: &Key) -> bool {
        self.known.contains_key(key)
    }

    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= MAX_KEYS
    }

    /// The row is delivered.
    pub(super) fn deliver(&mut self, key: &Key, row: &Value) {
        let new = || Try { row: row.clone(), tries: 0, failures: 0 };
        match self.known.get_mut(key) {
            Some(known) if known.row == *row => {}
            Some(known) => *known = new(),
            None => drop(self.known.insert(key.clone(), new())),
        }
    }

    /// The present row of the key is to be delivered again. Answers how often so far, and how often it has failed.
    pub(super) fn fail(&mut self, key: &Key, counts: bool) -> (u32, u32) {
        let known = self.known.get_mut(key);
        known.map_or((1, 1), |known| {
            known.tries = known.tries.saturating_add(1);
            known.failures = known.failures.saturating_add(u32::from(counts));
            (known.tries, known.failures)
        })
    }

    /// Nothing of the key is delivered until then.
    pub(super) fn wait(&mut self, key: Key, until: Instant) {
        self.next += 1;
        self.waiting.insert((until, self.next), key);
    }

    /// When the first key has waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((until, _), _)| *until)
    }

    /// The row of the key is done with. The row behind it, if there is one, gets its turn.
    pub(super) fn done(&mut self, key: Key) {
        match key {
            Key::Of(_) => self.ready.push_back(key),
            Key::Alone(_) => self.forget(&key),
        }
    }

    /// The next key whose turn it is.
    pub(super) fn ready(&mut self, now: Instant) -> Option<Key> {
        while self.due().is_some_and(|until| until <= now) {
            self.ready.extend(self.waiting.pop_first().map(|(_, key)| key));
        }
        self.ready.pop_front()
    }

    /// Its turn came, and nothing was done.
    pub(super) fn again(&mut self, key: Key) {
        self.ready.push_front(key);
    }

    /// Nothing is under way for the key any more.
    pub(super) fn forget(&mut self, key: &Key) {
        self.known.remove(key);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(bits) => ValueRef::Real(f64::from_bits(*bits)),
            Self::Text(text) => ValueRef::Text(text),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl FromSql for Value {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Real(value) => Self::Real(value.to_bits()),
            ValueRef::Text(text) => Self::Text(text.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        })
    }
}
