//! Durations and instants as people write and read them, in one place.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidTime {
    #[error("use a number and a unit: ms, s, m, h, d or w, as in 90s, 2h or 1h30m")]
    Duration,
    #[error("use an instant, as in 2026-11-21T09:30:00Z, or a day, as in 2026-11-21")]
    Instant,
    #[error("use how long ago, as in 90s, 2h or 7d, or an instant, as in 2026-11-21T09:30:00Z or 2026-11-21")]
    Either,
}

/// An instant, said as one or as how long it is ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Ago(Duration),
    At(DateTime<Utc>),
}

impl When {
    pub(crate) fn seen_from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => {
                let ago = TimeDelta::from_std(ago).ok();
                ago.and_then(|ago| now.checked_sub_signed(ago)).unwrap_or(DateTime::<Utc>::MIN_UTC)
            }
        }
    }
}

/// `90s`, `2h`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, InvalidTime> {
    let mut total: u64 = 0;
    let mut rest = text;
    loop {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let number: u64 = number.parse().map_err(|_| InvalidTime::Duration)?;
        let millis = millis_of(unit).ok_or(InvalidTime::Duration)?;
        let part = number.checked_mul(millis);
        total = part.and_then(|part| total.checked_add(part)).ok_or(InvalidTime::Duration)?;
        if after.is_empty() {
            return Ok(Duration::from_millis(total));
        }
        rest = after;
    }
}

fn millis_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return None,
    })
}

/// An instant of RFC 3339, or a day, which is its first moment in UTC.
pub(crate) fn instant(text: &str) -> Result<DateTime<Utc>, InvalidTime> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).map_err(|_| InvalidTime::Instant)
}

/// How long ago, or an instant.
pub(crate) fn when(text: &str) -> Result<When, InvalidTime> {
    let ago = duration(text).map(When::Ago);
    ago.or_else(|_| instant(text).map(When::At)).map_err(|_| InvalidTime::Either)
}

/// As JSON has it: RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The two largest units: `3d 4h`, `12s`.
pub(crate) fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, small: u64, names: [&str; 2]| {
        let (whole, rest) = (seconds / large, seconds % large / small);
        if rest == 0 { format!("{whole}{}", names[0]) } else { format!("{whole}{} {rest}{}", names[0], names[1]) }
    };
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3_600 => two(60, 1, ["m", "s"]),
        3_600..86_400 => two(3_600, 60, ["h", "m"]),
        _ => two(86_400, 3_600, ["d", "h"]),
    }
}

/// `3m 2s ago`, `in 4h`.
pub(crate) fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (now - at).to_std() {
        Ok(ago) => format!("{} ago", rough(ago)),
        Err(_) => format!("in {}", rough((at - now).to_std().unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, seconds) in [("90s", 90), ("2h", 7_200), ("1h30m", 5_400), ("1d", 86_400), ("2w", 1_209_600)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "90", "s", "-1s", "1.5h", "1 h", "2 hours", "9y", "99999999999999999999s", "1h30", "9999999999999999w"]
        {
            assert_eq!(duration(text), Err(InvalidTime::Duration), "{text}");
        }
    }

    #[test]
    fn instants_are_those_of_rfc_3339_or_days() {
        let at = instant("2026-11-21T10:30:00+01:00").unwrap();
        assert_eq!(rfc3339(at), "2026-11-21T09:30:00.000Z");
        assert_eq!(rfc3339(instant("2026-11-21").unwrap()), "2026-11-21T00:00:00.000Z");
        for text in ["", "now", "2026-13-01", "2026-11-21T09:30:00", "21.11.2026"] {
            assert_eq!(instant(text), Err(InvalidTime::Instant), "{text}");
        }
        assert_eq!(when("2h").unwrap().seen_from(at), at - TimeDelta::hours(2));
        assert_eq!(when("yesterday"), Err(InvalidTime::Either));
    }

    #[test]
    fn times_are_told_by_their_two_largest_units() {
        for (millis, text) in
            [(5, "5ms"), (12_400, "12s"), (62_000, "1m 2s"), (3_600_000, "1h"), (273_600_000, "3d 4h")]
        {
            assert_eq!(rough(Duration::from_millis(millis)), text);
        }
        let now = instant("2026-11-21").unwrap();
        assert_eq!(relative(now + TimeDelta::seconds(5), now), "in 5s");
        assert_eq!(relative(now - TimeDelta::seconds(5), now), "5s ago");
    }
}
