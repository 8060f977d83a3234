//! The handler returns what says nothing about how it went.

use work_core::debug_handler;

#[debug_handler]
async fn welcome() -> u32 {
    42
}

fn main() {}
