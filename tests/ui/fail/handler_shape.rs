//! What no handler can be, whatever its types are.

use work_core::{Context, State, debug_handler};

#[debug_handler]
fn not_async() {}

#[debug_handler]
async fn borrows(_: &str) {}

#[debug_handler]
async fn two_states(State(_): State<u8>, State(_): State<bool>) {}

#[debug_handler(stat = u8)]
async fn option() {}

type C = Context;

#[debug_handler]
async fn many(_: C, _: C, _: C, _: C, _: C, _: C, _: C, _: C, _: C, _: C, _: C, _: C, _: C) {}

fn main() {}
