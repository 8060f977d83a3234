//! Which slots of a durable schedule are due. Pure functions: the store decides who makes the jobs.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{CatchUp, Overlap, Schedule};
use crate::clock::later;
use crate::store::{Firing, StoredSchedule};

/// A run that is later than this was missed.
const ON_TIME: TimeDelta = TimeDelta::minutes(1);

/// Slots that are looked at to find the last ones, where there is no formula.
const LOOK_AT: usize = 10_000;

/// What a look at a schedule came to.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What is due.
    pub(crate) firing: Option<Firing>,
    /// When to look again.
    pub(crate) next: Option<DateTime<Utc>>,
}

/// What is due now. A schedule that is paused or not understood has nothing due.
pub(crate) fn plan(stored: &StoredSchedule, schedule: &Schedule, now: DateTime<Utc>) -> Plan {
    if stored.paused_at.is_some() {
        return Plan::default();
    }
    let most = match stored.overlap {
        Overlap::Allow => stored.catch_up.most(),
        // The last one would be all that is left of them.
        Overlap::Skip | Overlap::Cancel => 1,
    };
    let Some(first) = first_slot(stored, schedule) else { return Plan::default() };
    if first > now {
        return Plan { firing: None, next: Some(first) };
    }
    let due = last_slots(schedule, first, now, most.max(1));
    let Some(slot) = due.last().copied() else { return Plan::default() };
    let late = now - slot > ON_TIME;
    let made = if (late && stored.catch_up == CatchUp::None) || most == 0 { &[] } else { &due[..] };
    let jobs = made.iter().map(|slot| stored.run_of(*slot)).collect();
    let firing = Firing { schedule: stored.name.clone(), planned_after: stored.last_slot, slot, jobs };
    Plan { firing: Some(firing), next: schedule.next_after(slot) }
}

/// The first slot that is not dealt with. An interval begins at once.
fn first_slot(stored: &StoredSchedule, schedule: &Schedule) -> Option<DateTime<Utc>> {
    match stored.last_slot {
        None if schedule.interval().is_some() => Some(stored.created_at),
        last => schedule.next_after(last.unwrap_or(stored.created_at)),
    }
}

/// The last slots from `first` to `now`, at most `most`, in order. A schedule that was not looked at for years is not
/// gone through from its beginning.
fn last_slots(schedule: &Schedule, first: DateTime<Utc>, now: DateTime<Utc>, most: usize) -> Vec<DateTime<Utc>> {
    if let Some(interval) = schedule.interval() {
        let last = nth(first, interval, passed(first, interval, now));
        let mut slots: Vec<_> =
            (0..most as u64).map_while(|n| before(last, interval, n)).take_while(|slot| *slot >= first).collect();
        slots.reverse();
        return slots;
    }
    let mut span = TimeDelta::minutes(1);
    loop {
        let from = now.checked_sub_signed(span).filter(|from| *from > first);
        let after = from.unwrap_or_else(|| first - TimeDelta::milliseconds(1));
        let slots: Vec<_> = slots_after(schedule, after, after).take_while(|slot| *slot <= now).take(LOOK_AT).collect();
        if from.is_none() || slots.len() >= most {
            return slots[slots.len().saturating_sub(most)..].to_vec();
        }
        span = span.checked_mul(4).unwrap_or(TimeDelta::MAX);
    }
}

/// The slots later than `after`, counted from `from` if they are at an interval.
pub(crate) fn slots_after(
    schedule: &Schedule,
    from: DateTime<Utc>,
    after: DateTime<Utc>,
) -> impl Iterator<Item = DateTime<Utc>> {
    let start = match schedule.interval() {
        Some(interval) if from <= after => nth(from, interval, passed(from, interval, after)),
        Some(_) => from,
        None => after,
    };
    let first = if start > after { Some(start) } else { schedule.next_after(start) };
    std::iter::successors(first, |slot| schedule.next_after(*slot))
}

/// How many whole intervals there are from one instant to a later one.
fn passed(from: DateTime<Utc>, interval: Duration, to: DateTime<Utc>) -> u64 {
    let passed = (to - from).to_std().unwrap_or_default().as_nanos() / interval.as_nanos().max(1);
    u64::try_from(passed).unwrap_or(u64::MAX)
}

fn times(interval: Duration, n: u64) -> Duration {
    let nanos = interval.as_nanos().saturating_mul(u128::from(n));
    let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    Duration::new(seconds, u32::try_from(nanos % 1_000_000_000).unwrap_or_default())
}

fn nth(first: DateTime<Utc>, interval: Duration, n: u64) -> DateTime<Utc> {
    later(first, times(interval, n))
}

