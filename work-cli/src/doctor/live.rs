//! What is seen through the store itself.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use work_core::store::{JobFilter, Order, QueueInfo, WorkerInfo};
use work_core::{JobState, Queue};

use super::Check;
use crate::error::CliError;
use crate::session::Session;
use crate::text::{count_of, one_line};
use crate::time::rough;

/// A ready job that waits longer than this is worth a look.
const LONG: Duration = Duration::from_secs(5 * 60);

/// How far two clocks may be apart.
const SKEW: TimeDelta = TimeDelta::seconds(5);

/// What cannot be looked at is a check that failed, and the others go on.
pub(super) async fn checks(session: &Session) -> Vec<Check> {
    let or_fail = |name, check: Result<Check, CliError>| check.unwrap_or_else(|error| failed(name, &error));
    let mut checks = Vec::new();
    let workers = session.store.workers().await;
    match &workers {
        Ok(workers) => checks.push(up(workers)),
        Err(error) => checks.push(failed("workers", error)),
    }
    let workers = workers.unwrap_or_default();
    checks.push(or_fail("clock", clock(session, &workers).await));
    checks.push(or_fail("leases", leases(session).await));
    match session.store.queues().await {
        Ok(queues) => {
            checks.extend(paused(&queues));
            checks.extend(undrained(&queues, &workers));
            checks.push(oldest(&queues));
        }
        Err(error) => checks.push(failed("queues", &error)),
    }
    checks.push(or_fail("dead letters", dead(session).await));
    checks.push(or_fail("schedules", schedules(session).await));
    checks
}

fn failed(name: &'static str, error: &dyn std::fmt::Display) -> Check {
    Check::fail(name, format!("cannot be looked at: {error}"), "see the log of the store")
}

/// What lies in the future was written by a clock that is ahead of this one.
async fn clock(session: &Session, workers: &[WorkerInfo]) -> Result<Check, CliError> {
    let newest = session.store.list(JobFilter::all(), Order::NewestFirst, None, 1).await?;
    let now = session.now();
    let made = newest.jobs.iter().map(|job| ("the newest job was made".to_owned(), job.created_at));
    let beats =
        workers.iter().map(|worker| (format!("worker {} was heard of", one_line(&worker.id)), worker.last_beat));
    let ahead = |at: DateTime<Utc>| (at - now > SKEW).then(|| (at - now).to_std().unwrap_or_default());
    Ok(match made.chain(beats).find_map(|(what, at)| ahead(at).map(|by| (what, by))) {
        None => Check::ok("clock", "nothing in the store is ahead of this machine's clock"),
        Some((what, by)) => {
            let mend = "set the clocks of the machines by NTP";
            Check::fail("clock", format!("{what} {} from now by this machine's clock", rough(by)), mend)
        }
    })
}

async fn leases(session: &Session) -> Result<Check, CliError> {
    let (mut after, mut expired, mut running) = (None, 0_u64, 0_u64);
    let latest = session.now() - SKEW;
    loop {
        let page =
            session.store.list(JobFilter::all().state(JobState::Running), Order::OldestFirst, after, 500).await?;
        running += page.jobs.len() as u64;
        expired += page.jobs.iter().filter(|job| job.lease_until.is_some_and(|until| until < latest)).count() as u64;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(if expired == 0 {
        Check::ok("leases", format!("{} running, no lease has expired", count_of(running, "job")))
    } else {
        let found = format!("{} expired, of {} running", count_of(expired, "lease"), count_of(running, "job"));
        Check::warn("leases", found, "a worker died: start one, and it takes them over within seconds")
    })
}

fn up(workers: &[WorkerInfo]) -> Check {
    if workers.is_empty() {
        return Check::warn("workers", "none was heard of in the last minute", "start a program that runs one");
    }
    Check::ok("workers", format!("{} up", count_of(workers.len() as u64, "worker")))
}

fn paused(queues: &[QueueInfo]) -> Vec<Check> {
    let paused = queues.iter().filter(|info| info.paused_at.is_some());
    let check = |info: &QueueInfo| {
        let queue = one_line(info.queue.as_str());
        let waiting = count_of(info.counts.of(JobState::Available), "job");
        Check::warn("queue", format!("{queue} is paused, with {waiting}"), format!("work queues resume {queue}"))
    };
    paused.map(check).collect()
}

fn undrained(queues: &[QueueInfo], workers: &[WorkerInfo]) -> Vec<Check> {
    let drained: Vec<&Queue> = workers.iter().flat_map(|worker| &worker.queues).collect();
    let left = queues.iter().filter(|info| info.oldest_ready_for.is_some() && !drained.contains(&&info.queue));
    let check = |info: &QueueInfo| {
        let queue = one_line(info.queue.as_str());
        let mend = "start a worker of that queue, or look whether its name is misspelt";
        Check::warn("queue", format!("{queue} has jobs that are due, and no worker drains it"), mend)
    };
    // Without workers at all, that is said once.
    if workers.is_empty() { Vec::new() } else { left.map(check).collect() }
}

fn oldest(queues: &[QueueInfo]) -> Check {
    let waits = queues.iter().filter_map(|info| info.oldest_ready_for.map(|time| (time, &info.queue))).max();
    match waits {
        None => Check::ok("ready", "no job waits that is due"),
        Some((time, queue)) => {
            let queue = one_line(queue.as_str());
            let found = format!("the oldest job that is due waits {} in queue {queue}", rough(time));
            if time < LONG {
                return Check::ok("ready", found);
            }
            Check::warn(
                "ready",
                found,
                format!("more workers or slots are needed; see `work jobs list --queue {queue} --oldest`"),
            )
        }
    }
}

async fn dead(session: &Session) -> Result<Check, CliError> {
    let counts = session.store.counts(JobFilter::all().state(JobState::Discarded)).await?;
    Ok(match counts.of(JobState::Discarded) {
        0 => Check::ok("dead letters", "none"),
        count => {
            let mend =
                "see `work jobs list --state discarded`, mend the cause, then `work jobs retry --state discarded`";
            Check::warn("dead letters", count_of(count, "job"), mend)
        }
    })
}

async fn schedules(session: &Session) -> Result<Check, CliError> {
    let schedules = session.store.schedules().await?;
    let unread = schedules.iter().find(|schedule| schedule.schedule().is_err());
    if let Some(schedule) = unread {
        let found =
            format!("the times of {} are not understood: {}", one_line(&schedule.name), one_line(&schedule.schedule));
        return Ok(Check::fail("schedules", found, "start the newest version of the program that keeps it"));
    }
    let paused = schedules.iter().filter(|schedule| schedule.paused_at.is_some()).count();
    let found = format!("{}, {paused} paused", count_of(schedules.len() as u64, "schedule"));
    Ok(if paused == 0 {
        Check::ok("schedules", found)
    } else {
        Check::warn("schedules", found, "see `work schedules list`")
    })
}
