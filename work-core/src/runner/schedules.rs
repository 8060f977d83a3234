//! Makes the jobs of durable schedules. Every runner tries to, and the store lets one of them for each slot: there is no
//! leader that could be gone.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::sleep;

use super::board::Board;
use super::upkeep::{AGAIN, answer};
use crate::schedule::plan::{Plan, plan};
use crate::store::{Fired, Firing, StoredSchedule};

/// How soon a schedule is seen that another process made or changed.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn run(board: &Board) {
    // Those that this version does not understand, so that each is named once.
    let mut unknown = HashSet::new();
    loop {
        let Some(next) = look(board, &mut unknown).await else {
            sleep(AGAIN).await;
            continue;
        };
        let left = next.and_then(|next| (next - board.settings.clock.now()).to_std().ok());
        sleep(left.unwrap_or(LOOK).clamp(Duration::from_millis(1), LOOK)).await;
    }
}

/// Makes what is due, and answers when something is due next; nothing if the store fails.
async fn look(board: &Board, unknown: &mut HashSet<(String, String)>) -> Option<Option<DateTime<Utc>>> {
    let stored = answer("schedules could not be looked at", board.store.schedules()).await?;
    let now = board.settings.clock.now();
    let (mut due, mut next) = (Vec::new(), None);
    for stored in &stored {
        let Plan { firing, next: after } = planned(stored, now, unknown);
        due.extend(firing);
        next = next.into_iter().chain(after).min();
    }
    if !due.is_empty() {
        fire(board, due).await?;
    }
    Some(next)
}

fn planned(stored: &StoredSchedule, now: DateTime<Utc>, unknown: &mut HashSet<(String, String)>) -> Plan {
    match stored.schedule() {
        Ok(schedule) => plan(stored, &schedule, now),
        Err(error) => {
            if unknown.insert((stored.name.clone(), stored.schedule.clone())) {
                tracing::warn!(schedule = %stored.name, %error, "a schedule is not understood and makes no jobs here");
            }
            Plan::default()
        }
    }
}

async fn fire(board: &Board, due: Vec<Firing>) -> Option<()> {
    let firings: Vec<(String, usize)> = due.iter().map(|due| (due.schedule.clone(), due.jobs.len())).collect();
    let fired = answer("the jobs of schedules could not be made", board.store.fire(due)).await?;
    for ((schedule, jobs), fired) in firings.into_iter().zip(fired) {
        match fired {
            Fired::Done(made) if jobs == 0 || made.is_empty() => {
                tracing::info!(%schedule, missed = jobs == 0, "a run of a schedule did not take place");
            }
            Fired::Done(made) => tracing::debug!(%schedule, jobs = made.len(), "a schedule made jobs"),
            Fired::Lost => {}
        }
    }
    Some(())
}
