//! For tests: of programs, which [run](run()) one job or a whole [`TestWorker`], and of stores, which pass the
//! [`conformance`] suite and the [`model`] test. With the feature `testing`.

pub mod conformance;
pub mod history;
pub mod model;
mod run;
mod worker;

pub use run::run;
pub use worker::{Performed, TestWorker};
