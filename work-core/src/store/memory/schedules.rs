//! Schedules.

use chrono::{DateTime, Utc};

use super::table::Table;
use crate::store::{Fired, Firing, Inserted, StoredSchedule};
use crate::{JobState, Overlap};

impl Table {
    pub(super) fn put_schedule(&mut self, new: StoredSchedule, now: DateTime<Utc>) {
        let known = self.schedules.get(&new.name);
        let paused_at = known.and_then(|known| known.paused_at);
        let new = match known.filter(|known| known.schedule == new.schedule) {
            Some(StoredSchedule { created_at, last_slot, .. }) => {
                StoredSchedule { created_at: *created_at, last_slot: *last_slot, ..new }
            }
            None => StoredSchedule { created_at: now, last_slot: None, ..new },
        };
        let last_job = known.and_then(|known| known.last_job);
        self.schedules.insert(new.name.clone(), StoredSchedule { paused_at, last_job, ..new });
    }

    pub(super) fn fire(&mut self, due: Firing, now: DateTime<Utc>) -> Fired {
        let current =
            |schedule: &&mut StoredSchedule| schedule.paused_at.is_none() && schedule.last_slot == due.planned_after;
        let Some(schedule) = self.schedules.get_mut(&due.schedule).filter(current) else { return Fired::Lost };
        schedule.last_slot = Some(due.slot);
        let (overlap, last) = (schedule.overlap, schedule.last_job);
        let state = last.and_then(|id| self.find(id)).map(|(_, row)| row.stored.state);
        let goes_on = matches!(state, Some(JobState::Available | JobState::Running)) && !due.jobs.is_empty();
        match (overlap, last) {
            (Overlap::Skip, _) if goes_on => return Fired::Done(Vec::new()),
            (Overlap::Cancel, Some(id)) if goes_on => _ = self.cancel(id, now),
            _ => {}
        }
        let made: Vec<Inserted> = due.jobs.into_iter().map(|job| self.insert(job, now)).collect();
        if let (Some(schedule), Some(last)) = (self.schedules.get_mut(&due.schedule), made.last()) {
            schedule.last_job = Some(last.id());
        }
        Fired::Done(made.into_iter().filter(|made| matches!(made, Inserted::New(_))).map(Inserted::id).collect())
    }

    /// Answers whether it was at work before.
    pub(super) fn pause_schedule(&mut self, name: &str, now: DateTime<Utc>) -> bool {
        let schedule = self.schedules.get_mut(name).filter(|schedule| schedule.paused_at.is_none());
        schedule.is_some_and(|schedule| schedule.paused_at.replace(now).is_none())
    }

    /// Answers whether it was paused.
    pub(super) fn resume_schedule(&mut self, name: &str, now: DateTime<Utc>) -> bool {
        let Some(schedule) = self.schedules.get_mut(name) else { return false };
        let paused = schedule.paused_at.take().is_some();
        if paused {
            schedule.last_slot = schedule.last_slot.max(Some(now));
        }
        paused
    }
}
