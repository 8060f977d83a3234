//! What holds between jobs.

use std::collections::HashMap;

use super::event::{Follows, Slot, Then, What};
use super::read::Line;
use super::report::Invariant;
use super::story::{Check, Story};
use crate::JobId;

impl<'h> Check<'h> {
    pub(super) fn together(&mut self) {
        if self.has_end {
            self.follow_ups();
            self.callbacks();
            self.slots();
        }
        self.unique();
        self.duplicates();
        self.limits();
        self.recording();
    }

    /// What is kept, by id, so that a report is the same each time.
    fn kept(&self) -> Vec<&'h Line> {
        let mut kept: Vec<&'h Line> = self.stories.values().filter_map(|story| story.kept).collect();
        kept.sort_by_key(|line| line.event.what.job());
        kept
    }

    fn follow_ups(&mut self) {
        let mut followers: HashMap<&'h Follows, Vec<&'h Line>> = HashMap::new();
        let kept = self.kept();
        for line in &kept {
            if let What::Kept { follows: Some(follows), .. } = &line.event.what {
                followers.entry(follows).or_default().push(line);
            }
        }
        for line in &kept {
            let What::Kept { job, state, then, .. } = &line.event.what else { continue };
            for Then { name, when } in then {
                let expected = usize::from(when.is_met_by(*state));
                let found = followers.remove(&Follows { job: *job, name: name.clone() }).unwrap_or_default();
                if found.len() != expected {
                    let what = format!("is {state}, and {name:?} follows {} times", found.len());
                    self.violated(Invariant::FollowUps, Some(*job), what, found.into_iter().chain([*line]));
                }
            }
        }
        for (follows, lines) in followers {
            let what = format!("nobody expects it as {:?} of {}", follows.name, follows.job);
            self.violated(Invariant::FollowUps, lines[0].event.what.job(), what, lines);
        }
    }

    fn callbacks(&mut self) {
        for line in self.kept() {
            let What::Kept { job, after, .. } = &line.event.what else { continue };
            let started = self.stories[job].attempts.values().find_map(|attempt| attempt.started.first().copied());
            let (false, Some(started)) = (after.is_empty(), started) else { continue };
            for member in after {
                let Some(proof) = self.open_at(*member, started) else { continue };
                let what = format!("starts while {member} of its group has not ended");
                self.violated(Invariant::Callback, Some(*job), what, [started, proof]);
            }
        }
    }

    /// The line that proves that a job had not ended when another line was written.
    fn open_at(&self, job: JobId, at: &Line) -> Option<&'h Line> {
        let story = self.stories.get(&job)?;
        let settled = story.end().map(|(_, line)| line).filter(|line| line.event.earliest() > at.event.at);
        let mut leased = story.attempts.values().filter_map(|attempt| attempt.leased.last().copied());
        settled.or_else(|| leased.find(|line| line.event.earliest() > at.event.at)).or_else(|| {
            story.kept.filter(|line| matches!(&line.event.what, What::Kept { state, .. } if !state.is_terminal()))
        })
    }

    fn slots(&mut self) {
        let mut slots: HashMap<&'h Slot, &'h Line> = HashMap::new();
        for line in self.kept() {
            let What::Kept { job, slot: Some(slot), .. } = &line.event.what else { continue };
            if let Some(first) = slots.insert(slot, line) {
                let what = format!("slot {} of {:?} has two jobs", slot.at, slot.schedule);
                self.violated(Invariant::Slots, Some(*job), what, [first, line]);
            }
        }
    }

    fn unique(&mut self) {
        let mut keys: HashMap<&'h str, Vec<Held<'h>>> = HashMap::new();
        for story in self.stories.values() {
            if let Some((key, held)) = story.key().and_then(|key| Held::of(story).map(|held| (key, held))) {
                keys.entry(key).or_default().push(held);
            }
        }
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_by_key(|(key, _)| *key);
        for (key, mut held) in keys {
            held.sort_by_key(|held| held.from.event.at);
            for pair in held.windows(2) {
                let [one, other] = pair else { continue };
                // When the second insert was answered, both lived for a while.
                if other.from.event.at < one.to.event.earliest().min(other.to.event.earliest()) {
                    let lines = [one.from, one.to, other.from, other.to];
                    let what = format!("holds the key {key:?} beside {}", one.job);
                    self.violated(Invariant::Unique, Some(other.job), what, lines);
                }
            }
        }
    }

    /// The holder that an insert was told of has the key, and was offered before.
    fn duplicates(&mut self) {
        let duplicates = self.history.lines.iter().filter_map(|line| match line.event.what {
            What::Duplicate { job, holder } => Some((job, holder, line)),
            _ => None,
        });
        for (job, holder, line) in duplicates {
            let key = |job| self.stories.get(&job).and_then(Story::key);
            if key(job).is_some() && self.stories.contains_key(&holder) && key(holder) != key(job) {
                let what = format!("{holder} is said to hold its key, which is another one");
                self.violated(Invariant::Unique, Some(job), what, [line]);
            }
        }
    }

    fn recording(&mut self) {
        let mut gone: HashMap<u32, &Line> = HashMap::new();
        for line in &self.history.lines {
            match line.event.what {
                What::Began => drop(gone.remove(&line.event.pid)),
                What::Killed { victim } => drop(gone.insert(victim, line)),
                _ => {}
            }
            if let Some(kill) = gone.get(&line.event.pid) {
                let what = format!("process {} wrote after it was killed", line.event.pid);
                self.violated(Invariant::Recording, line.event.what.job(), what, [*kill, line]);
            }
        }
        let (torn, kills) = (self.history.torn.len(), self.history.kills());
        if torn > kills {
            let first = self.history.torn.first().map(String::as_str).unwrap_or_default();
            let what = format!("{torn} torn lines by {kills} kills, such as {first:?}");
            self.violated(Invariant::Recording, None, what, []);
        }
    }
}

/// A job that held a unique key from one line to another, at least.
struct Held<'h> {
    job: JobId,
    from: &'h Line,
    to: &'h Line,
}

impl<'h> Held<'h> {
    fn of(story: &Story<'h>) -> Option<Self> {
        let from = story.accepted?;
        let alive = story.attempts.values().flat_map(|attempt| {
            let settled = attempt.settled.iter().map(|(_, line)| *line);
            attempt.leased.iter().copied().chain(settled)
        });
        Some(Self { job: story.job, from, to: alive.max_by_key(|line| line.event.earliest())? })
    }
}

impl<'h> Story<'h> {
    fn key(&self) -> Option<&'h str> {
        self.offered.iter().find_map(|line| match &line.event.what {
            What::Offered { key, .. } => key.as_deref(),
            _ => None,
        })
    }
}
