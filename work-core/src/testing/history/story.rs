use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::event::{End, What};
use super::read::{History, Line};
use super::report::{Invariant, Report};
use crate::JobId;

/// Everything about one job.
pub(super) struct Story<'h> {
    pub(super) job: JobId,
    pub(super) offered: Vec<&'h Line>,
    pub(super) accepted: Option<&'h Line>,
    /// An answer to an insert that says it is not stored.
    pub(super) kept_out: Option<&'h Line>,
    pub(super) kept: Option<&'h Line>,
    /// By fence. Most jobs have one, and a map has room for several.
    pub(super) attempts: BTreeMap<u64, Box<Attempt<'h>>>,
}

/// Everything under one lease.
#[derive(Default)]
pub(super) struct Attempt<'h> {
    pub(super) leased: Vec<&'h Line>,
    /// The one that says how long it lasts at least.
    pub(super) longest: Option<(DateTime<Utc>, &'h Line)>,
    pub(super) started: Vec<&'h Line>,
    /// Effects and returns: the handler is at work until the last of them.
    pub(super) at_work: Vec<&'h Line>,
    pub(super) returned: Option<&'h Line>,
    pub(super) settling: Option<&'h Line>,
    pub(super) settled: Vec<(End, &'h Line)>,
    pub(super) stale: Vec<&'h Line>,
    /// Nobody was told of the lease.
    unanswered: bool,
}

/// What became of processes.
#[derive(Default)]
pub(super) struct Fates<'h> {
    /// In the order of time: a number may be given again.
    killed: HashMap<u32, Vec<&'h Line>>,
    stalls: HashMap<u32, Vec<Stall<'h>>>,
}

/// From the freeze to the going on, or to the end of the history.
type Stall<'h> = (&'h Line, Option<DateTime<Utc>>);

/// A check of a history under way.
pub(super) struct Check<'h> {
    pub(super) history: &'h History,
    pub(super) stories: HashMap<JobId, Story<'h>>,
    pub(super) fates: Fates<'h>,
    pub(super) report: Report,
    /// The history says what the store holds in the end.
    pub(super) has_end: bool,
}

impl History {
    /// Looks for broken promises.
    ///
    /// It takes time and memory in proportion to the lines.
    #[must_use]
    pub fn check(&self) -> Report {
        let mut check = Check::of(self);
        check.count();
        let mut stories: Vec<Story<'_>> = std::mem::take(&mut check.stories).into_values().collect();
        stories.sort_by_key(|story| story.job);
        for story in &stories {
            check.attempts(story);
            check.ends(story);
        }
        check.stories = stories.into_iter().map(|story| (story.job, story)).collect();
        check.together();
        check.report
    }
}

impl<'h> Check<'h> {
    fn of(history: &'h History) -> Self {
        let (mut stories, mut fates) = (HashMap::new(), Fates::default());
        for line in &history.lines {
            match line.event.what.job() {
                Some(job) => stories.entry(job).or_insert_with(|| Story::new(job)).add(line),
                None => fates.add(line),
            }
        }
        let has_end = history.events().any(|event| matches!(event.what, What::Kept { .. } | What::Listed));
        Self { history, stories, fates, report: Report::default(), has_end }
    }

    pub(super) fn violated<'l>(
        &mut self,
        invariant: Invariant,
        job: Option<JobId>,
        what: impl Into<String>,
        lines: impl IntoIterator<Item = &'l Line>,
    ) {
        let mut lines: Vec<Line> = lines.into_iter().cloned().collect();
        lines.sort_by_key(|line| line.event.at);
        self.report.violated(invariant, job, what.into(), lines);
    }

    fn count(&mut self) {
        let report = &mut self.report;
        report.torn = self.history.torn.len();
        report.kills = self.history.kills();
        let mut hit = HashMap::new();
        for story in self.stories.values() {
            report.accepted += usize::from(story.accepted.is_some());
            if let Some(What::Kept { state, follows, slot, .. }) = story.kept.map(|line| &line.event.what) {
                let answered = story.accepted.is_some() || follows.is_some() || slot.is_some();
                report.kept += 1;
                report.recovered += usize::from(!answered);
                report.completed += usize::from(*state == crate::JobState::Completed);
                report.discarded += usize::from(*state == crate::JobState::Discarded);
                report.follow_ups += usize::from(follows.is_some());
                report.slots += usize::from(slot.is_some());
            }
            for attempt in story.attempts.values() {
                report.starts += attempt.started.len();
                report.stale += attempt.stale.len();
                if let Some(kill) = attempt.first().and_then(|first| self.fates.kill(first))
                    && attempt.settled.is_empty()
                    && attempt.stale.is_empty()
                {
                    let at_work = hit.entry(kill.event.at).or_insert(false);
                    *at_work |= !attempt.started.is_empty() && attempt.returned.is_none();
                }
            }
        }
        report.kills_with_leases = hit.len();
        report.kills_at_work = hit.values().filter(|at_work| **at_work).count();
        report.duplicates = self.history.events().filter(|event| matches!(event.what, What::Duplicate { .. })).count();
    }
}

impl<'h> Story<'h> {
    const fn new(job: JobId) -> Self {
        Self { job, offered: Vec::new(), accepted: None, kept_out: None, kept: None, attempts: BTreeMap::new() }
    }

