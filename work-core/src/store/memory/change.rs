//! What people do to jobs.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::table::Table;
use crate::store::{Act, Acted, CancelOutcome, Change, DeleteOutcome, JobFilter, JobVersion, Order, Page, StoredJob};
use crate::{JobId, JobState};

impl Table {
    pub(super) fn list(&self, filter: &JobFilter, order: Order, after: Option<i64>, limit: usize) -> Page {
        let fits =
            |(seq, row): (&i64, &super::table::Row)| filter.fits(&row.stored).then(|| (*seq, row.stored.clone()));
        let one_more = limit.saturating_add(1);
        let mut found: Vec<(i64, StoredJob)> = match (order, after) {
            (Order::OldestFirst, None) => self.rows.iter().filter_map(fits).take(one_more).collect(),
            (Order::NewestFirst, None) => self.rows.iter().rev().filter_map(fits).take(one_more).collect(),
            (Order::OldestFirst, Some(i64::MAX)) => Vec::new(),
            (Order::OldestFirst, Some(seq)) => self.rows.range(seq + 1..).filter_map(fits).take(one_more).collect(),
            (Order::NewestFirst, Some(seq)) => self.rows.range(..seq).rev().filter_map(fits).take(one_more).collect(),
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = if more { found.last().map(|(seq, _)| *seq) } else { None };
        Page { jobs: found.into_iter().map(|(_, job)| job).collect(), next }
    }

    pub(super) fn run_now(&mut self, id: JobId, now: DateTime<Utc>) -> bool {
        let Some((seq, row)) = self.find(id) else { return false };
        let place = row.place(seq);
        let comes_after = self.comes_after(seq);
        let Some(row) = self.rows.get_mut(&seq) else { return false };
        if comes_after {
            row.stored.job.parts.scheduled_at = Some(row.due().min(now));
            return true;
        }
        if row.stored.state != JobState::Available || row.due() <= now {
            return row.stored.state == JobState::Available;
        }
        self.ready.remove(&place);
        self.make_available(seq, now);
        true
    }

    pub(super) fn edit(&mut self, id: JobId, args: Bytes) -> bool {
        let Some((_, row)) = self.find(id).filter(|(_, row)| row.stored.state != JobState::Running) else {
            return false;
        };
        row.stored.job.args = args;
        true
    }

    pub(super) fn act_if(&mut self, id: JobId, seen: &JobVersion, act: Act, now: DateTime<Utc>) -> Acted {
        match self.find(id) {
            None => return Acted::NotFound,
            Some((_, row)) if JobVersion::of(&row.stored) != *seen => return Acted::Changed,
            Some(_) => {}
        }
        let done = match act {
            Act::Retry => self.retry(id, now),
            Act::RunNow => self.run_now(id, now),
            Act::Cancel => CancelOutcome::is_change(self.cancel(id, now)),
            Act::Delete => self.delete(id) == DeleteOutcome::Deleted,
            Act::Edit(args) => self.edit(id, args),
            Act::EditAndRetry(args) => self.retry(id, now) && self.edit(id, args),
        };
        if done { Acted::Done } else { Acted::Refused }
    }

    pub(super) fn delete(&mut self, id: JobId) -> DeleteOutcome {
        let Some((seq, row)) = self.find(id) else { return DeleteOutcome::NotFound };
        if row.stored.state == JobState::Running {
            return DeleteOutcome::Running;
        }
        let place = row.place(seq);
        self.ready.remove(&place);
        self.by_id.remove(&id);
        if let Some(unique) = self.rows.remove(&seq).and_then(|row| row.stored.job.parts.unique) {
            self.let_go(seq, &unique);
        }
        DeleteOutcome::Deleted
    }

    pub(super) fn change_all(&mut self, change: Change, filter: JobFilter, limit: usize, now: DateTime<Utc>) -> u64 {
        let Some(filter) = change.narrowed(filter) else { return 0 };
        let fits = |row: &super::table::Row| filter.fits(&row.stored).then_some(row.stored.job.parts.id);
        let ids: Vec<JobId> = self.rows.values().filter_map(fits).collect();
        let changed = ids.into_iter().filter(|id| match change {
            Change::Retry => self.retry(*id, now),
            Change::Cancel => CancelOutcome::is_change(self.cancel(*id, now)),
            Change::Delete => self.delete(*id) == DeleteOutcome::Deleted,
        });
        changed.take(limit).count() as u64
    }
}
