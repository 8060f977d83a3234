use std::path::PathBuf;
use std::time::Duration;

use work_core::{Backoff, Clock};

use super::check;
use super::error::OutboxError;
use super::source::SqliteOutbox;

/// Settings of an [`SqliteOutbox`]: where the rows are, and how they are delivered.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct SqliteOutboxBuilder {
    pub(super) path: PathBuf,
    pub(super) names: Names,
    pub(super) in_flight: usize,
    pub(super) backoff: Backoff,
    pub(super) dead_after: Option<u32>,
    pub(super) dead_rows: DeadRows,
    pub(super) lease: Duration,
    pub(super) poll_every: Duration,
    pub(super) clock: Clock,
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
    pub(super) table: String,
    pub(super) id: String,
    pub(super) payload: String,
    pub(super) published: Published,
    pub(super) key: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) headers: Option<String>,
    pub(super) error: Option<String>,
}

/// The column that says whether a row is published.
#[derive(Debug, Clone)]
pub(super) enum Published {
    /// When; `NULL` before.
    At(String),
    /// 0 or 1.
    Flag(String),
}

impl Published {
    pub(super) fn column(&self) -> &str {
        match self {
            Self::At(column) | Self::Flag(column) => column,
        }
    }
}

impl SqliteOutboxBuilder {
    pub(super) fn new(path: PathBuf, table: String) -> Self {
        let names = Names {
            table,
            id: "id".into(),
            payload: "payload".into(),
            published: Published::At("published_at".into()),
            key: None,
            topic: None,
            headers: None,
            error: None,
        };
        Self {
            path,
            names,
            in_flight: 256,
            backoff: Backoff::exponential(Duration::from_secs(1), 2.0).cap(Duration::from_secs(5 * 60)),
            dead_after: None,
            dead_rows: DeadRows::default(),
            lease: Duration::from_secs(10),
            poll_every: Duration::from_secs(1),
            clock: Clock::system(),
        }
    }

    /// The column that identifies a row and orders the rows: integers or texts, unique. By default `id`.
    pub fn id(mut self, column: impl Into<String>) -> Self {
        self.names.id = column.into();
        self
    }

    /// The column whose rows of one value are delivered in order. By default there is none, and no row waits for another.
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.names.key = Some(column.into());
        self
    }

    /// The column of the JSON text to deliver. By default `payload`.
    pub fn payload(mut self, column: impl Into<String>) -> Self {
        self.names.payload = column.into();
        self
    }

    /// The column that is `NULL` until the row is published, and then the time of it: milliseconds since 1970 if it is
    /// declared as an integer, else text such as `2026-03-29T00:59:59.123Z`. By default `published_at`.
    pub fn published_at(mut self, column: impl Into<String>) -> Self {
        self.names.published = Published::At(column.into());
        self
    }

    /// A flag in place of [`published_at`](Self::published_at): `NOT NULL`, 0 until the row is published, and then 1.
    pub fn published(mut self, column: impl Into<String>) -> Self {
        self.names.published = Published::Flag(column.into());
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

    /// The column where the reason of a dead row is written. By default there is none, and the reason stands in the
    /// table `work_outbox_dead`.
    pub fn error(mut self, column: impl Into<String>) -> Self {
        self.names.error = Some(column.into());
        self
    }

    /// How many rows are delivered and not settled yet, 1 to 10,000; by default 256. Rows that wait for their backoff are
    /// not among them.
    pub const fn in_flight(mut self, rows: usize) -> Self {
        self.in_flight = rows;
        self
    }

    /// How long a key waits after each failure of its first row; by default 1 s, doubled each time up to 5 min.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// After how many failures a row is dead, 1 or more. By default never: while a receiver is away, no row should die of
    /// it. Failures are 408, 5xx and unknown codes, counted since this relay began to work.
    pub const fn dead_after(mut self, failures: u32) -> Self {
        self.dead_after = Some(failures);
        self
    }

    /// Whether a dead row holds its key; by default it does.
    pub const fn dead_rows(mut self, rule: DeadRows) -> Self {
        self.dead_rows = rule;
        self
    }

    /// How long after the death of a relay another one takes over, 100 ms to 1 h; by default 10 s. One that is dropped
    /// gives its lease back at once.
    pub const fn lease(mut self, time: Duration) -> Self {
        self.lease = time;
        self
    }

    /// How often all pending rows are looked at without a reason, 10 ms to 1 h; by default 1 s. New rows are seen within
    /// 50 ms whatever it is; one look at many rows delays the next.
    pub const fn poll_every(mut self, period: Duration) -> Self {
        self.poll_every = period;
        self
    }

    /// What says "now", for leases and for the time of publishing. By default this machine's clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the table, and starts the thread that reads it.
    ///
    /// # Errors
    ///
    /// [`OutboxError`] names what is wrong with an option, the file, the table or a column, and what is accepted.
    pub async fn open(self) -> Result<SqliteOutbox, OutboxError> {
        check::options(&self)?;
        SqliteOutbox::start(self).await
    }
}
