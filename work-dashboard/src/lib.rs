#![doc = include_str!("../README.md")]

mod access;
mod actions;
mod api;
mod assets;
mod call;
mod census;
mod count;
mod dashboard;
mod failure;
mod filter;
mod groups;
mod guard;
mod live;
mod pages;
mod routes;
mod serve;
mod snapshot;
mod version;
mod view;
pub mod workflows;

pub use dashboard::{BuildError, Dashboard, DashboardBuilder, MIN_TOKEN};
pub use routes::{Needs, routes};
pub use serve::{Bound, ServeError};
