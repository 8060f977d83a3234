//! A unique key of something that is not there.

use serde::{Deserialize, Serialize};
use work_core::{Args, JobArgs, job};

#[job(unique = "of:{account}")]
async fn sync(Args(_): Args<u8>) {}

#[derive(Serialize, Deserialize, JobArgs)]
#[job(unique = "of:{accont}")]
struct Sync {
    account: u8,
}

fn main() {}
