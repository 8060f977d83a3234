//! Bad input: what was given, what is wrong with it, and what is accepted.

use std::time::Duration;

use work_core::{FieldFault, InvalidSchedule, Schedule};

const SIXTY: &str = "use 0 to 59, *, ranges a-b, steps */n or a-b/n, lists a,b";
const HOURS: &str = "use 0 to 23, *, ranges a-b, steps */n or a-b/n, lists a,b";
const DAYS: &str = "use 1 to 31, *, ranges a-b, steps */n or a-b/n, lists a,b";
const MONTHS: &str = "use 1 to 12 or JAN to DEC, *, ranges a-b, steps */n or a-b/n, lists a,b";
const WEEKDAYS: &str = "use 0 to 7 (0 and 7 are Sunday) or SUN to SAT, *, ranges a-b, steps */n or a-b/n, lists a,b";

#[test]
fn a_bad_field_is_named_with_its_text_its_place_and_what_is_accepted() {
    for (expression, what, position, fault, accepted) in [
        ("60 * * * *", "minute \"60\"", 0, "60 is not in 0 to 59", SIXTY),
        ("* 24 * * *", "hour \"24\"", 2, "24 is not in 0 to 23", HOURS),
        ("0 0 0 * *", "day of month \"0\"", 4, "0 is not in 1 to 31", DAYS),
        ("0 0 * 13 *", "month \"13\"", 6, "13 is not in 1 to 12", MONTHS),
        ("0 0 * * 8", "day of week \"8\"", 8, "8 is not in 0 to 7", WEEKDAYS),
        ("99 0 0 * * *", "second \"99\"", 0, "99 is not in 0 to 59", SIXTY),
        ("  0\t 1,2,77 * * *", "hour \"77\"", 9, "77 is not in 0 to 23", HOURS),
        ("*/0 * * * *", "minute \"*/0\"", 0, "the step is not in 1 to 60", SIXTY),
        ("*/61 * * * *", "minute \"*/61\"", 0, "the step is not in 1 to 60", SIXTY),
        ("0 */25 * * *", "hour \"*/25\"", 2, "the step is not in 1 to 24", HOURS),
        ("*/ * * * *", "minute \"*/\"", 0, "the step is not in 1 to 60", SIXTY),
        ("*/5/5 * * * *", "minute \"*/5/5\"", 0, "the step is not in 1 to 60", SIXTY),
        ("5-1 * * * *", "minute \"5-1\"", 0, "the range ends before it starts", SIXTY),
        ("0 22-2 * * *", "hour \"22-2\"", 2, "the range ends before it starts", HOURS),
        ("1--100000000 * * * *", "minute \"1--100000000\"", 0, "it is no value of this field", SIXTY),
        ("-1 * * * *", "minute \"-1\"", 0, "a value is missing", SIXTY),
        ("1- * * * *", "minute \"1-\"", 0, "a value is missing", SIXTY),
        ("1,,2 * * * *", "minute \"\"", 2, "a value is missing", SIXTY),
        ("+5 * * * *", "minute \"+5\"", 0, "it is no value of this field", SIXTY),
        ("** * * * *", "minute \"**\"", 0, "it is no value of this field", SIXTY),
        ("0 0 * * * MON#2", "day of week \"MON#2\"", 10, "# is not supported", WEEKDAYS),
        ("0 0 L * *", "day of month \"L\"", 4, "L is not supported", DAYS),
        ("0 0 15W * *", "day of month \"15W\"", 4, "W is not supported", DAYS),
        ("0 0 ? * 1", "day of month \"?\"", 4, "? is not supported", DAYS),
        ("H * * * *", "minute \"H\"", 0, "H is not supported", SIXTY),
        ("0 0 * foo *", "month \"foo\"", 6, "it is no value of this field", MONTHS),
        ("0 0 * JAN-foo *", "month \"JAN-foo\"", 6, "it is no value of this field", MONTHS),
        ("0 0 * * january", "day of week \"january\"", 8, "it is no value of this field", WEEKDAYS),
        ("\u{663} * * * *", "minute \"\u{663}\"", 0, "it is no value of this field", SIXTY),
        ("99999999999 * * * *", "minute \"99999999999\"", 0, "the number is not in 0 to 59", SIXTY),
        ("0 0 * * 1\n", "day of week \"1\\n\"", 8, "it is no value of this field", WEEKDAYS),
    ] {
        let message = Schedule::cron(expression, "UTC").expect_err(expression).to_string();
        assert_eq!(message, format!("invalid {what} at byte {position} of the cron expression: {fault}; {accepted}"));
    }
}

