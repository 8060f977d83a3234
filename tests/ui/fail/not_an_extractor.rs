//! The handler takes the args as they are, without `Args`.

use work_core::{Router, debug_handler};

#[debug_handler]
async fn welcome(address: String) {
    println!("{address}");
}

fn main() {
    let _: Router = Router::new().route("welcome", welcome);
}
