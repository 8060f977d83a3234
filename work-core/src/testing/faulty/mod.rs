//! A store whose calls are delayed, fail, hang and lose their answers by a seed, for simulations.
//!
//! A simulation runs workers as tasks on one thread, with tokio's time paused and [`Seeded`](crate::testing::Seeded) ids: then
//! everything follows from its seed, hours pass in milliseconds, and what was found once can be found again. Each worker has a
//! [`FaultyStore`] of its own over the same store, which can also let it [crash](FaultyStore::crash).
//! [`history`](crate::testing::history) says in the end whether a promise was broken.

mod call;
mod faults;
mod store;

pub use faults::Faults;
pub use store::FaultyStore;