#[test]
fn the_wrong_number_of_fields() {
    for (expression, found) in [("", 0), ("  ", 0), ("5", 1), ("* * * *", 4), ("* * * * * * *", 7)] {
        assert_eq!(
            Schedule::cron(expression, "UTC").unwrap_err().to_string(),
            format!(
                "the cron expression {expression:?} has {found} fields; use 5 (minute, hour, day of month, month, \
                 day of week) or 6 (a second before them), such as \"30 2 * * MON-FRI\", or a shorthand such as @daily"
            )
        );
    }
}

#[test]
fn a_second_line_is_no_second_expression() {
    let message = Schedule::cron("0 0 * * 1\n0 0 * * 2", "UTC").unwrap_err().to_string();
    assert!(message.starts_with(r#"the cron expression "0 0 * * 1\n0 0 * * 2" has 9 fields; use 5"#), "{message}");
}

#[test]
fn unknown_shorthands() {
    for given in ["@reboot", "@every 5m", "@", "@dailyy"] {
        assert_eq!(
            Schedule::cron(given, "UTC").unwrap_err().to_string(),
            format!(
                "unknown shorthand {given:?}; use @yearly, @annually, @monthly, @weekly, @daily, @midnight or @hourly, \
                 or Schedule::every for intervals"
            )
        );
    }
}

#[test]
fn a_zone_within_the_text() {
    for given in ["CRON_TZ=Europe/Berlin 0 9 * * *", " TZ=UTC 0 9 * * *"] {
        assert_eq!(
            Schedule::cron(given, "UTC").unwrap_err().to_string(),
            format!("the cron expression {given:?} names a time zone; give it as the second argument instead")
        );
    }
}

#[test]
fn days_that_no_year_has() {
    for given in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "* * * 30,31 FEB *", "0 0 31 4 */2"] {
        assert_eq!(
            Schedule::cron(given, "UTC").unwrap_err().to_string(),
            format!("the cron expression {given:?} is never due; use a day of month that one of its months has")
        );
    }
    // With a weekday, either is enough.
    assert!(Schedule::cron("0 0 30 2 1", "UTC").is_ok());
}

#[test]
fn text_that_is_too_long() {
    let longest = format!("{} * * * *", ["0"; 124].join(","));
    assert_eq!(longest.len(), 255);
    assert!(Schedule::cron(&longest, "UTC").is_ok());
    for len in [257, 5_000, 10_000_000] {
        let error = Schedule::cron(&"1,".repeat(len)[..len], "UTC").unwrap_err();
        assert_eq!(error, InvalidSchedule::TextTooLong { len });
        assert_eq!(error.to_string(), format!("a cron expression of {len} bytes is too long; use at most 256"));
    }
}

#[test]
fn unknown_zones_and_the_ones_that_were_perhaps_meant() {
    for (given, near) in [
        ("Mars/Base", ""),
        ("", ""),
        ("+02:00", ""),
        ("europe/berlin", " (did you mean Europe/Berlin?)"),
        ("Berlin", " (did you mean Europe/Berlin?)"),
        ("New York", " (did you mean America/New_York?)"),
        ("America/New York", " (did you mean America/New_York?)"),
        ("Europe/Belrin", " (did you mean Europe/Berlin?)"),
        ("utc", " (did you mean UTC?)"),
        ("UTC\0", " (did you mean UTC?)"),
    ] {
        assert_eq!(
            Schedule::cron("@daily", given).unwrap_err().to_string(),
            format!("unknown time zone {given:?}{near}; use an IANA name such as Europe/Berlin or UTC")
        );
    }
    let long = Schedule::cron("@daily", &"x".repeat(1_000_000)).unwrap_err().to_string();
    assert!(long.len() < 200, "{long}");
    for known in ["UTC", "EST5EDT", "Etc/GMT-2", "Europe/Berlin"] {
        assert!(Schedule::cron("@daily", known).is_ok(), "{known}");
    }
}

#[test]
fn an_interval_that_is_too_short() {
    for micros in [0, 999] {
        let given = Duration::from_micros(micros);
        let error = Schedule::every(given).unwrap_err();
        assert_eq!(error, InvalidSchedule::IntervalTooShort { given });
        assert_eq!(error.to_string(), format!("interval {given:?} is too short; use at least 1 ms"));
    }
    assert!(Schedule::every(Duration::from_millis(1)).is_ok());
}

#[test]
fn a_program_can_tell_what_is_wrong() {
    let error = Schedule::cron("0 0 * * 1,9-12", "UTC").unwrap_err();
    let InvalidSchedule::Field { field, text, position, fault, .. } = error else { panic!("{error}") };
    assert_eq!((field, text.as_str(), position), ("day of week", "9-12", 10));
    assert_eq!(fault, FieldFault::OutOfRange { value: 9, min: 0, max: 7 });
}
