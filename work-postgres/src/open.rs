use std::time::Duration;

use work_core::{Clock, DEFAULT_MAX_ARGS};

use crate::PostgresStore;
use crate::error::OpenError;

/// What a commit survives. The store sets nothing: it looks at the settings of the server, and refuses one that is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Also a power cut: `fsync`, `full_page_writes` and `synchronous_commit` are on.
    #[default]
    PowerLoss,
    /// The death of any process, the server's included, but not of its machine: `synchronous_commit` is on.
    ProcessDeath,
}

/// Settings of a [`PostgresStore`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct PostgresStoreBuilder {
    pub(crate) url: Secret,
    pub(crate) schema: String,
    pub(crate) pool_size: usize,
    pub(crate) deadline: Duration,
    pub(crate) durability: Durability,
    pub(crate) clock: Option<Clock>,
    pub(crate) max_args: usize,
}

/// A text that is not printed.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl PostgresStoreBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url: Secret(url),
            schema: "work".to_owned(),
            pool_size: 8,
            deadline: Duration::from_secs(10),
            durability: Durability::default(),
            clock: None,
            max_args: DEFAULT_MAX_ARGS,
        }
    }

    /// The schema that the tables are in; by default `work`. Each schema of a database is a store of its own.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// How many connections, 1 to 1,000; by default 8. One more listens for notifications.
    pub const fn pool_size(mut self, connections: usize) -> Self {
        self.pool_size = connections;
        self
    }

    /// How long a call may take, the wait for a connection included; at least 10 ms, by default 10 s. A change that had no
    /// answer by then is [unknown](work_core::StoreError::is_unknown).
    pub const fn call_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What a commit survives; by default a power cut.
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// What says "now": when jobs are due, and when leases end. By default the server's clock, the same for everybody.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How many bytes the arguments of a job may have; by default 1 MiB. Larger ones that came by `INSERT` are dead letters.
    pub const fn max_args(mut self, bytes: usize) -> Self {
        self.max_args = bytes;
        self
    }

    /// Connects, and brings the tables up to date; any number of processes may do so at once.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong with the URL, the server, its settings or the schema; nothing was changed then.
    pub async fn connect(self) -> Result<PostgresStore, OpenError> {
        PostgresStore::start(self).await
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let out_of_range = |setting, given: String, accepted| Err(OpenError::OutOfRange { setting, given, accepted });
        if !(1..=1_000).contains(&self.pool_size) {
            return out_of_range("pool_size", self.pool_size.to_string(), "1 to 1000");
        }
        if self.deadline < Duration::from_millis(10) {
            return out_of_range("call_deadline", format!("{:?}", self.deadline), "at least 10 ms");
        }
        Ok(())
    }
}
