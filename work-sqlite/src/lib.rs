#![doc = include_str!("../README.md")]

mod after;
mod arrivals;
mod candidates;
mod capacity;
mod change;
mod complete_in;
mod error;
#[cfg(test)]
mod explored;
#[cfg(test)]
mod faults;
mod glance;
mod group;
mod insert;
mod insert_in;
mod inspect;
mod keys;
mod lease;
mod migrate;
mod new_row;
mod open;
mod operate;
pub mod outbox;
#[cfg(test)]
mod plans;
mod prune;
mod queues;
mod rates;
mod row;
mod schedules;
mod search;
mod settle;
mod store;
mod sync;
mod thread;
mod watch;
mod workers;
mod writer;

pub use complete_in::complete_in;
pub use error::OpenError;
pub use insert_in::insert_in;
pub use open::{Durability, SqliteStoreBuilder};
pub use store::SqliteStore;

/// The guides of the repository that need a store, so that their examples are compiled and run.
pub mod _documentation {
    #[doc = include_str!("../../docs/sources.md")]
    pub mod sources {}
    #[doc = include_str!("../../docs/transactions.md")]
    pub mod transactions {}
}
