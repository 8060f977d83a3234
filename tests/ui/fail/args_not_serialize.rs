//! The args of a `#[job]` have no `Serialize`.

use work_core::{Args, job};

#[derive(serde::Deserialize)]
struct User {
    name: String,
}

#[job]
async fn welcome(Args(user): Args<User>) {
    println!("{}", user.name);
}

fn main() {}
