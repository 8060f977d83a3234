//! Speed and memory, as ratios to a raw limit in the same run.

fn main() {}
