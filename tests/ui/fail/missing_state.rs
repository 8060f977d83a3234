//! The handler takes a state that the router does not have.

use work_core::{LocalWorker, Router, State, debug_handler};

#[derive(Clone)]
struct Mailer;

#[debug_handler(state = ())]
async fn welcome(State(_): State<Mailer>) {}

fn main() {
    LocalWorker::new(Router::new().route("welcome", welcome));
}
