//! The text of a schedule, as stores keep it: read here, and written by its `Display`.

use std::str::FromStr;
use std::time::Duration;

use super::{InvalidSchedule, Schedule};

/// What [`Display`](std::fmt::Display) writes: `every 90s`, or a cron expression and its time zone. What is to happen when
/// runs overlap or are missed is no part of it.
///
/// ```
/// use work_core::Schedule;
///
/// let schedule: Schedule = "every 1.5s".parse()?;
/// assert_eq!(schedule.to_string(), "every 1.5s");
/// assert!("now and then".parse::<Schedule>().is_err());
/// # Ok::<(), work_core::InvalidSchedule>(())
/// ```
impl FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let unknown = || InvalidSchedule::Text { given: crate::cut(text) };
        if let Some(interval) = text.strip_prefix("every ") {
            return Self::every(duration(interval).ok_or_else(unknown)?);
        }
        #[cfg(feature = "cron")]
        if let Some((expression, zone)) = text.rsplit_once(' ') {
            return Self::cron(expression, zone);
        }
        Err(unknown())
    }
}

/// A duration as its `Debug` writes it.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let (whole, fraction) = text.strip_suffix(unit)?.split_once('.').unwrap_or((text.strip_suffix(unit)?, ""));
    let nanos: u64 = match unit {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "µs" => 1_000,
        "ns" => 1,
        _ => return None,
    };
    let whole = whole.parse::<u64>().ok()?;
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()? * nanos / 10_u64.pow(digits) };
    let seconds = Duration::from_secs(if unit == "s" { whole } else { 0 });
    let below = if unit == "s" { 0 } else { whole.checked_mul(nanos)? };
    seconds.checked_add(Duration::from_nanos(below))?.checked_add(Duration::from_nanos(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let nanos = [1_000_000, 1_500_000, 1_000_001, 999_999_999, 1_000_000_000, 90_000_000_000, 1_000_000_001];
        for interval in nanos.map(Duration::from_nanos).into_iter().chain([Duration::MAX, Duration::from_secs(86_400)])
        {
            let schedule = Schedule::every(interval).unwrap();
            assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
        }
        #[cfg(feature = "cron")]
        for (expression, zone) in [("30 2 * * MON-FRI", "Europe/Berlin"), ("*/5 0 9 1 * *", "UTC"), ("@daily", "UTC")] {
            let schedule = Schedule::cron(expression, zone).unwrap();
            assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in
            ["", "every", "every ", "every s", "every 1", "every 1.s.s", "every 1h", "every -1s", "every 0s", "x"]
        {
            assert!(text.parse::<Schedule>().is_err(), "{text:?}");
        }
        let error = "hourly".parse::<Schedule>().unwrap_err().to_string();
        assert!(error.contains("\"hourly\"") && error.contains("every 90s"), "{error}");
    }
}
