use std::sync::Arc;

use super::board::Board;
use super::execute::Leases;
use crate::pool::Pool;

/// Gives the pool the slots that the rule says, until the runner stops.
pub(super) async fn follow(board: Arc<Board>, pool: Pool<Leases>) {
    let Some(rule) = &board.settings.gradient else { return };
    let mut slots = rule.watch();
    loop {
        let now = *slots.borrow_and_update();
        pool.set_concurrency(now);
        #[cfg(feature = "metrics")]
        metrics::gauge!("work_runner_slots", "queues" => queues(&board)).set(now as f64);
        // It is not closed as long as there is the rule.
        let Some(Ok(())) = board.stopping.run_until_cancelled(slots.changed()).await else { return };
    }
}

#[cfg(feature = "metrics")]
fn queues(board: &Board) -> String {
    let names: Vec<&str> = board.settings.queues.names.iter().map(crate::Queue::as_str).collect();
    names.join(",")
}