    pub(super) const fn was_offered(&self) -> bool {
        !self.offered.is_empty()
    }

    fn add(&mut self, line: &'h Line) {
        match &line.event.what {
            What::Offered { .. } => self.offered.push(line),
            What::Accepted { .. } => self.accepted = self.accepted.or(Some(line)),
            What::Duplicate { .. } | What::Refused { .. } => self.kept_out = Some(line),
            What::Kept { .. } => self.kept = Some(line),
            What::Leased { fence, until, .. } => {
                let attempt = self.attempt(*fence);
                attempt.leased.push(line);
                attempt.lasts(*until, line);
            }
            What::Unanswered { fence, .. } => self.attempt(*fence).unanswered = true,
            What::Extended { fence, until, .. } => self.attempt(*fence).lasts(*until, line),
            What::Started { fence, .. } => self.attempt(*fence).started.push(line),
            What::Effect { fence, .. } => self.attempt(*fence).at_work.push(line),
            What::Returned { fence, .. } => {
                let attempt = self.attempt(*fence);
                attempt.at_work.push(line);
                attempt.returned = Some(line);
            }
            What::Settling { fence, .. } => {
                self.attempt(*fence).settling.get_or_insert(line);
            }
            What::Settled { fence, end, .. } => self.attempt(*fence).settled.push((*end, line)),
            What::Stale { fence, .. } => self.attempt(*fence).stale.push(line),
            What::Limited { .. } | What::Rated { .. } => {}
            What::Began | What::Listed | What::Killed { .. } | What::Stalled { .. } | What::Resumed { .. } => {}
        }
    }

    fn attempt(&mut self, fence: u64) -> &mut Attempt<'h> {
        self.attempts.entry(fence).or_default()
    }

    /// The end that the store took, if one is recorded.
    pub(super) fn end(&self) -> Option<(End, &'h Line)> {
        let ends = self.attempts.values().flat_map(|attempt| &attempt.settled);
        ends.copied().find(|(end, _)| end.state().is_some())
    }
}

impl<'h> Attempt<'h> {
    fn lasts(&mut self, until: DateTime<Utc>, line: &'h Line) {
        if self.longest.is_none_or(|(longest, _)| longest < until) {
            self.longest = Some((until, line));
        }
    }

    /// Where it begins.
    pub(super) fn first(&self) -> Option<&'h Line> {
        self.leased.iter().chain(&self.started).copied().min_by_key(|line| line.event.at)
    }

    /// True if the store may have taken its end by an instant, whether the answer was written or not.
    pub(super) fn may_be_settled(&self, by: DateTime<Utc>, fates: &Fates<'h>) -> bool {
        let settled = self.settled.iter().any(|(_, line)| line.event.earliest() <= by);
        // The process died before it could write the answer, perhaps when a successor was at work already.
        let told = self.stale.is_empty() && self.settling.is_some_and(|line| line.event.at <= by);
        settled || self.unanswered || (told && self.settling.is_some_and(|line| fates.kill(line).is_some()))
    }

    /// When it certainly held a lease: from the answer that gave it to its end, or to the report of one.
    pub(super) fn held(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let (leased, (until, _)) = (self.leased.first().filter(|_| !self.unanswered)?, self.longest?);
        let reported = self.settling.iter().chain(self.settled.iter().map(|(_, line)| line)).chain(&self.stale);
        let reported = reported.map(|line| line.event.earliest()).min();
        Some((leased.event.at, reported.map_or(until, |reported| reported.min(until))))
    }

    pub(super) fn number(&self) -> Option<u32> {
        self.leased.iter().chain(&self.started).find_map(|line| match line.event.what {
            What::Leased { attempt, .. } | What::Started { attempt, .. } => Some(attempt),
            _ => None,
        })
    }
}

impl<'h> Fates<'h> {
    fn add(&mut self, line: &'h Line) {
        match line.event.what {
            What::Killed { victim } => {
                self.killed.entry(victim).or_default().push(line);
                self.goes_on(victim, line);
            }
            What::Stalled { victim } => self.stalls.entry(victim).or_default().push((line, None)),
            What::Resumed { victim } => self.goes_on(victim, line),
            _ => {}
        }
    }

    fn goes_on(&mut self, pid: u32, line: &Line) {
        let stalls = self.stalls.entry(pid).or_default();
        if let Some((_, until)) = stalls.iter_mut().rev().find(|(_, until)| until.is_none()) {
            *until = Some(line.event.at);
        }
    }

    /// The end of the process that wrote a line.
    pub(super) fn kill(&self, of: &Line) -> Option<&'h Line> {
        let kills = self.killed.get(&of.event.pid)?;
        kills.iter().copied().find(|kill| kill.event.at >= of.event.at)
    }

    /// The line that says why the process that wrote a line did nothing more, by `to`.
    pub(super) fn of(&self, of: &Line, to: DateTime<Utc>) -> Option<&'h Line> {
        let killed = self.kill(of).filter(|kill| kill.event.earliest() <= to);
        killed.or_else(|| {
            let (from, stalls) = (of.event.earliest(), self.stalls.get(&of.event.pid)?);
            let over = |until: &Option<DateTime<Utc>>| until.is_none_or(|until| until >= from);
            stalls.iter().find(|(line, until)| line.event.at <= to && over(until)).map(|(line, _)| *line)
        })
    }
}
