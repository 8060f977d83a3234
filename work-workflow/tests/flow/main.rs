//! Workflows on every store that needs no server: rows F5 and F6 of the list of capabilities.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod build;
mod disk;
mod fuzz;
mod limits;
mod operate;
mod rates;
mod states;
mod stores;
mod waits;
