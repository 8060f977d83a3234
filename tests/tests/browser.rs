//! The dashboard in a real browser. `cargo xtask test browser` installs one; without it, nothing here is tested.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test ends where something is missing")]

#[path = "browser/actions.rs"]
mod actions;
#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/fill.rs"]
mod fill;
#[path = "browser/flow.rs"]
mod flow;
#[path = "browser/live.rs"]
mod live;
#[path = "browser/looks.rs"]
mod looks;
#[path = "browser/site.rs"]
mod site;
#[path = "browser/tab.rs"]
mod tab;
