//! The rows of an outbox table as a [`Source`](work_core::Source) of jobs.
//!
//! A transaction of your own writes what it is about, and beside it a row of an outbox table: both exist, or neither. An
//! [`SqliteOutbox`] reads that table, has a job performed for each row, and marks the row as published once its job has
//! ended well. The names of the table and of its columns are yours.
//!
//! ```
//! use rusqlite::Connection;
//! use work_core::{Args, LocalWorker, Router, Worker};
//! use work_sqlite::outbox::{OutboxRow, SqliteOutbox};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("app.db");
//! let connection = Connection::open(&path)?;
//! connection.execute_batch(
//!     "CREATE TABLE accounts(name TEXT PRIMARY KEY, balance INTEGER NOT NULL);
//!      CREATE TABLE events(
//!          id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT, payload TEXT NOT NULL, published_at TEXT);
//!      CREATE INDEX events_pending ON events(id) WHERE published_at IS NULL;
//!      CREATE INDEX events_pending_key ON events(account, id) WHERE published_at IS NULL;",
//! )?;
//!
//! async fn announce(Args(row): Args<OutboxRow>) -> Result<(), work_core::ArgsError> {
//!     let event: serde_json::Value = row.payload()?;
//!     println!("{:?}: {event}", row.key());
//!     Ok(())
//! }
//!
//! let outbox = SqliteOutbox::builder(&path, "events").key("account").open().await?;
//! let worker = LocalWorker::new(Router::new().route("announce", announce));
//! worker.perform_receive("announce", outbox).await?;
//!
//! connection.execute_batch(
//!     r#"BEGIN IMMEDIATE;
//!        INSERT INTO accounts VALUES ('Ann', 5);
//!        INSERT INTO events(account, payload) VALUES ('Ann', '{"opened": 5}');
//!        COMMIT;"#,
//! )?;
//! let pending = "SELECT count(*) FROM events WHERE published_at IS NULL";
//! while connection.query_row(pending, [], |row| row.get::<_, i64>(0))? > 0 {
//!     tokio::time::sleep(std::time::Duration::from_millis(5)).await;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - **At least once.** A row whose transaction was committed is delivered until it is published or dead, whatever dies in
//!   between. After a crash between a job's effect and the mark it is delivered again, with the same id.
//! - **In order for each key.** A row is delivered only when no row of the same key with a smaller id is pending. Rows
//!   without a key (`NULL`, or no key column) wait for nothing. One key that fails delays no other.
//! - **Rows, not a position.** What is pending is read from the rows each time, so a row that appears late with a small id,
//!   or an id that is used again, is not passed over.
//! - **One relay works.** Of several on one table, in any processes of the machine, one holds a lease and the others wait
//!   for it to end. Only the holder marks rows.
//! - **Nothing to do costs no job.** An idle relay looks at SQLite's counter of commits every 50 ms.
//!
//! # What becomes of a row
//!
//! | final status of its job | the row |
//! |---|---|
//! | 2xx, 444 | published: its column is set, in one durable transaction with all others that ended meanwhile |
//! | 5xx, 408, 429, 499, any other; or the worker stopped | delivered again after the [backoff](SqliteOutboxBuilder::backoff) of its key |
//! | other 4xx | dead: it is kept and not delivered again, see [`DeadRows`] |
//! | none: it is no row that a job can have | dead, with the reason |
//!
//! A row is no job if its payload is `NULL` or not JSON, or nested deeper than 63 levels, if its headers are not an object
//! of texts, or if it is larger than [`MAX_ROW`] bytes.
//!
//! # Dead rows
//!
//! With an [`error`](SqliteOutboxBuilder::error) column, the reason is written there; set it to `NULL` and the row is
//! delivered again. Without, it stands in the table `work_outbox_dead`; delete it there for the same effect. To give a row
//! up, mark it as published yourself, or delete it. By default a dead row holds its key: nothing of that key is delivered
//! before you have decided.
//!
//! # The table
//!
//! Recommended, beside the columns for a topic, headers and an error if you want them:
//!
//! ```sql
//! CREATE TABLE outbox(
//!     id           INTEGER PRIMARY KEY AUTOINCREMENT, -- or a text that grows, such as a UUIDv7
//!     key          TEXT,                              -- rows of one key stay in order
//!     payload      TEXT NOT NULL,                     -- JSON
//!     published_at TEXT                               -- NULL: pending
//! );
//! CREATE INDEX outbox_pending ON outbox(id) WHERE published_at IS NULL;
//! CREATE INDEX outbox_pending_key ON outbox(key, id) WHERE published_at IS NULL;
//! ```
//!
//! With a [flag](SqliteOutboxBuilder::published) the condition of both is `published = 0`; with an `error` column that of
//! the first one is `published_at IS NULL AND error IS NULL`. Without the indexes everything works, and each look reads the
//! whole table. `AUTOINCREMENT` keeps the ids of deleted rows from being used again, which a receiver that drops duplicates
//! by id would take for duplicates. The tables `work_outbox_leases` and `work_outbox_dead` are made beside it.

mod builder;
mod check;
mod connect;
mod deliver;
mod error;
mod fetch;
mod inbox;
mod keys;
mod lease;
mod relay;
mod row;
mod scan;
mod settle;
mod source;
mod table;

pub use builder::{DeadRows, SqliteOutboxBuilder};
pub use error::OutboxError;
pub use row::{MAX_ROW, OutboxId, OutboxRow};
pub use source::{OutboxWaker, SqliteOutbox};
