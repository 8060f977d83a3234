//! The rows of an outbox table as a [`Source`](work_core::Source) of jobs.

mod builder;
mod check;
mod error;
mod inbox;
mod relay;
mod row;
mod source;
mod statements;
mod table;
mod verdict;

pub use builder::{DeadRows, PostgresOutboxBuilder};
pub use error::OutboxError;
pub use row::{MAX_ROW, OutboxId, OutboxRow};
pub use source::{OutboxWaker, PostgresOutbox};
