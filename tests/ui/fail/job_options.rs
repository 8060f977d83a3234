//! Options of `#[job]` that cannot be.

use work_core::{Args, Job, job};

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

#[job(max_atempts = 3)]
async fn f() {}

#[job(priority = 10)]
async fn g() {}

#[job(queue = "a", queue = "b")]
async fn h() {}

#[job(queue)]
async fn i() {}

#[job]
async fn j<T>() {}

#[job]
async fn _k() {}

#[job]
async fn l(Args(_): Args<u8>, Args(_): Args<u8>) {}

struct Service;

impl Service {
    #[job]
    async fn m(&self) {}
}

fn main() {
    let _: Job = a::job(());
}
