use std::str::FromStr;

use chrono::{DateTime, FixedOffset, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, TZ_VARIANTS, Tz};

use super::InvalidSchedule;

/// What clocks show, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Zone(Tz);

/// When clocks show a time.
pub(super) enum Shown {
    Once(DateTime<Utc>),
    /// They are put back.
    Twice(Fold),
    /// They are put forward, past it.
    Never(Change),
}

/// A time that is repeated.
pub(super) struct Fold {
    pub(super) first: DateTime<Utc>,
    pub(super) second: DateTime<Utc>,
    offset_before: FixedOffset,
}

/// The moment that clocks are changed, and what they show before and after.
pub(super) struct Change {
    pub(super) at: DateTime<Utc>,
    pub(super) before: NaiveDateTime,
    pub(super) after: NaiveDateTime,
}

impl Zone {
    pub(super) fn parse(name: &str) -> Result<Self, InvalidSchedule> {
        Tz::from_str(name)
            .map(Self)
            .map_err(|_| InvalidSchedule::UnknownZone { given: crate::cut(name), near: near(name) })
    }

    pub(super) fn name(self) -> &'static str {
        self.0.name()
    }

    /// What clocks show at an instant.
    pub(super) fn local(self, at: DateTime<Utc>) -> Option<NaiveDateTime> {
        at.naive_utc().checked_add_offset(self.offset(at))
    }

    fn offset(self, at: DateTime<Utc>) -> FixedOffset {
        self.0.offset_from_utc_datetime(&at.naive_utc()).fix()
    }

    /// When clocks show this time; none beyond the instants that can be represented.
    pub(super) fn when(self, shown: NaiveDateTime) -> Option<Shown> {
        Some(match self.0.offset_from_local_datetime(&shown) {
            MappedLocalTime::Single(offset) => Shown::Once(instant(shown, offset.fix())?),
            MappedLocalTime::Ambiguous(before, after) => Shown::Twice(Fold {
                first: instant(shown, before.fix())?,
                second: instant(shown, after.fix())?,
                offset_before: before.fix(),
            }),
            MappedLocalTime::None => {
                let (before, offset) = GapInfo::new(&shown, &self.0)?.begin?;
                Shown::Never(self.change(instant(before, offset.fix())?, offset.fix())?)
            }
        })
    }

    /// The moment that clocks are put back and repeat the times of this fold.
    pub(super) fn put_back(self, fold: &Fold) -> Option<Change> {
        // The offset is the old one at `first`, the new one at `second`, and changes once between them.
        let (mut old, mut new) = (fold.first, fold.second);
        while new - old > TimeDelta::seconds(1) {
            let middle = old + TimeDelta::seconds((new - old).num_seconds() / 2);
            *(if self.offset(middle) == fold.offset_before { &mut old } else { &mut new }) = middle;
        }
        self.change(new, fold.offset_before)
    }

    fn change(self, at: DateTime<Utc>, offset_before: FixedOffset) -> Option<Change> {
        Some(Change { at, before: at.naive_utc().checked_add_offset(offset_before)?, after: self.local(at)? })
    }
}

fn instant(shown: NaiveDateTime, offset: FixedOffset) -> Option<DateTime<Utc>> {
    shown.checked_sub_offset(offset).map(|utc| utc.and_utc())
}

/// The zone that a name was perhaps meant for: the same but for case and spaces, its city, or at most two letters off.
fn near(given: &str) -> Option<&'static str> {
    const LONGEST: usize = 40;
    if given.is_empty() || given.len() > LONGEST {
        return None;
    }
    let given = given.trim().replace(' ', "_").to_ascii_lowercase();
    let city = given.rsplit('/').next().unwrap_or(&given);
    let zones = || TZ_VARIANTS.iter().map(|zone| (zone.name(), zone.name().to_ascii_lowercase()));
    let same = || zones().find(|(_, name)| *name == given);
    let same_city = || zones().find(|(_, name)| name.rsplit_once('/').is_some_and(|(_, end)| end == city));
    let similar = || {
        zones()
            .filter(|(_, name)| name.len().abs_diff(given.len()) <= 2)
            .map(|zone| (distance(zone.1.as_bytes(), given.as_bytes()), zone))
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, _)| *distance <= 2 && *distance * 3 < given.len())
            .map(|(_, zone)| zone)
    };
    same().or_else(same_city).or_else(similar).map(|(name, _)| name)
}

/// How many letters must be put in, taken out or changed to make `b` of `a`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
