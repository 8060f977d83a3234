//! Bad input, as one table: what is given, and the whole answer. `docs/bad_input.md` says what each row is about.
//!
//! The answers of an area are kept in `snapshots`. To change them, run with `INSTA_UPDATE=always` and read the difference.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod batches;
mod compose;
mod configuration;
mod contents;
mod cron;
mod enqueue;
mod handlers;
mod lifecycle;
mod postgres;
mod schedule;
mod settings;
mod table;
mod workflow;
