use std::sync::Arc;
use std::thread;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::upkeep;

/// How many expired leases are taken back at a time.
const RESCUE_BATCH: usize = 1_000;

/// The last tenth of a lease is left to who has to stop.
pub(super) const OVERDUE_SHARE: u32 = 10;

/// How often in a lease its end is looked at.
const OVERDUE_LOOKS: u32 = 40;

/// Extends leases, rescues jobs and does what else has to be done all the time, on a thread with a runtime of its own: handlers that block every thread of theirs
/// cannot make it late. In a simulation it is a task, whose time is that of the test.
pub(super) struct Keeper {
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Keeper {
    pub(super) fn start(board: Arc<Board>) -> Self {
        let keeper = Self { stop: CancellationToken::new(), ended: CancellationToken::new() };
        let (stop, ended) = (keeper.stop.clone(), keeper.ended.clone());
        if board.settings.is_simulated {
            tokio::spawn(async move {
                let _ended = ended.drop_guard();
                stop.run_until_cancelled(keep(&board)).await;
                upkeep::leave(&board).await;
            });
            return keeper;
        }
        let spawned = thread::Builder::new().name("work-keeper".into()).spawn(move || {
            let _ended = ended.drop_guard();
            match tokio::runtime::Builder::new_current_thread().enable_time().build() {
                Ok(runtime) => runtime.block_on(async {
                    stop.run_until_cancelled(keep(&board)).await;
                    upkeep::leave(&board).await;
                }),
                Err(error) => no_keeper(&board, &error),
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to extend leases: jobs longer than a lease will run twice");
            keeper.ended.cancel();
        }
        keeper
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.ended.cancelled().await;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn no_keeper(board: &Board, error: &std::io::Error) {
    tracing::error!(%error, "no runtime to extend leases: the runner stops");
    board.stopping.cancel();
}

/// Apart from each other, so that what is slow holds up nothing else: least of all the look for leases that are about to end.
async fn keep(board: &Board) {
    let (extensions, rescues, overdue) = (extensions(board), rescues(board), overdue(board));
    futures_util::future::join4(extensions, rescues, overdue, upkeep::keep_up(board)).await;
}

async fn extensions(board: &Board) {
    let lease_for = board.settings.lease_for;
    let mut wait = lease_for / 3;
    loop {
        tokio::time::sleep(wait).await;
        // There is little time left for another try.
        wait = if extend(board).await { lease_for / 3 } else { lease_for / 10 };
    }
}

async fn rescues(board: &Board) {
    loop {
        rescue(board).await;
        tokio::time::sleep(board.settings.lease_for / 3).await;
    }
}

/// Tells what holds a lease to stop before it ends, whatever the store does meanwhile.
async fn overdue(board: &Board) {
    let lease_for = board.settings.lease_for;
    loop {
        tokio::time::sleep(lease_for / OVERDUE_LOOKS).await;
        board.stop_overdue(lease_for / OVERDUE_SHARE);
    }
}

/// False if the store could not be asked.
async fn extend(board: &Board) -> bool {
    let lease_for = board.settings.lease_for;
    let leases = board.held();
    if leases.is_empty() {
        return true;
    }
    let asked = Instant::now();
    // An answer that comes too late is no answer: what it would extend is given up first.
    match tokio::time::timeout(lease_for / 3, board.store.extend(leases.clone(), lease_for)).await {
        Ok(Ok(still)) => {
            board.extended(&leases, &still, asked);
            return true;
        }
        Ok(Err(error)) => tracing::warn!(%error, "leases could not be extended"),
        Err(_) => tracing::warn!("leases could not be extended: the store did not answer in time"),
    }
    false
}

async fn rescue(board: &Board) {
    let Ok(answer) =
        tokio::time::timeout(board.settings.lease_for, board.store.rescue(RESCUE_BATCH, board.settings.max_crashes))
            .await
    else {
        return;
    };
    match answer {
        Ok(rescued) if rescued.discarded + rescued.available > 0 => tracing::warn!(
            available = rescued.available,
            discarded = rescued.discarded,
            "took back jobs whose worker went away"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "expired leases could not be looked for"),
    }
}
