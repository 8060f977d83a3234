use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};

use super::board::Board;
use super::execute::{Item, Leases};
use crate::pool::Pool;
use crate::store::{BoxFuture, Leased};
use crate::{Backoff, StoreError};

/// Jobs that wait in this process for a slot, at most: what a store round trip is worth while jobs are short.
const MAX_AHEAD: usize = 1_000;

/// Jobs are leased ahead for so long as they take to start at the present rate.
const AHEAD_FOR: Duration = Duration::from_millis(20);

/// Ends that may wait for the store before nothing more is leased.
const MAX_BACKLOG: usize = 10_000;

/// Nobody is told of a job of another process, so look again at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A store that is back is asked again after so long, however long it was away.
const AT_LATEST: Duration = Duration::from_secs(2);

/// Leases jobs as long as there is room for some, until the board says stop.
pub(super) async fn run(board: Arc<Board>, pool: Pool<Leases>) {
    let mut window = Window::new(pool.concurrency());
    let backoff = Backoff::exponential(Duration::from_millis(50), 2.0).cap(AT_LATEST).jitter(0.5);
    let mut failures = 0;
    while let Some(()) = board.stopping.run_until_cancelled(room(&board, &pool, window.low_water())).await {
        let want = window.size().saturating_sub(pool.len());
        let mut ready = board.store.ready(&board.settings.queues);
        // Registers before the store is asked: what arrives in between is not missed.
        let told = std::future::poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx).is_ready())).await;
        match lease(&board, &pool, want).await {
            Ok((found, _)) if found == want || told => failures = 0,
            Ok((_, next_due_in)) => {
                failures = 0;
                let _ = board.stopping.run_until_cancelled(wait(&board, &pool, &mut window, ready, next_due_in)).await;
            }
            Err(error) => {
                failures += 1;
                let delay = backoff.delay(failures);
                tracing::warn!(%error, ?delay, "no jobs could be leased");
                let _ = board.stopping.run_until_cancelled(tokio::time::sleep(delay)).await;
            }
        }
        window.look(pool.started(), pool.concurrency());
    }
}

/// Until it is worth asking the store again. Jobs that it hands over meanwhile are started.
async fn wait(
    board: &Arc<Board>,
    pool: &Pool<Leases>,
    window: &mut Window,
    mut ready: BoxFuture<'_, ()>,
    mut next_due_in: Option<Duration>,
) {
    loop {
        let pause = next_due_in.unwrap_or(LOOK_AGAIN).clamp(Duration::from_millis(1), LOOK_AGAIN);
        let room = window.size().saturating_sub(pool.len());
        let handed = board.store.hand_over(board.settings.want(room));
        let Ok(Either::Left((handed, _))) = tokio::time::timeout(pause, select(handed, ready.as_mut())).await else {
            return;
        };
        next_due_in = handed.leased.next_due_in;
        // As many as there was room for: there may be more.
        if start(board, pool, handed.leased, handed.asked) >= room {
            return;
        }
        window.look(pool.started(), pool.concurrency());
        if window.size() <= pool.len() {
            return;
        }
    }
}

async fn room(board: &Board, pool: &Pool<Leases>, low_water: usize) {
    pool.at_most(low_water).await;
    while board.backlog() > MAX_BACKLOG {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs to its end even if the runner stops meanwhile: what was leased is on the board.
async fn lease(board: &Arc<Board>, pool: &Pool<Leases>, limit: usize) -> Result<(usize, Option<Duration>), StoreError> {
    let asked = Instant::now();
    let leased = board.store.lease(board.settings.want(limit)).await?;
    let next_due_in = leased.next_due_in;
    Ok((start(board, pool, leased, asked), next_due_in))
}

/// Answers how many were started.
fn start(board: &Arc<Board>, pool: &Pool<Leases>, leased: Leased, asked: Instant) -> usize {
    let items: Vec<Item> = leased.jobs.into_iter().map(Item::new).collect();
    board.hold(items.iter().map(Item::held), asked);
    let found = items.len();
    pool.submit_all(|()| items);
    found
}

/// How many jobs to hold: as many as run at once, and while they are short, more.
struct Window {
    concurrency: usize,
    ahead: usize,
    started: u64,
    looked: Instant,
}

impl Window {
    fn new(concurrency: usize) -> Self {
        Self { concurrency, ahead: 0, started: 0, looked: Instant::now() }
    }

    const fn size(&self) -> usize {
        self.concurrency + self.ahead
    }

    /// Ask for more when so few are left: with jobs in hand ahead, a batch is worth waiting for.
    fn low_water(&self) -> usize {
        (self.concurrency + self.ahead / 2).min(self.size() - 1)
    }

    /// Measures how fast jobs start.
    fn look(&mut self, started: u64, concurrency: usize) {
        self.concurrency = concurrency;
        let elapsed = self.looked.elapsed();
        if elapsed >= Duration::from_millis(1) {
            let rate = (started - self.started) as f64 / elapsed.as_secs_f64();
            self.ahead = ((rate * AHEAD_FOR.as_secs_f64()) as usize).min(MAX_AHEAD);
            self.started = started;
            self.looked = Instant::now();
        }
    }
}
