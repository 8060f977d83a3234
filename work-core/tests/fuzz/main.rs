//! Whatever this crate reads, at random: an answer or a typed error, at once, with a message that can be printed anywhere.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[cfg(feature = "encryption")]
mod encrypted;
mod jobs;
mod pages;
mod texts;
