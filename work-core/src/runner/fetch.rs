use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::select;
use tokio::time::Instant;

use super::board::Board;
use super::execute::{Item, Leases};
use super::gate::Gate;
use super::keep::OVERDUE_SHARE;
use super::turns::{Plan, Turns};
use crate::pool::Pool;
use crate::store::{BoxFuture, HandedOver, Lease, Leased, Want};
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
    let mut turns = Turns::new(&board.settings.queues);
    let gate = board.settings.gate.as_ref();
    let admission = board.settings.admission.clone();
    let mut window = Window::new(pool.concurrency(), turns.leases_ahead() && gate.is_none() && admission.is_none());
    if let Some(gate) = gate {
        let pool = pool.clone();
        gate.count(Some(Box::new(move || pool.len())));
    }
    let backoff = Backoff::exponential(Duration::from_millis(50), 2.0).cap(AT_LATEST).jitter(0.5);
    let (mut failures, mut lost) = (0, false);
    while let Some(()) = board.stopping.run_until_cancelled(room(&board, &pool, &window)).await {
        // There may be fewer or more slots by now.
        window.concurrency = pool.concurrency();
        let plan = window.plan(&turns, &pool, gate);
        if plan.limit == 0 {
            let _ = board.stopping.run_until_cancelled(end_of_one(&turns, &pool, window.concurrency, gate)).await;
            window.look(pool.started(), pool.concurrency());
            continue;
        }
        let granted = match admission.as_deref().map(|admission| admission.take(plan.limit)).transpose() {
            Ok(granted) => granted,
            Err(after) => {
                let _ = board.stopping.run_until_cancelled(tokio::time::sleep(after)).await;
                window.look(pool.started(), pool.concurrency());
                continue;
            }
        };
        let plan = granted.as_ref().map_or(plan, |granted| turns.plan(granted.count(), granted.count()));
        let mut ready = board.store.ready(&board.settings.queues.names);
        // Registers before the store is asked: what arrives in between is not missed.
        let told = std::future::poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx).is_ready())).await;
        let found = lease(&board, &pool, (&mut turns, &mut lost), &plan).await;
        if let Some(mut granted) = granted {
            granted.use_up(found.as_ref().map_or(0, |found| found.jobs));
        }
        match found {
            Ok(Found { jobs, more, .. }) if jobs == plan.limit || told || more => failures = 0,
            Ok(Found { next_due_in, .. }) => {
                failures = 0;
                let wait = wait(&board, &pool, (&mut turns, &mut window), ready, next_due_in);
                let _ = board.stopping.run_until_cancelled(wait).await;
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
    // It holds the pool, which holds it.
    gate.inspect(|gate| gate.count(None));
}

/// Until it is worth asking the store again. Jobs that it hands over meanwhile are started.
async fn wait(
    board: &Arc<Board>,
    pool: &Pool<Leases>,
    (turns, window): (&mut Turns, &mut Window),
    mut ready: BoxFuture<'_, ()>,
    mut next_due_in: Option<Duration>,
) {
    loop {
        let pause = next_due_in.unwrap_or(LOOK_AGAIN).clamp(Duration::from_millis(1), LOOK_AGAIN);
        let plan = window.plan(turns, pool, board.settings.gate.as_ref());
        if plan.limit == 0 {
            return;
        }
        if board.settings.gate.is_some() || board.settings.admission.is_some() {
            // Whether there is room, or a permit, is known when a job is here, and not before.
            let _ = tokio::time::timeout(pause, woken(ready.as_mut(), turns, &plan)).await;
            return;
        }
        let mut was_told = false;
        let handed = {
            let told = pin!(async {
                let _ = tokio::time::timeout(pause, woken(ready.as_mut(), turns, &plan)).await;
                was_told = true;
            });
            board.store.hand_over(want(board, turns, &plan), told).await
        };
        let Some(HandedOver { asked, leased, .. }) = handed else { return };
        let found = start(board, pool, (turns, &plan), leased, asked.into());
        // As many as there was room for: there may be more.
        if was_told || found.jobs >= plan.limit || found.more {
            return;
        }
        next_due_in = found.next_due_in;
        window.look(pool.started(), pool.concurrency());
    }
}

/// By a job that arrives, or if some are held back here, by the end of one.
async fn woken(ready: Pin<&mut (dyn Future<Output = ()> + Send)>, turns: &Turns, plan: &Plan) {
    if plan.capped.contains(&true) {
        select(ready, pin!(turns.freed())).await;
    } else {
        ready.await;
    }
}

/// So many run of each queue that nothing may be leased: waits until that changes.
async fn end_of_one(turns: &Turns, pool: &Pool<Leases>, concurrency: usize, gate: Option<&Gate>) {
    if let Some(gate) = gate {
        match pool.len() {
            0 => gate.freed(0).await,
            held => _ = select(pin!(gate.freed(held)), pin!(pool.at_most(held - 1))).await,
        }
        return;
    }
    if pool.len() < concurrency {
        turns.freed().await;
    } else {
        select(pin!(turns.freed()), pin!(pool.at_most(concurrency.saturating_sub(1)))).await;
    }
}

async fn room(board: &Board, pool: &Pool<Leases>, window: &Window) {
    pool.at_most_of(|concurrency| window.low_water(concurrency)).await;
    while board.backlog() > MAX_BACKLOG {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs to its end even if the runner stops meanwhile: what was leased is on the board.
///
/// After an answer that was `lost`, the store may count jobs as ours that nobody runs: those are taken back first.
async fn lease(
    board: &Arc<Board>,
    pool: &Pool<Leases>,
    (turns, lost): (&mut Turns, &mut bool),
    plan: &Plan,
) -> Result<Found, StoreError> {
    if *lost {
        let jobs = board.store.take_back(board.settings.worker.clone(), board.all_held()).await?;
        tracing::info!(jobs, "an answer was lost, and what it leased is taken back");
        *lost = false;
    }
    let asked = Instant::now();
    let leased = board.store.lease(want(board, turns, plan)).await;
    *lost = leased.as_ref().is_err_and(StoreError::is_unknown);
    Ok(start(board, pool, (turns, plan), leased?, asked))
}

fn want(board: &Board, turns: &Turns, plan: &Plan) -> Want {
    let settings = &board.settings;
    let (queues, at_most) = plan.turns.iter().map(|(at, most)| (turns.name(*at).clone(), *most)).unzip();
    let (limit, lease_for, worker) = (plan.limit, settings.lease_for, settings.worker.clone());
    Want { queues, at_most, limit, lease_for, worker, aging: settings.aging }
}

fn start(
    board: &Board,
    pool: &Pool<Leases>,
    (turns, plan): (&mut Turns, &Plan),
    leased: Leased,
    asked: Instant,
) -> Found {
    let (mut items, more) = in_turn(leased.jobs, board.settings.max_output, turns, plan);
    board.hold(items.iter().map(Item::held), asked);
    let found = Found { jobs: items.len(), more, next_due_in: leased.next_due_in };
    // Whoever has the slots first may have taken them since the store was asked: others may have room.
    let room = board.settings.gate.as_ref().map_or(usize::MAX, |gate| gate.free(pool.len()));
    for item in items.split_off(room.min(items.len())) {
        let (key, context) = item.into_held();
        board.release(key, context);
    }
    // An answer may come when its leases have ended, and others have them: then nothing of it is started.
    let (lease_for, margin) = (board.settings.lease_for, board.settings.lease_for / OVERDUE_SHARE);
    if asked.elapsed() >= lease_for - margin {
        board.stop_overdue(margin);
    }
    pool.submit_all(|()| items);
    found
}

/// What a lease came to.
struct Found {
    jobs: usize,
    /// Some queues had less than their share, and others may have more.
    more: bool,
    next_due_in: Option<Duration>,
}

/// In the order to start them: the queues by turns, as their weights say. And whether there may be more.
fn in_turn(jobs: Vec<Lease>, max_output: usize, turns: &mut Turns, plan: &Plan) -> (Vec<Item>, bool) {
    let mut taken = vec![0; plan.capped.len()];
    let mut items: Vec<(f64, Item)> = Vec::with_capacity(jobs.len());
    for lease in jobs {
        let Some(at) = turns.find(&lease.job.parts.queue) else {
            items.push((0.0, Item::new(lease, max_output, None)));
            continue;
        };
        taken[at] += 1;
        items.push((turns.place(at, taken[at]), Item::new(lease, max_output, turns.ticket(at))));
    }
    let more = turns.took(plan, &taken);
    if taken.len() > 1 {
        items.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    (items.into_iter().map(|(_, item)| item).collect(), more)
}

/// How many jobs to hold: as many as run at once, and while they are short, more.
struct Window {
    concurrency: usize,
    ahead: usize,
    leases_ahead: bool,
    started: u64,
    looked: Instant,
}

impl Window {
    fn new(concurrency: usize, leases_ahead: bool) -> Self {
        Self { concurrency, ahead: 0, leases_ahead, started: 0, looked: Instant::now() }
    }

    /// What to ask for next.
    fn plan(&self, turns: &Turns, pool: &Pool<Leases>, gate: Option<&Gate>) -> Plan {
        let held = pool.len();
        let open = gate.map_or(usize::MAX, |gate| gate.free(held));
        turns.plan(self.size().saturating_sub(held).min(open), self.concurrency.saturating_sub(held).min(open))
    }

    const fn size(&self) -> usize {
        self.concurrency + self.ahead
    }

    /// Ask for more when so few are left: with jobs in hand ahead, a batch is worth waiting for.
    fn low_water(&self, concurrency: usize) -> usize {
        (concurrency + self.ahead / 2).min(concurrency + self.ahead - 1)
    }

    /// Measures how fast jobs start.
    fn look(&mut self, started: u64, concurrency: usize) {
        self.concurrency = concurrency;
        let elapsed = self.looked.elapsed();
        if elapsed >= Duration::from_millis(1) {
            let rate = (started - self.started) as f64 / elapsed.as_secs_f64();
            let ahead = if self.leases_ahead { AHEAD_FOR } else { Duration::ZERO };
            self.ahead = ((rate * ahead.as_secs_f64()) as usize).min(MAX_AHEAD);
            self.started = started;
            self.looked = Instant::now();
        }
    }
}
