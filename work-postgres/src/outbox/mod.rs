//! The rows of an outbox table as a [`Source`](work_core::Source) of jobs.
//!
//! A transaction of your own writes what it is about, and beside it a row of an outbox table: both exist, or neither. A
//! [`PostgresOutbox`] takes the rows of that table, has a job performed for each, and marks the row as published once its job
//! has ended well. The names of the table and of its columns are yours. The store is not needed for it.
//!
//! ```no_run
//! use work_core::{Args, LocalWorker, Router, Worker};
//! use work_postgres::outbox::{OutboxRow, PostgresOutbox};
//!
//! async fn announce(Args(row): Args<OutboxRow>) -> Result<(), work_core::ArgsError> {
//!     let event: serde_json::Value = row.payload()?;
//!     println!("{:?}: {event}", row.key());
//!     Ok(())
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let outbox = PostgresOutbox::builder("postgres://app@localhost/app", "events").key("account").open().await?;
//! let worker = LocalWorker::new(Router::new().route("announce", announce));
//! worker.perform_receive("announce", outbox).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The table
//!
//! Recommended, beside the columns for a topic and headers if you want them:
//!
//! ```sql
//! CREATE TABLE outbox(
//!     id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- or a text or uuid that grows, such as a UUIDv7
//!     key          text,                         -- rows of one key stay in order
//!     payload      jsonb NOT NULL,               -- or json, or a text
//!     published_at timestamptz,                  -- NULL: pending
//!     due_at       timestamptz,                  -- nobody takes the row before
//!     attempts     integer NOT NULL DEFAULT 0,   -- how often it was taken
//!     error        text                          -- why it is dead
//! );
//! CREATE INDEX outbox_pending ON outbox(id) WHERE published_at IS NULL AND error IS NULL;
//! CREATE INDEX outbox_pending_key ON outbox(key, id) WHERE published_at IS NULL;
//! ```
//!
//! Without the indexes everything works, and each look reads the whole table. Nothing is made in your database, and the user
//! of the connection needs no more than `SELECT` and `UPDATE` of this table.
//!
//! # What is promised
//!
//! - **At least once.** A row whose transaction was committed is delivered until it is published or dead, whatever dies in
//!   between. After a crash between a job's effect and the mark it is delivered again, with the same id.
//! - **Many relays share a table.** Each row is taken with `FOR UPDATE SKIP LOCKED` and is nobody else's until its lease
//!   ends. The lease is extended while the job runs, and ends soon after the death of its process. A relay that was cut off
//!   for longer may still run a job that another one has begun; what it says of the row is not taken any more.
//! - **In order for each key**, whoever delivers. A row is taken only when no row of the same key with a smaller id is
//!   pending. Rows without a key (`NULL`, or no key column) wait for nothing. One key that fails delays no other.
//! - **Rows, not a position.** What is pending is read from the rows each time, so a row whose transaction was committed late
//!   is not passed over. It comes after those of its key that were delivered by then: let transactions of one key lock
//!   something that they share before they insert, as the row of the account, and ids are in the order of the commits.
//! - **Servers may go.** The relay reconnects for as long as it lives, and each statement has a deadline.
//! - **Nothing to do costs little.** An idle relay asks every 750 ms, and costs no write; right after a row it asks sooner. An
//!   [`OutboxWaker`] tells it of rows at once.
//!
//! # What becomes of a row
//!
//! | final status of its job | the row |
//! |---|---|
//! | 2xx, 444 | published: `published_at` is set, in one statement with all others that ended meanwhile |
//! | 5xx, 408, 429, 499, any other; or the worker stopped | due again after the [backoff](PostgresOutboxBuilder::backoff) |
//! | other 4xx | dead: it is kept and not delivered again, with the reason in `error` |
//! | none: it is no row that a job can have | dead, with the reason |
//!
//! A row is no job if its payload is `NULL` or not JSON, or nested deeper than 63 levels, if its headers are not an object
//! of texts, or if it is larger than [`MAX_ROW`] bytes.
//!
//! By default a dead row holds its key: nothing of that key is delivered before you have decided, see [`DeadRows`]. Set
//! `error` to `NULL`, and it is delivered again; to give it up, set `published_at` yourself, or delete the row.

mod builder;
mod check;
mod error;
mod inbox;
mod relay;
mod row;
mod source;
mod statements;
mod table;

pub use builder::{DeadRows, PostgresOutboxBuilder};
pub use error::OutboxError;
pub use row::{MAX_ROW, OutboxId, OutboxRow};
pub use source::{OutboxWaker, PostgresOutbox};
