#![doc = include_str!("../README.md")]

mod change;
mod error;
mod insert;
mod inspect;
mod lease;
mod migrate;
mod open;
mod row;
mod settle;
mod store;
mod thread;

pub use error::OpenError;
pub use open::{Durability, SqliteStoreBuilder};
pub use store::SqliteStore;
