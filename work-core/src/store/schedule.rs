use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::NewJob;
use crate::{CatchUp, InvalidSchedule, Job, JobId, OnConflict, Overlap, Parts, Schedule, Unique, UniqueScope};

/// A schedule as it stands in the store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredSchedule {
    /// Its name: there is one schedule of each name.
    pub name: String,
    /// What its runs are like: all but id and times.
    pub job: NewJob,
    /// When it is due, as text: see [`Schedule`]'s `Display`.
    pub schedule: String,
    /// What happens when a run is due while the one before has not ended.
    pub overlap: Overlap,
    /// What happens to runs that were missed.
    pub catch_up: CatchUp,
    /// Since when it makes no jobs, if it is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// When it was made, or its times were changed last.
    pub created_at: DateTime<Utc>,
    /// The last slot that is dealt with: its job was made, or was not to be made.
    pub last_slot: Option<DateTime<Utc>>,
    /// The job that it made last.
    pub last_job: Option<JobId>,
}

impl StoredSchedule {
    /// A schedule with the text of its times and nothing else; for authors of stores.
    #[must_use]
    pub fn new(name: impl Into<String>, job: NewJob, schedule: impl Into<String>, created_at: DateTime<Utc>) -> Self {
        Self {
            name: name.into(),
            job,
            schedule: schedule.into(),
            overlap: Overlap::default(),
            catch_up: CatchUp::default(),
            paused_at: None,
            created_at,
            last_slot: None,
            last_job: None,
        }
    }

    /// A schedule of these jobs at these times, as [`Store::put_schedule`](super::Store::put_schedule) takes it.
    #[must_use]
    pub fn of(name: impl Into<String>, job: NewJob, schedule: &Schedule) -> Self {
        let mut stored = Self::new(name, job, schedule.to_string(), DateTime::UNIX_EPOCH);
        (stored.overlap, stored.catch_up) = (schedule.overlaps(), schedule.catches_up());
        stored
    }

    /// The schedule itself.
    ///
    /// # Errors
    ///
    /// [`InvalidSchedule`] if the text is none that this version understands.
    pub fn schedule(&self) -> Result<Schedule, InvalidSchedule> {
        Ok(self.schedule.parse::<Schedule>()?.overlap(self.overlap).catch_up(self.catch_up))
    }

    /// The next slots after an instant, at most `limit`; none while the text is not understood.
    #[must_use]
    pub fn next_slots(&self, after: DateTime<Utc>, limit: usize) -> Vec<DateTime<Utc>> {
        let Ok(schedule) = self.schedule() else { return Vec::new() };
        // An interval counts from the last slot.
        let from = if schedule.interval().is_some() { self.last_slot.unwrap_or(self.created_at) } else { after };
        crate::schedule::plan::slots_after(&schedule, from, after).take(limit).collect()
    }

    /// The job of a run now, whatever the slots.
    #[must_use]
    pub fn run_now(&self) -> NewJob {
        let mut job = self.job.clone();
        job.parts.id = JobId::new();
        job.parts.headers.insert(SCHEDULE_HEADER.to_owned(), self.name.clone());
        job
    }

    /// The job of a slot. Its unique key keeps a second one of the slot away, unless the job has a key of its own.
    pub(crate) fn run_of(&self, slot: DateTime<Utc>) -> NewJob {
        let mut job = self.run_now();
        job.parts.scheduled_at = Some(slot);
        job.parts.headers.insert(SLOT_HEADER.to_owned(), slot.to_rfc3339());
        let key = || Unique::while_kept(format!("schedule:{}@{}", self.name, slot.timestamp_millis()));
        job.parts.unique.get_or_insert_with(key);
        job
    }
}

/// The header in which the job of a schedule carries the schedule's name.
pub const SCHEDULE_HEADER: &str = "schedule";

/// The header in which the job of a schedule carries its slot, as RFC 3339 has it.
pub const SLOT_HEADER: &str = "schedule-slot";

/// Slots that are due, as [`Store::fire`](super::Store::fire) takes them.
#[derive(Debug, Clone)]
pub struct Firing {
    /// Which schedule.
    pub schedule: String,
    /// Its last slot when this was planned. If it is another one by now, somebody else was first.
    pub planned_after: Option<DateTime<Utc>>,
    /// Its last slot from now on.
    pub slot: DateTime<Utc>,
    /// The jobs to make; none if the slots were missed and are not made up for.
    pub jobs: Vec<NewJob>,
}

