//! What holds for the leases of a queue.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::event::What;
use super::read::Line;
use super::report::Invariant;
use super::story::Check;

/// A lease of a job.
#[derive(Clone, Copy)]
struct Held<'h> {
    line: &'h Line,
    /// When it was certainly held.
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

type Queues<'h> = HashMap<&'h str, Vec<Held<'h>>>;

impl<'h> Check<'h> {
    pub(super) fn limits(&mut self) {
        let limits = self.history.lines.iter().filter(|line| matches!(line.event.what, What::Limited { .. }));
        let rates = self.history.lines.iter().filter(|line| matches!(line.event.what, What::Rated { .. }));
        let (limits, rates): (Vec<&Line>, Vec<&Line>) = (limits.collect(), rates.collect());
        if limits.is_empty() && rates.is_empty() {
            return;
        }
        let queues = self.queues();
        for line in limits {
            let What::Limited { queue, at_most } = &line.event.what else { continue };
            for (queue, held) in queues.iter().filter(|(name, _)| is_meant(queue, name)) {
                self.limit(queue, *at_most as usize, held);
            }
        }
        for line in rates {
            let What::Rated { queue, most, within } = &line.event.what else { continue };
            let within = TimeDelta::milliseconds(i64::try_from(*within).unwrap_or(i64::MAX / 2));
            self.rate(queue, *most as usize, within, queues.get(queue.as_str()).map_or(&[], Vec::as_slice));
        }
    }

    /// The leases of each queue that is not the default one, in the order in which they were given.
    fn queues(&self) -> Queues<'h> {
        let mut queues = Queues::new();
        for story in self.stories.values() {
            let queue = story.offered.iter().find_map(|line| match &line.event.what {
                What::Offered { queue, .. } => queue.as_deref(),
                _ => None,
            });
            let Some(queue) = queue else { continue };
            let held = story.attempts.values().filter_map(|attempt| {
                let (from, to) = attempt.held()?;
                Some(Held { line: attempt.leased.first()?, from, to })
            });
            queues.entry(queue).or_default().extend(held);
        }
        queues.values_mut().for_each(|held| held.sort_by_key(|held| held.from));
        queues
    }

    fn limit(&mut self, queue: &str, at_most: usize, held: &[Held<'h>]) {
        let mut now: Vec<Held<'h>> = Vec::new();
        for next in held {
            now.retain(|held| held.to > next.from);
            now.push(*next);
            if now.len() > at_most {
                let what = format!("{} jobs of {queue:?} hold a lease, and {at_most} may", now.len());
                self.violated(Invariant::Limit, next.line.event.what.job(), what, now.iter().map(|held| held.line));
            }
        }
    }

    fn rate(&mut self, queue: &str, most: usize, within: TimeDelta, held: &[Held<'h>]) {
        let mut leases: Vec<&'h Line> = held.iter().map(|held| held.line).collect();
        leases.sort_by_key(|line| line.event.earliest());
        for (n, first) in leases.iter().enumerate() {
            let end = first.event.earliest() + within;
            let near = leases[n..].iter().take_while(|line| line.event.earliest() <= end);
            let found: Vec<&'h Line> = near.filter(|line| line.event.at <= end).copied().collect();
            if found.len() > most {
                let what = format!("{} jobs of {queue:?} were leased within {within}, and {most} may be", found.len());
                self.violated(Invariant::Rate, first.event.what.job(), what, found);
            }
        }
    }
}

/// A name with `:*` at its end means the queue of each key.
fn is_meant(given: &str, name: &str) -> bool {
    match given.strip_suffix('*').filter(|prefix| prefix.ends_with(':')) {
        Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
        None => name == given,
    }
}
