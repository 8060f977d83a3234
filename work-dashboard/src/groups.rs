//! Dead letters that failed for the same reason, together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;
use work_core::JobState;
use work_core::store::{JobFilter, Order};

use crate::dashboard::App;
use crate::failure::Failure;
use crate::snapshot::FRESH;

/// Dead letters that are looked at: the newest ones.
const LOOKED_AT: usize = 2000;

/// Dead letters of one kind with the same error, but for its numbers.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) kind: String,
    /// The first line of the error, with `#` for each number.
    pub(crate) error: String,
    /// The longest part of it without numbers: a filter that finds them.
    pub(crate) search: String,
    pub(crate) status: Option<u16>,
    pub(crate) jobs: usize,
    pub(crate) first_at: Option<DateTime<Utc>>,
    pub(crate) last_at: Option<DateTime<Utc>>,
    pub(crate) queues: Vec<String>,
    /// The newest one.
    pub(crate) example: String,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<Group>,
    /// How many dead letters were looked at.
    pub(crate) looked_at: usize,
    /// False if there are older ones that were not.
    pub(crate) complete: bool,
}

/// What was found last, and how long that took.
pub(crate) struct LastGroups {
    at: Instant,
    took: Duration,
    groups: Arc<Groups>,
}

/// The groups, the largest first: for all who look they are made for a twentieth of the time at most.
pub(crate) async fn groups(app: &App) -> Result<Arc<Groups>, Failure> {
    let mut last = app.groups.lock().await;
    if let Some(last) = last.as_ref().filter(|last| last.at.elapsed() < FRESH.max(last.took * 20)) {
        return Ok(Arc::clone(&last.groups));
    }
    let start = Instant::now();
    let groups = Arc::new(groups_of(app, JobFilter::all()).await?);
    *last = Some(LastGroups { at: Instant::now(), took: start.elapsed(), groups: Arc::clone(&groups) });
    Ok(groups)
}

/// The groups of the dead letters of a filter.
pub(crate) async fn groups_of(app: &App, filter: JobFilter) -> Result<Groups, Failure> {
    let filter = filter.state(JobState::Discarded);
    let page = app.store.list(filter, Order::NewestFirst, None, LOOKED_AT).await?;
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    let looked_at = page.jobs.len();
    for job in page.jobs {
        let parts = &job.job.parts;
        let line = job.last_error().and_then(|error| error.message.lines().next()).unwrap_or("");
        let (kind, error) = (parts.kind.to_string(), without_numbers(line));
        let group = groups.entry((kind, error)).or_insert_with_key(|(kind, error)| Group {
            kind: kind.clone(),
            search: longest_part(error),
            error: error.clone(),
            status: job.status.map(work_core::Status::code),
            jobs: 0,
            first_at: job.finished_at,
            last_at: job.finished_at,
            queues: Vec::new(),
            example: parts.id.to_string(),
        });
        group.jobs += 1;
        group.first_at = group.first_at.min(job.finished_at);
        group.last_at = group.last_at.max(job.finished_at);
        let queue = parts.queue.to_string();
        if !group.queues.contains(&queue) {
            group.queues.push(queue);
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse((group.jobs, group.last_at)));
    Ok(Groups { groups, looked_at, complete: page.next.is_none() })
}

/// Each run of letters and digits that has a digit is a `#`: ids, counts, times.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    let mut word = String::new();
    for sign in line.chars().take(300).chain([' ']) {
        if sign.is_ascii_alphanumeric() {
            word.push(sign);
            continue;
        }
        if word.bytes().any(|byte| byte.is_ascii_digit()) {
            if !text.ends_with('#') && !text.ends_with("#-") {
                text.push('#');
            }
        } else {
            text.push_str(&word);
        }
        word.clear();
        text.push(sign);
    }
    text.trim_end().to_owned()
}

fn longest_part(error: &str) -> String {
    error.split('#').map(str::trim).max_by_key(|part| part.len()).unwrap_or("").chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ids_do_not_tell_errors_apart() {
        let first = without_numbers("card 4711 of user u17 was refused after 3.5s");
        assert_eq!(first, "card # of user # was refused after #.#");
        assert_eq!(longest_part(&first), "was refused after");
        assert_eq!(without_numbers("timed out"), "timed out");
        assert_eq!(longest_part(""), "");
    }
}