/// What a store did with one [`Firing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fired {
    /// The slots are dealt with, and these are the jobs that were made: none if the one before has not ended, and runs
    /// must not overlap.
    Done(Vec<JobId>),
    /// Somebody else was first, or the schedule is paused or gone: nothing was changed.
    Lost,
}

/// The parts of a job beside kind and queue, as a store keeps them in one text.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_key: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unique_while_kept: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_within_ms: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unique_replaces_args: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unique_runs_after: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    tags: BTreeSet<String>,
}

/// The options of a job that is made again and again, as JSON: all parts but its id, kind, queue and times. For authors
/// of stores.
#[must_use]
pub fn options_to_json(parts: &Parts) -> String {
    let millis = |time: Duration| u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let options = Options {
        priority: Some(parts.priority),
        max_attempts: parts.max_attempts,
        timeout_ms: parts.timeout.map(millis),
        unique_key: parts.unique.as_ref().map(|unique| unique.key().to_owned()),
        unique_while_kept: parts.unique.as_ref().is_some_and(|unique| unique.scope() == UniqueScope::WhileKept),
        unique_within_ms: parts.unique.as_ref().and_then(Unique::window).map(millis),
        unique_replaces_args: parts.unique.as_ref().is_some_and(|unique| unique.conflict() == OnConflict::ReplaceArgs),
        unique_runs_after: parts.unique.as_ref().is_some_and(|unique| unique.conflict() == OnConflict::RunAfter),
        headers: parts.headers.clone(),
        tags: parts.tags.clone(),
    };
    serde_json::to_string(&options).unwrap_or_default()
}

/// Reads [`options_to_json`] back. What is not understood, or no valid option, is as if it were not there. For authors of
/// stores.
pub fn options_from_json(parts: &mut Parts, json: &str) {
    let options: Options = serde_json::from_str(json).unwrap_or_default();
    let mut read = parts.clone();
    read.priority = options.priority.unwrap_or(read.priority);
    read.max_attempts = options.max_attempts;
    read.timeout = options.timeout_ms.map(Duration::from_millis);
    let unique = |key| {
        let unique = if options.unique_while_kept { Unique::while_kept(key) } else { Unique::new(key) };
        let window = options.unique_within_ms.map(Duration::from_millis);
        let unique = window.map_or(unique.clone(), |window| unique.within(window));
        match (options.unique_replaces_args, options.unique_runs_after) {
            (true, _) => unique.on_conflict(OnConflict::ReplaceArgs),
            (_, true) => unique.on_conflict(OnConflict::RunAfter),
            _ => unique,
        }
    };
    read.unique = options.unique_key.map(unique);
    read.headers = options.headers;
    read.tags = options.tags;
    if Job::validate_parts(&read).is_ok() {
        *parts = read;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_from_their_text() {
        let job = Job::new("k", ()).priority(2).max_attempts(3).timeout(Duration::from_millis(1500)).tag("t");
        let job = job.header("a", "ü").unique(Unique::while_kept("u")).queue("q");
        let window = Unique::new("u").within(Duration::from_secs(7)).on_conflict(OnConflict::ReplaceArgs);
        let (mut read, within) = (Parts::new(JobId::new(), "k".into(), "q".into()), job.clone().unique(window));
        options_from_json(&mut read, &options_to_json(within.parts()));
        assert_eq!(read.unique, within.parts().unique);
        let after = job.clone().unique(Unique::new("u").on_conflict(OnConflict::RunAfter));
        options_from_json(&mut read, &options_to_json(after.parts()));
        assert_eq!(read.unique, after.parts().unique);
        options_from_json(&mut read, &options_to_json(job.parts()));
        assert_eq!((read.priority, read.max_attempts, read.timeout), (2, Some(3), Some(Duration::from_millis(1500))));
        assert_eq!(
            (&read.unique, &read.headers, &read.tags),
            (&job.parts().unique, &job.parts().headers, &job.parts().tags)
        );
        for text in ["", "{", "7", r#"{"priority":77}"#] {
            let mut read = Parts::new(JobId::new(), "k".into(), "q".into());
            options_from_json(&mut read, text);
            assert_eq!(read.priority, crate::job::DEFAULT_PRIORITY, "{text}");
        }
    }
}
