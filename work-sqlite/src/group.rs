//! The group commit: everything that arrives while one transaction is under way goes into the next one.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::mpsc::Receiver;
use work_core::StoreError;

use super::arrivals::Arrivals;
use super::sync::{Thread, current, park, park_timeout};
use crate::error::{Failed, Phase, store_error};
use crate::watch::Watch;

/// Requests that are taken at once, at most.
const GROUP: usize = 4_096;

/// Rows in one commit, at most, as far as the requests of a group can be divided.
const ROWS: usize = 20_000;

/// What groups are committed by.
pub(crate) trait Commits {
    type Request: Asked;

    fn arrivals(&self) -> &Arrivals;

    /// Runs requests in one transaction.
    fn transaction(&mut self, requests: &mut [Self::Request]) -> Result<(), Failed>;

    /// Somebody waits for jobs, which other processes may have written.
    fn look(&mut self);

    /// Nobody waits.
    fn rest(&mut self);
}

/// A request in a group.
pub(crate) trait Asked {
    /// How many rows it is about, roughly.
    fn rows(&self) -> usize;

    /// Answers. Called once, after the transaction.
    fn answer(self, result: Result<(), StoreError>);
}

/// Commits what is asked for, on this thread. Ends with the last sender.
pub(crate) fn run<C: Commits>(commits: &mut C, mut requests: Receiver<C::Request>) {
    commits.arrivals().looker_is(current());
    let mut group = Vec::new();
    while next(commits, &mut requests, &mut group) > 0 {
        commit(commits, &mut group);
    }
}

/// Waits for requests. While a runner waits for jobs, it looks for those of other processes now and then; while
/// nobody waits, it sleeps.
fn next<C: Commits>(commits: &mut C, requests: &mut Receiver<C::Request>, group: &mut Vec<C::Request>) -> usize {
    let waker = Waker::from(Arc::new(Unpark(current())));
    let mut context = Context::from_waker(&waker);
    loop {
        let arrived = requests.poll_recv_many(&mut context, group, GROUP);
        if commits.arrivals().has_waiters() {
            commits.look();
        } else {
            commits.rest();
        }
        match arrived {
            Poll::Ready(count) => return count,
            Poll::Pending if commits.arrivals().has_waiters() => park_timeout(Watch::PERIOD),
            Poll::Pending => park(),
        }
    }
}

/// Commits a group in as few transactions as it can be, so that a request that fails fails alone.
fn commit<C: Commits>(commits: &mut C, group: &mut Vec<C::Request>) {
    let mut at_most = GROUP;
    while !group.is_empty() {
        let size = within_rows(group).min(std::mem::replace(&mut at_most, GROUP));
        match commits.transaction(&mut group[..size]) {
            // Those before it first; then it is alone, and may fail for itself.
            Err(Failed { phase: Phase::Run, at, .. }) if size > 1 => at_most = at.max(1),
            // Whoever is behind would wait as long, for the same answer.
            Err(failed) if failed.phase == Phase::Begin => answer(group.drain(..), &Err(failed)),
            result => answer(group.drain(..size), &result),
        }
        commits.arrivals().wake_if_changed();
    }
}

/// How many of the first requests fit into one commit: one at least.
fn within_rows(group: &[impl Asked]) -> usize {
    let mut rows = 0_usize;
    let fit = group.iter().take_while(|request| {
        rows = rows.saturating_add(request.rows());
        rows <= ROWS
    });
    fit.count().max(1)
}

fn answer(requests: impl Iterator<Item = impl Asked>, result: &Result<(), Failed>) {
    for request in requests {
        request.answer(result.as_ref().copied().map_err(|failed| store_error(&failed.error, failed.phase)));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
