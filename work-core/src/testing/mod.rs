//! For authors of stores: the suite that every store passes.

pub mod conformance;
