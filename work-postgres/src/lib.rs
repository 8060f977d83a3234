#![doc = include_str!("../README.md")]

mod arrivals;
mod call;
mod candidates;
mod capacity;
mod change;
mod complete_in;
mod connector;
mod dead;
mod error;
mod glance;
mod hand_over;
mod insert;
mod inserter;
mod inspect;
mod instant;
mod lease;
mod listen;
mod migrate;
mod notify;
mod open;
mod operate;
pub mod outbox;
mod prune;
mod queues;
mod rates;
mod row;
mod schedules;
mod search;
mod settle;
mod sql;
mod store;
mod thread;
mod workers;

pub use error::OpenError;
pub use open::{Durability, PostgresStoreBuilder};
pub use store::PostgresStore;
