//! Outbox tables as a source of jobs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "outbox/crash.rs"]
mod crash;
#[path = "outbox/fuzz.rs"]
mod fuzz;
#[path = "outbox/input.rs"]
mod input;
#[path = "outbox/order.rs"]
mod order;
#[path = "outbox/place.rs"]
mod place;
#[path = "outbox/relays.rs"]
mod relays;
#[path = "outbox/rows.rs"]
mod rows;
#[path = "outbox/size.rs"]
mod size;
