use std::fmt;

use super::read::Line;
use crate::JobId;

/// What a history says, see [`History::check`](super::History::check).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// Jobs that were accepted.
    pub accepted: usize,
    /// Jobs that were offered without an answer and are kept all the same: the process died in between.
    pub recovered: usize,
    /// Inserts that found another job with their unique key.
    pub duplicates: usize,
    /// Jobs that the store holds in the end.
    pub kept: usize,
    /// Those of them that are completed.
    pub completed: usize,
    /// Those of them that are dead letters.
    pub discarded: usize,
    /// Follow-ups that the store holds in the end.
    pub follow_ups: usize,
    /// Slots of schedules that have their job.
    pub slots: usize,
    /// Times that a handler began.
    pub starts: usize,
    /// Ends of attempts that the store refused.
    pub stale: usize,
    /// Processes that were killed.
    pub kills: usize,
    /// Those of them with a handler at work: it had begun, and had not returned.
    pub kills_at_work: usize,
    /// Those of them with a lease that was not settled, at work or not yet begun.
    pub kills_with_leases: usize,
    /// Lines that were torn by a kill.
    pub torn: usize,
    /// What was broken; at most 100 of each invariant.
    pub violations: Vec<Violation>,
    /// Violations that there were no more room for.
    pub more: usize,
}

impl Report {
    /// True if nothing was broken.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    pub(super) fn violated(&mut self, invariant: Invariant, job: Option<JobId>, what: String, lines: Vec<Line>) {
        if self.violations.iter().filter(|violation| violation.invariant == invariant).count() >= 100 {
            self.more += 1;
        } else {
            self.violations.push(Violation { invariant, job, what, lines });
        }
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// At which job.
    pub job: Option<JobId>,
    /// What is wrong.
    pub what: String,
    /// The lines that prove it.
    pub lines: Vec<Line>,
}

/// What must hold for a whole history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Invariant {
    /// An accepted job is kept and has ended. Needs `accepted`, and `kept` or `listed`.
    Lost,
    /// What started or is kept was offered, follows a job or belongs to a slot; and was neither refused nor a duplicate.
    Ghost,
    /// The fences of a job's leases rise, and each is given once. Needs `leased`.
    Fences,
    /// A lease is given after the one before it was settled or has ended, and no handler goes on beside its successor
    /// unless its process was frozen. Needs `leased`.
    Overlap,
    /// Every lease after the first is explained: the one before was settled, or may have been before its process died; or its
    /// process was killed or frozen while it held it. Needs `leased`, `settling` and `settled`.
    Unexplained,
    /// The number of the attempt rises by one after a retry, and stays after an attempt that was given back; it is never more
    /// than the job may have. Needs `leased` and `settled`.
    Attempts,
    /// A job ends once, and nothing of it happens afterwards. Needs `settled`.
    TwoEnds,
    /// No end is taken of a lease that has a successor. Needs `leased` and `settled`.
    StaleEnd,
    /// The store holds a job as it was settled; a dead letter that no attempt settled has crashed often enough. Needs
    /// `settled` and `kept`.
    WrongEnd,
    /// Nothing starts before it is due, to the millisecond. Needs `offered` and `started`.
    Early,
    /// Each follow-up is there once if the job before ended so, and not if it did not. Needs `kept`.
    FollowUps,
    /// A callback starts after all jobs of its group have ended. Needs `started` and `kept`.
    Callback,
    /// No two jobs hold a unique key at a time. Needs `offered`, `accepted`, and `started` or `settled`.
    Unique,
    /// A slot of a schedule has one job. Needs `kept`.
    Slots,
    /// No more jobs of a queue hold a lease at a time than its limit says. Needs `limited`, `offered` and `leased`.
    Limit,
    /// No more jobs of a queue are leased in any span than its rate says. Needs `rated`, `offered` and `leased`.
    Rate,
    /// A process that was killed wrote nothing afterwards, and left one torn line at most.
    Recording,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: ", self.invariant)?;
        if let Some(job) = self.job {
            write!(f, "job {job}: ")?;
        }
        write!(f, "{}", self.what)?;
        for Line { file, number, event } in &self.lines {
            let json = serde_json::to_string(event).map_err(|_| fmt::Error)?;
            write!(f, "\n    {file}:{number} {json}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, recovered, duplicates, kept, completed, discarded, .. } = self;
        let Self { follow_ups, slots, starts, stale, kills, kills_at_work, kills_with_leases, torn, .. } = self;
        let percent = |part: &usize| 100.0 * *part as f64 / (*kills).max(1) as f64;
        writeln!(f, "{accepted} accepted, {recovered} recovered, {duplicates} duplicates, {starts} starts")?;
        writeln!(
            f,
            "{kept} kept: {completed} completed, {discarded} discarded, {follow_ups} follow-ups, {slots} slots"
        )?;
        writeln!(
            f,
            "{kills} kills, {kills_at_work} ({:.0} %) of a handler at work, {kills_with_leases} ({:.0} %) of a lease; \
             {torn} torn lines, {stale} stale ends",
            percent(kills_at_work),
            percent(kills_with_leases)
        )?;
        write!(f, "{} violations", self.violations.len() + self.more)?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n{violation}"))
    }
}
