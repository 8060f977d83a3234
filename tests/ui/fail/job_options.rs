//! Options of `#[job]` that cannot be.

use work_core::job;

#[job(kind = "no spaces")]
async fn a() {}

#[job(max_attempts = 0)]
async fn b() {}

#[job(timeout = "30")]
async fn c() {}

#[job(retries = 3)]
async fn d() {}

#[job]
fn e() {}

fn main() {}
