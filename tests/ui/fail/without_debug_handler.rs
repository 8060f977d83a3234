//! The same mistake without the macro: the message says to use it.

use work_core::Router;

async fn welcome(address: String) {
    println!("{address}");
}

fn main() {
    let _: Router = Router::new().route("welcome", welcome);
}
