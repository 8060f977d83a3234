//! For tests: of programs, which [run](run()) one job or a whole [`TestWorker`], and of stores, which pass the
//! [`conformance`] suite and the [`model`] test; and of both together when things [fail](faulty). With the feature `testing`.

pub mod conformance;
pub mod faulty;
pub mod fuzz;
pub mod history;
pub mod model;
mod run;
mod seed;
mod worker;

pub use run::run;
pub use seed::{Dice, Seeded};
pub use worker::{Performed, TestWorker};
