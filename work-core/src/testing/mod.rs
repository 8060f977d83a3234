//! For tests: of programs, which [run](run()) one job or a whole [`TestWorker`], and of stores, which pass the
//! [`conformance`] suite. With the feature `testing`.

pub mod conformance;
pub mod history;
mod run;
mod worker;

pub use run::run;
pub use worker::{Performed, TestWorker};
