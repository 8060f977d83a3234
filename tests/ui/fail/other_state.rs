//! Two handlers take different states from one router, without the macro.

use work_core::{LocalWorker, Router, State};

#[derive(Clone)]
struct Mailer;

#[derive(Clone)]
struct Database;

async fn welcome(State(_): State<Mailer>) {}

async fn clean(State(_): State<Database>) {}

fn main() {
    let router = Router::new().route("welcome", welcome).route("clean", clean);
    LocalWorker::new(router.with_state(Mailer));
}
