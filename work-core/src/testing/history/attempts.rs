//! The attempts of one job, one after the other.

use super::event::{End, What};
use super::report::Invariant;
use super::story::{Attempt, Check, Story};

impl<'h> Check<'h> {
    pub(super) fn attempts(&mut self, story: &Story<'h>) {
        for (fence, attempt) in &story.attempts {
            if attempt.leased.len() > 1 || attempt.started.len() > 1 {
                let lines = attempt.leased.iter().chain(&attempt.started).copied();
                self.violated(Invariant::Fences, Some(story.job), format!("fence {fence} was given twice"), lines);
            }
        }
        let attempts: Vec<(&u64, &Attempt<'h>)> =
            story.attempts.iter().map(|(fence, attempt)| (fence, &**attempt)).collect();
        for pair in attempts.windows(2) {
            let (&[(before, one), (after, other)], true) = (pair, true) else { continue };
            self.rises(story, one, other);
            self.beside(story, one, other);
            self.number(story, (*before, one), (*after, other));
            self.explained(story, one, other);
        }
        self.at_most(story);
    }

    /// The higher fence was not given before the lower one.
    fn rises(&mut self, story: &Story<'h>, one: &Attempt<'h>, other: &Attempt<'h>) {
        let (Some(one), Some(other)) = (one.leased.first(), other.leased.first()) else { return };
        if other.event.at < one.event.earliest() {
            self.violated(Invariant::Fences, Some(story.job), "a lower fence was given later", [*one, *other]);
        }
    }

    fn beside(&mut self, story: &Story<'h>, one: &Attempt<'h>, other: &Attempt<'h>) {
        let Some(from) = one.first() else { return };
        // The end of a handler that was already settled is of no account.
        if let (Some(started), Some(on)) = (other.started.first(), one.at_work.last())
            && on.event.at > started.event.at
            && on.event.pid == from.event.pid
            && self.fates.of(from, on.event.at).is_none()
            && one.settled.is_empty()
        {
            let lines = [from, *started, *on];
            self.violated(Invariant::Overlap, Some(story.job), "a handler goes on beside its successor", lines);
        }
        let (Some(leased), Some((until, longest))) = (other.leased.first(), one.longest) else { return };
        let is_over = one.may_be_settled(leased.event.at, &self.fates);
        let killed = self.fates.kill(from).is_some_and(|kill| kill.event.earliest() <= leased.event.at);
        if leased.event.at < until && !is_over && !killed {
            let what = format!("leased {} before the lease before it ended", until - leased.event.at);
            self.violated(Invariant::Overlap, Some(story.job), what, [from, longest, *leased]);
        }
    }

    fn explained(&mut self, story: &Story<'h>, one: &Attempt<'h>, other: &Attempt<'h>) {
        let (Some(from), Some(next)) = (one.first(), other.first()) else { return };
        if one.may_be_settled(next.event.at, &self.fates) || self.fates.of(from, next.event.at).is_some() {
            return;
        }
        let lines = [Some(from), one.longest.map(|(_, line)| line), Some(next)];
        let what = "leased again, though the process before lives and has not settled";
        self.violated(Invariant::Unexplained, Some(story.job), what, lines.into_iter().flatten());
    }

    fn number(&mut self, story: &Story<'h>, before: (u64, &Attempt<'h>), after: (u64, &Attempt<'h>)) {
        let ((fence, one), (next, other)) = (before, after);
        let (Some(n), Some(m)) = (one.number(), other.number()) else { return };
        // Between them there may be leases that nobody lived to write down.
        let unseen = u32::try_from(next - fence - 1).unwrap_or(u32::MAX);
        let (least, most) = match one.settled.first() {
            Some((End::Retried, _)) => (n + 1, n + 1),
            Some(_) => (n, n),
            None => (n, n + 1),
        };
        if m < least || m > most.saturating_add(unseen) {
            let lines = [one.first(), one.settled.first().map(|(_, line)| *line), other.first()];
            let what = format!("attempt {n} is followed by attempt {m}");
            self.violated(Invariant::Attempts, Some(story.job), what, lines.into_iter().flatten());
        }
    }

    fn at_most(&mut self, story: &Story<'h>) {
        let most = story.offered.iter().find_map(|line| match line.event.what {
            What::Offered { max_attempts, .. } => max_attempts.map(|most| (most, *line)),
            _ => None,
        });
        let Some((most, offered)) = most else { return };
        for attempt in story.attempts.values() {
            if let Some((number, line)) = attempt.number().zip(attempt.first()).filter(|(number, _)| *number > most) {
                let what = format!("attempt {number} of at most {most}");
                self.violated(Invariant::Attempts, Some(story.job), what, [offered, line]);
            }
        }
    }
}