fn before(last: DateTime<Utc>, interval: Duration, n: u64) -> Option<DateTime<Utc>> {
    last.checked_sub_signed(TimeDelta::from_std(times(interval, n)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Job;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn planned(schedule: &Schedule, last: Option<&str>, now: &str) -> (Vec<String>, Option<DateTime<Utc>>) {
        let job = Job::new("k", ()).into_stored(100).unwrap();
        let mut stored = StoredSchedule::of("s", job, schedule);
        stored.created_at = at("2026-05-01T00:00:00Z");
        stored.last_slot = last.map(at);
        let firing = plan(&stored, &stored.schedule().unwrap(), at(now)).firing;
        let slots = firing.iter().flat_map(|firing| firing.jobs.iter().map(|job| job.parts.scheduled_at.unwrap()));
        (slots.map(|slot| slot.format("%dT%H:%M:%S").to_string()).collect(), firing.as_ref().map(|firing| firing.slot))
    }

    #[test]
    fn an_interval_begins_at_once_and_keeps_its_step_over_any_gap() {
        let hourly = Schedule::every(Duration::from_secs(3600)).unwrap();
        assert_eq!(planned(&hourly, None, "2026-05-01T00:00:01Z").0, ["01T00:00:00"]);
        assert_eq!(planned(&hourly, Some("2026-05-01T00:00:00Z"), "2026-05-01T00:59:59Z"), (vec![], None));
        assert_eq!(planned(&hourly, Some("2026-05-01T00:00:00Z"), "2026-05-01T01:00:00Z").0, ["01T01:00:00"]);
        let one = hourly.clone().catch_up(CatchUp::One);
        assert_eq!(planned(&one, Some("2026-05-01T00:00:00Z"), "2036-05-01T05:30:00Z").0, ["01T05:00:00"]);
        let all = hourly.overlap(Overlap::Allow).catch_up(CatchUp::All { max: 3 });
        let (slots, last) = planned(&all, Some("2026-05-01T00:20:00Z"), "2026-05-01T09:30:00Z");
        assert_eq!(slots, ["01T07:20:00", "01T08:20:00", "01T09:20:00"]);
        assert_eq!(last, Some(at("2026-05-01T09:20:00Z")));
        let fine = Schedule::every(Duration::from_millis(1)).unwrap();
        assert_eq!(planned(&fine, Some("1970-01-01T00:00:00Z"), "2026-05-01T00:00:00Z").0.len(), 1);
    }

    #[test]
    fn runs_that_are_more_than_a_minute_late_were_missed() {
        let every_day = Schedule::every(Duration::from_secs(86_400)).unwrap();
        let last = Some("2026-05-01T00:00:00Z");
        assert_eq!(planned(&every_day, last, "2026-05-02T00:01:00Z").0.len(), 1);
        let (jobs, slot) = planned(&every_day, last, "2026-05-04T00:01:01Z");
        assert_eq!((jobs.len(), slot), (0, Some(at("2026-05-04T00:00:00Z"))), "dealt with, and no job");
        for (catch_up, overlap, jobs) in [
            (CatchUp::One, Overlap::Allow, 1),
            (CatchUp::All { max: 9 }, Overlap::Allow, 3),
            (CatchUp::All { max: 2 }, Overlap::Allow, 2),
            (CatchUp::All { max: 0 }, Overlap::Allow, 0),
            (CatchUp::All { max: 9 }, Overlap::Skip, 1),
            (CatchUp::All { max: 9 }, Overlap::Cancel, 1),
        ] {
            let schedule = every_day.clone().catch_up(catch_up).overlap(overlap);
            assert_eq!(planned(&schedule, last, "2026-05-04T00:01:01Z").0.len(), jobs, "{catch_up} {overlap:?}");
        }
    }

    #[cfg(feature = "cron")]
    #[test]
    fn slots_by_the_clock_are_found_from_the_end() {
        let nightly = Schedule::cron("30 2 * * *", "UTC").unwrap().overlap(Overlap::Allow);
        let all = nightly.clone().catch_up(CatchUp::All { max: 3 });
        let (slots, _) = planned(&all, Some("1999-05-01T02:30:00Z"), "2026-05-05T12:00:00Z");
        assert_eq!(slots, ["03T02:30:00", "04T02:30:00", "05T02:30:00"]);
        assert_eq!(
            planned(&all, Some("2026-05-03T02:30:00Z"), "2026-05-05T02:30:00Z").0,
            ["04T02:30:00", "05T02:30:00"]
        );
        assert_eq!(planned(&nightly, None, "2026-05-01T02:29:59Z").0.len(), 0);
        assert_eq!(planned(&nightly, None, "2026-05-01T02:30:00Z").0, ["01T02:30:00"]);
    }
}
