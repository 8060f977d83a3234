//! How a job says which other jobs it belongs to, so that the checker can count them: in headers, which travel with it.

use std::collections::BTreeMap;

use super::event::{Follows, Then, When};
use crate::{Job, JobId};

/// The header with the job that this one follows: its id, `/`, and a name.
pub const FOLLOWS_HEADER: &str = "history-follows";

/// The header with the follow-ups that a job is to have: each a name, `:`, and when; with commas between them.
pub const THEN_HEADER: &str = "history-then";

/// The header with the ids of jobs that must have ended before this one starts, with commas between them.
pub const AFTER_HEADER: &str = "history-after";

/// Says that a job follows another one, which [expects](expects()) it under this name.
///
/// ```
/// use work_core::testing::history::{When, expects, follow_up};
/// use work_core::Job;
///
/// let order = expects(Job::new("order", ()), "bill", When::Completed);
/// let bill = follow_up(Job::new("bill", ()), order.id(), "bill");
/// assert_eq!(bill.parts().headers["history-follows"], format!("{}/bill", order.id()));
/// assert_eq!(order.parts().headers["history-then"], "bill:completed");
/// ```
#[must_use]
pub fn follow_up(job: Job, before: JobId, name: &str) -> Job {
    job.header(FOLLOWS_HEADER, format!("{before}/{name}"))
}

/// Says that exactly one job follows this one under this name, if it ends so, and none if not.
#[must_use]
pub fn expects(job: Job, name: &str, when: When) -> Job {
    let when = match when {
        When::Completed => "completed",
        When::Discarded => "discarded",
        When::Ended => "ended",
    };
    let others = job.parts().headers.get(THEN_HEADER).map(|others| format!("{others},")).unwrap_or_default();
    job.header(THEN_HEADER, format!("{others}{name}:{when}"))
}

/// Says that a job, the callback of a group, does not start before all of these have ended.
#[must_use]
pub fn starts_after(job: Job, others: &[JobId]) -> Job {
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    job.header(AFTER_HEADER, others.join(","))
}

type Headers = BTreeMap<String, String>;

pub(super) fn follows(headers: &Headers) -> Option<Follows> {
    let (job, name) = headers.get(FOLLOWS_HEADER)?.split_once('/')?;
    Some(Follows { job: job.parse().ok()?, name: name.to_owned() })
}

pub(super) fn then(headers: &Headers) -> Vec<Then> {
    let one = |text: &str| {
        let (name, when) = text.split_once(':')?;
        let when = match when {
            "completed" => When::Completed,
            "discarded" => When::Discarded,
            _ => When::Ended,
        };
        Some(Then { name: name.to_owned(), when })
    };
    headers.get(THEN_HEADER).map(|then| then.split(',').filter_map(one).collect()).unwrap_or_default()
}

pub(super) fn after(headers: &Headers) -> Vec<JobId> {
    let ids = |after: &String| after.split(',').filter_map(|id| id.parse().ok()).collect();
    headers.get(AFTER_HEADER).map(ids).unwrap_or_default()
}
