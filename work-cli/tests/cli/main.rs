//! The command on real SQLite files, as people and scripts call it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod agree;
mod bulk;
mod calls;
mod dashboard;
mod every;
mod files;
mod jobs;
mod operate;
mod place;
mod streams;
#[cfg(target_os = "linux")]
mod terminal;
mod unusable;
mod workflows;

use place::Kind;

const KIND: Kind = Kind::Sqlite;
