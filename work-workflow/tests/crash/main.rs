//! Runs in processes of their own that are killed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod killed;
mod place;
mod steps;
