//! The args have no `Deserialize`.

use work_core::{Args, debug_handler};

struct User {
    name: String,
}

#[debug_handler]
async fn welcome(Args(user): Args<User>) {
    println!("{}", user.name);
}

fn main() {}
