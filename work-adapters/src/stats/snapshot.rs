use work_core::{Kind, Status};

/// What [`Stats`](super::Stats) had at one moment. It does not change any more.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    total: Counts,
    /// In order of their names.
    kinds: Vec<(Kind, Counts)>,
}

/// Executions of one kind, or of all: `started = succeeded + failed + running`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    started: u64,
    succeeded: u64,
    failed: u64,
    /// By status, in the order in which each was first seen; there are few.
    statuses: Vec<(Status, u64)>,
}

impl Snapshot {
    pub(super) fn of(mut kinds: Vec<(Kind, Counts)>) -> Self {
        kinds.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut total = Counts::default();
        kinds.iter().for_each(|(_, counts)| total.add(counts));
        Self { total, kinds }
    }

    /// Of all kinds together.
    #[must_use]
    pub const fn total(&self) -> &Counts {
        &self.total
    }

    /// Of this kind, if it was ever started.
    #[must_use]
    pub fn kind(&self, kind: &str) -> Option<&Counts> {
        self.kinds().find_map(|(name, counts)| (name.as_str() == kind).then_some(counts))
    }

    /// Of each kind that was ever started, in order of their names.
    pub fn kinds(&self) -> impl ExactSizeIterator<Item = (&Kind, &Counts)> {
        self.kinds.iter().map(|(kind, counts)| (kind, counts))
    }
}

impl Counts {
    /// Executions that began.
    #[must_use]
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// Executions that are under way.
    #[must_use]
    pub const fn running(&self) -> u64 {
        self.started - self.succeeded - self.failed
    }

    /// Executions that ended well: 2xx and 444.
    #[must_use]
    pub const fn succeeded(&self) -> u64 {
        self.succeeded
    }

    /// Executions that ended otherwise, also those that were cancelled (499) or put off (429).
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.failed
    }

    /// Executions that ended with this status.
    #[must_use]
    pub fn ended_with(&self, status: Status) -> u64 {
        self.statuses.iter().find_map(|(seen, count)| (*seen == status).then_some(*count)).unwrap_or(0)
    }

    /// How many executions ended with each status that was seen.
    pub fn statuses(&self) -> impl ExactSizeIterator<Item = (Status, u64)> {
        self.statuses.iter().copied()
    }

    pub(super) const fn start(&mut self) {
        self.started += 1;
    }

    pub(super) fn end(&mut self, status: Status) {
        *(if status.is_complete() { &mut self.succeeded } else { &mut self.failed }) += 1;
        *self.of_status(status) += 1;
    }

    fn add(&mut self, other: &Self) {
        self.started += other.started;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        other.statuses.iter().for_each(|(status, count)| *self.of_status(*status) += count);
    }

    fn of_status(&mut self, status: Status) -> &mut u64 {
        let at = self.statuses.iter().position(|(seen, _)| *seen == status).unwrap_or_else(|| {
            self.statuses.push((status, 0));
            self.statuses.len() - 1
        });
        &mut self.statuses[at].1
    }
}
