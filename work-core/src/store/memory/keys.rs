//! Who holds a unique key, and who waits for it.

use chrono::{DateTime, Utc};

use super::table::{Row, Table};
use crate::clock::later;
use crate::store::NewJob;
use crate::{JobId, JobState, OnConflict, Unique, UniqueScope};

/// How a new job stands with its unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    Holds,
    /// It waits until the holder has ended.
    After,
    HeldBy(JobId),
}

impl Table {
    pub(super) fn claim(&mut self, seq: i64, unique: &Unique, job: &NewJob, now: DateTime<Utc>) -> Claim {
        let key = unique.key();
        let next = self.after.get(key).and_then(|seq| self.rows.get(seq)).map(|row| row.stored.job.parts.id);
        let holder = self.by_key.get(key).and_then(|seq| self.rows.get_mut(seq));
        let Some(row) = holder else {
            self.by_key.insert(key.to_owned(), seq);
            return Claim::Holds;
        };
        if is_over(row, unique, now) {
            // Retried, it holds the key again, but no longer than it runs.
            row.stored.job.parts.unique = Some(Unique::new(key));
            self.by_key.insert(key.to_owned(), seq);
            return Claim::Holds;
        }
        match unique.conflict() {
            OnConflict::ReplaceArgs if row.stored.state == JobState::Available => {
                row.stored.job.args = job.args.clone();
            }
            OnConflict::RunAfter => match next {
                Some(next) => return Claim::HeldBy(next),
                None if runs_and_frees_its_key(row) => {
                    self.after.insert(key.to_owned(), seq);
                    return Claim::After;
                }
                None => {}
            },
            _ => {}
        }
        Claim::HeldBy(row.stored.job.parts.id)
    }

    /// Frees the key of a job that has ended or is deleted, as far as it is its own. Who waits for it is due from now on.
    pub(super) fn let_go(&mut self, seq: i64, unique: &Unique) {
        let key = unique.key();
        if self.after.get(key) == Some(&seq) {
            self.after.remove(key);
        }
        if self.by_key.get(key) != Some(&seq) {
            return;
        }
        self.by_key.remove(key);
        let next = self.after.remove(key);
        if let Some((seq, at)) = next.and_then(|seq| self.rows.get(&seq).map(|row| (seq, row.due()))) {
            self.by_key.insert(key.to_owned(), seq);
            self.make_available(seq, at);
        }
    }

    /// True for a job that waits until the holder of its key has ended.
    pub(super) fn comes_after(&self, seq: i64) -> bool {
        let unique = self.rows.get(&seq).and_then(|row| row.stored.job.parts.unique.as_ref());
        unique.is_some_and(|unique| self.after.get(unique.key()) == Some(&seq))
    }
}

/// True if the job has ended, and no longer holds its key for a job with this window.
fn is_over(row: &Row, unique: &Unique, now: DateTime<Utc>) -> bool {
    let over = |window| later(row.stored.created_at, window) <= now;
    row.stored.state.is_terminal() && unique.window().is_some_and(over)
}

fn runs_and_frees_its_key(row: &Row) -> bool {
    let scope = row.stored.job.parts.unique.as_ref().map(Unique::scope);
    row.stored.state == JobState::Running && scope == Some(UniqueScope::WhileActive)
}
