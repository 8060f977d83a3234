//! Indexes files.
fn main() {}
