use std::time::Duration;

use work_core::Backoff;

use super::check;
use super::error::OutboxError;
use super::source::PostgresOutbox;
use crate::open::Secret;

/// Settings of a [`PostgresOutbox`]: where the rows are, and how they are delivered.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct PostgresOutboxBuilder {
    pub(super) url: Secret,
    pub(super) names: Names,
    pub(super) in_flight: usize,
    pub(super) backoff: Backoff,
    pub(super) dead_after: Option<u32>,
    pub(super) dead_rows: DeadRows,
    pub(super) lease: Duration,
    pub(super) poll_every: Duration,
    pub(super) deadline: Duration,
}

/// Whether rows behind a dead row of the same key are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeadRows {
    /// They wait until the dead row is delivered again, given up or deleted: what a receiver has seen of a key is always
    /// a beginning of it, without a hole.
    #[default]
    HoldTheirKey,
    /// They go on without it.
    FreeTheirKey,
}

/// The names of the table and of its columns.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// `None`: the first one in the search path that has the table.
    pub(super) schema: Option<String>,
    pub(super) table: String,
    pub(super) id: String,
    pub(super) payload: String,
    pub(super) published_at: String,
    pub(super) due_at: String,
    pub(super) attempts: String,
    pub(super) error: String,
    pub(super) key: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) headers: Option<String>,
}

impl PostgresOutboxBuilder {
    pub(super) fn new(url: String, table: String) -> Self {
        let names = Names {
            schema: None,
            table,
            id: "id".into(),
            payload: "payload".into(),
            published_at: "published_at".into(),
            due_at: "due_at".into(),
            attempts: "attempts".into(),
            error: "error".into(),
            key: None,
            topic: None,
            headers: None,
        };
        Self {
            url: Secret(url),
            names,
            in_flight: 256,
            backoff: Backoff::exponential(Duration::from_secs(1), 2.0).cap(Duration::from_secs(5 * 60)),
            dead_after: None,
            dead_rows: DeadRows::default(),
            lease: Duration::from_secs(10),
            poll_every: Duration::from_millis(750),
            deadline: Duration::from_secs(10),
        }
    }

    /// The schema of the table. By default the first one in the search path that has such a table.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.names.schema = Some(schema.into());
        self
    }

    /// The column that identifies a row and orders the rows: an integer, a text or a `uuid`, unique. By default `id`.
    pub fn id(mut self, column: impl Into<String>) -> Self {
        self.names.id = column.into();
        self
    }

    /// The column whose rows of one value are delivered in order. By default there is none, and no row waits for another.
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.names.key = Some(column.into());
        self
    }

    /// The column of what to deliver: `json`, `jsonb`, or JSON as a text. By default `payload`.
    pub fn payload(mut self, column: impl Into<String>) -> Self {
        self.names.payload = column.into();
        self
    }

    /// The `timestamptz` that is `NULL` until the row is published, and then the time of it. By default `published_at`.
    pub fn published_at(mut self, column: impl Into<String>) -> Self {
        self.names.published_at = column.into();
        self
    }

    /// The `timestamptz` until which nobody takes the row, since it is being delivered or waits for its backoff; `NULL`: at
    /// once. By default `due_at`.
    pub fn due_at(mut self, column: impl Into<String>) -> Self {
        self.names.due_at = column.into();
        self
    }

    /// The integer, `NOT NULL`, that counts how often the row was taken. By default `attempts`.
    pub fn attempts(mut self, column: impl Into<String>) -> Self {
        self.names.attempts = column.into();
        self
    }

    /// The `text` where the reason of a dead row is written. By default `error`.
    pub fn error(mut self, column: impl Into<String>) -> Self {
        self.names.error = column.into();
        self
    }

    /// A column of a text that says what a row is about. By default there is none.
    pub fn topic(mut self, column: impl Into<String>) -> Self {
        self.names.topic = Some(column.into());
        self
    }

    /// A column of a JSON object of texts. By default there is none.
    pub fn headers(mut self, column: impl Into<String>) -> Self {
        self.names.headers = Some(column.into());
        self
    }

    /// How many rows are taken at once, and are delivered and not settled yet, 1 to 10,000; by default 256.
    pub const fn in_flight(mut self, rows: usize) -> Self {
        self.in_flight = rows;
        self
    }

    /// How long a row waits after each failure, and its key with it; by default 1 s, doubled each time up to 5 min.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// A row that fails is dead if it was taken that often, 1 or more. By default never: while a receiver is away, no row
    /// should die of it. Failures are 408, 5xx and unknown codes.
    pub const fn dead_after(mut self, attempts: u32) -> Self {
        self.dead_after = Some(attempts);
        self
    }

    /// Whether a dead row holds its key; by default it does.
    pub const fn dead_rows(mut self, rule: DeadRows) -> Self {
        self.dead_rows = rule;
        self
    }

    /// How long after the death of a process the rows that it had are delivered by another, 100 ms to 1 h; by default 10 s.
    /// It is extended while a job runs, however long that is.
    pub const fn lease(mut self, time: Duration) -> Self {
        self.lease = time;
        self
    }

    /// How often is looked for new rows while there are none, 10 ms to 1 h; by default 750 ms.
    pub const fn poll_every(mut self, period: Duration) -> Self {
        self.poll_every = period;
        self
    }

    /// How long a statement may take, the wait for a connection included; at least 10 ms, by default 10 s. What had no
    /// answer by then is tried again, for ever.
    pub const fn call_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Connects, checks the table, and starts the thread that reads it.
    ///
    /// # Errors
    ///
    /// [`OutboxError`] names what is wrong with an option, the server, the table or a column, and what is accepted.
    pub async fn open(self) -> Result<PostgresOutbox, OutboxError> {
        check::options(&self)?;
        PostgresOutbox::start(self).await
    }
}
