//! Where one job comes from and how it ends.

use chrono::SubsecRound;

use super::event::{End, What};
use super::read::Line;
use super::report::Invariant;
use super::story::{Check, Story};
use crate::JobState;

/// Attempts that may end without a report before a runner gives the job up, unless it is set otherwise.
const CRASHES: u32 = 3;

impl<'h> Check<'h> {
    pub(super) fn ends(&mut self, story: &Story<'h>) {
        self.origin(story);
        self.not_early(story);
        self.one_end(story);
        self.no_stale_end(story);
        if self.has_end {
            self.not_lost(story);
            self.kept_as_settled(story);
        }
    }

    fn origin(&mut self, story: &Story<'h>) {
        let life = story.attempts.values().find_map(|attempt| attempt.first()).or(story.kept);
        let Some(life) = life else { return };
        if let (Some(no), None) = (story.kept_out, story.accepted) {
            let what = "is there, though the insert was answered with no";
            self.violated(Invariant::Ghost, Some(story.job), what, [no, life]);
        }
        // What belongs to another job or to a slot may have been inserted by a store that does not write.
        let belongs = story.kept.is_some_and(
            |kept| matches!(&kept.event.what, What::Kept { follows, slot, .. } if follows.is_some() || slot.is_some()),
        );
        if !story.was_offered() && story.accepted.is_none() && !belongs {
            self.violated(Invariant::Ghost, Some(story.job), "nobody has offered it", [life]);
        }
    }

    fn not_early(&mut self, story: &Story<'h>) {
        let due = story.offered.iter().find_map(|line| match line.event.what {
            // Stores keep milliseconds.
            What::Offered { due, .. } => due.map(|due| (due.trunc_subsecs(3), *line)),
            _ => None,
        });
        let started = story.attempts.values().filter_map(|attempt| attempt.started.first()).next();
        if let (Some((due, offered)), Some(started)) = (due, started)
            && started.event.at < due
        {
            let what = format!("started {} before it was due", due - started.event.at);
            self.violated(Invariant::Early, Some(story.job), what, [offered, *started]);
        }
    }

    fn one_end(&mut self, story: &Story<'h>) {
        let ends: Vec<(End, &Line)> = story.attempts.values().flat_map(|attempt| attempt.settled.clone()).collect();
        let last: Vec<&Line> = ends.iter().filter(|(end, _)| end.state().is_some()).map(|(_, line)| *line).collect();
        if last.len() > 1 {
            self.violated(Invariant::TwoEnds, Some(story.job), format!("ended {} times", last.len()), last.clone());
        }
        for (fence, attempt) in &story.attempts {
            if attempt.settled.len() > 1 {
                let lines = attempt.settled.iter().map(|(_, line)| *line);
                let what = format!("the lease with fence {fence} was settled twice");
                self.violated(Invariant::TwoEnds, Some(story.job), what, lines);
            }
        }
        let Some(end) = last.first() else { return };
        let later = story.attempts.values().filter_map(|attempt| attempt.leased.first().or(attempt.started.first()));
        for later in later.filter(|line| line.event.earliest() > end.event.at) {
            self.violated(Invariant::TwoEnds, Some(story.job), "goes on after its end", [*end, *later]);
        }
    }

    fn no_stale_end(&mut self, story: &Story<'h>) {
        for (fence, attempt) in &story.attempts {
            let next = story.attempts.range(fence + 1..).filter_map(|(_, attempt)| attempt.leased.first());
            let Some(next) = next.min_by_key(|line| line.event.at) else { continue };
            for (_, settled) in attempt.settled.iter().filter(|(_, line)| next.event.at < line.event.earliest()) {
                let what = format!("the store took the end of fence {fence}, which had a successor");
                self.violated(Invariant::StaleEnd, Some(story.job), what, [*next, *settled]);
            }
        }
    }

    fn not_lost(&mut self, story: &Story<'h>) {
        let Some(kept) = story.kept else {
            if let Some(accepted) = story.accepted {
                let what = "was accepted, and the store does not hold it";
                self.violated(Invariant::Lost, Some(story.job), what, [accepted]);
            }
            return;
        };
        let What::Kept { state, .. } = &kept.event.what else { return };
        if !state.is_terminal() {
            self.violated(Invariant::Lost, Some(story.job), format!("is {state} in the end"), [kept]);
        } else if *state == JobState::Completed && story.attempts.is_empty() {
            self.violated(Invariant::Lost, Some(story.job), "is completed, and never ran", [kept]);
        }
    }

    fn kept_as_settled(&mut self, story: &Story<'h>) {
        let Some(What::Kept { state, crashes, .. }) = story.kept.map(|line| &line.event.what) else { return };
        let (state, crashes) = (*state, *crashes);
        match story.end() {
            Some((end, line)) if end.state() != Some(state) => {
                let what = format!("was settled as {end:?}, and the store says {state}");
                self.violated(Invariant::WrongEnd, Some(story.job), what, story.kept.into_iter().chain([line]));
            }
            None if state == JobState::Discarded && crashes < CRASHES && !self.last_holder_was_killed(story) => {
                let what = format!("is a dead letter without an attempt that says so, after {crashes} crashes");
                self.violated(Invariant::WrongEnd, Some(story.job), what, story.kept);
            }
            _ => {}
        }
    }

    /// Then the store may have taken an end of which nothing is written.
    fn last_holder_was_killed(&self, story: &Story<'h>) -> bool {
        let last = story.attempts.values().next_back().and_then(|attempt| attempt.first());
        last.is_some_and(|last| self.fates.kill(last).is_some())
    }
}
