//! A state that calls a real server over HTTP, which takes 200 requests in each second and answers 429 to the others.
//!
//! `WORK_LONG=1` makes it a minute from a bad start, and prints what each second had.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod served;

use served::{CEILING, called};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_that_takes_200_a_second_is_used_well_and_seldom_refuses() {
    let long = std::env::var_os("WORK_LONG").is_some();
    // A machine that is busy comes in bursts: how well it does is the benchmark's to say.
    let (seconds, start, least, most) = if long { (60, 20.0, 0.85, 0.03) } else { (12, 100.0, 0.5, 0.15) };
    let served = called(start, seconds).await.unwrap();
    if long {
        println!("{served:?}");
    }
    let sum = |count: fn(&(u32, u32)) -> u32| f64::from(served.iter().map(count).sum::<u32>());
    let (accepted, refused) = (sum(|second| second.0), sum(|second| second.1));
    let (used, share) = (accepted / f64::from(seconds * CEILING), refused / (accepted + refused));
    println!("in {seconds} s from {start}: used {used:.3}, refused {share:.4}");
    assert!(used >= least && share <= most, "used {used}, refused {share}");
}
