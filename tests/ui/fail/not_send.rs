//! Something that must stay on its thread is held over an await.

use std::rc::Rc;

use work_core::debug_handler;

#[debug_handler]
async fn welcome() {
    let name = Rc::new("Ann");
    std::future::ready(()).await;
    println!("{name}");
}

fn main() {}
