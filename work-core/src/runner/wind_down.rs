use std::time::Duration;

use super::board::Board;
use super::execute::Leases;
use super::pool::Pool;
use super::sync::{CancellationToken, timeout};

/// How long jobs that were told to stop have to get to their next await.
const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// Ends what a runner holds that leases nothing more: what waits is given back, what runs may end within the grace.
pub(super) async fn run(board: &Board, pool: &Pool<Leases>, hurry: &CancellationToken) {
    for lease in pool.take_waiting() {
        let (key, context) = lease.into_held();
        board.release(key, context);
    }
    let ended = hurry.run_until_cancelled(timeout(board.settings.grace, pool.at_most(0))).await;
    if !matches!(ended, Some(Ok(()))) {
        board.interrupt_all();
        if timeout(CANCEL_GRACE, pool.at_most(0)).await.is_err() {
            board.give_up();
        }
    }
}
