//! Outbox tables as a source of jobs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "outbox/crash.rs"]
mod crash;
#[path = "outbox/fuzz.rs"]
mod fuzz;
#[path = "outbox/input.rs"]
mod input;
#[path = "outbox/late.rs"]
mod late;
#[path = "outbox/place.rs"]
mod place;
#[path = "support/proxy.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod proxy;
#[path = "outbox/relays.rs"]
mod relays;
#[path = "outbox/rows.rs"]
mod rows;
#[path = "../../xtask/src/server.rs"]
#[allow(dead_code, reason = "the rest is for `cargo xtask test`")]
mod server;
#[path = "outbox/size.rs"]
mod size;
mod support;
