//! Cron expressions and time zones that are none.

use work_core::Schedule;

use crate::table::{Case, Table};

#[tokio::test]
async fn what_is_wrong_with_an_expression_is_named_with_its_place() {
    let mut table = Table::of("cron");
    for (row, given, shown) in [
        (44, "", "\"\" has 0 fields"),
        (44, "* * * *", "\"* * * *\" has 4 fields"),
        (44, "* * * * * * * *", "has 8 fields"),
        (45, "60 * * * *", "minute \"60\""),
        (45, "* 24 * * *", "hour \"24\""),
        (45, "0 0 0 * *", "day of month \"0\""),
        (45, "0 0 * 13 *", "month \"13\""),
        (45, "0 0 * * 8", "day of week \"8\""),
        (45, "99 0 0 * * *", "second \"99\""),
        (45, "*/0 * * * *", "minute \"*/0\""),
        (45, "5-1 * * * *", "minute \"5-1\""),
        (45, "1--100000000 * * * *", "minute \"1--100000000\""),
        (45, "99999999999999999999 * * * *", "minute \"99999999999999999999\""),
        (45, "\u{663} * * * *", "at byte 0"),
        (45, "\u{202e} * * * *", "\\u{202e}"),
        (45, "0 0 * * 1\n", "\"1\\n\""),
        (45, "0 0 * * FRI#2", "FRI#2"),
        (45, "0 0 L * *", "\"L\""),
        (46, "0 0 30 2 *", "\"0 0 30 2 *\""),
        (47, "0 0 * * 1\n0 0 * * 2", "\\n0 0 * * 2"),
        (47, "@reboot", "\"@reboot\""),
        (47, "@every 5m", "\"@every 5m\""),
        (47, "CRON_TZ=Europe/Berlin 0 9 * * *", "CRON_TZ=Europe/Berlin"),
    ] {
        let name = format!("{given:?}");
        table.refused(Case(row, &name, shown), async { Schedule::cron(given, "UTC") }).await;
    }
    let long = |part: &str, bytes: usize| part.repeat(bytes / part.len());
    for (row, what, given, shown) in [
        (44, "256 bytes that are no fields", long("\u{1}", 256), "has 1 fields"),
        (45, "a field of 240 bytes", long("\u{1b}", 240) + " * * * *", "\\u{1b}"),
        (45, "a list of 5,000 bytes", long("1,", 5_000), "5000 bytes"),
        (45, "a list of 10,000,000 bytes", long("1,", 10_000_000), "10000000 bytes"),
        (47, "a long shorthand", "@".to_owned() + &long("\u{202e}", 240), "\\u{202e}"),
    ] {
        table.refused(Case(row, what, shown), async { Schedule::cron(&given, "UTC") }).await;
    }
    table.stays();
}

#[tokio::test]
async fn a_time_zone_that_is_none_is_named_with_the_one_that_was_perhaps_meant() {
    let mut table = Table::of("zones");
    for given in ["", "Mars/Base", "+02:00", "europe/berlin", "Berlin", "UTC\0", "\u{1b}[31m"] {
        let shown = format!("{given:?}");
        table.refused(Case(48, &shown, &shown), async { Schedule::cron("@daily", given) }).await;
    }
    let long = "\u{202e}".repeat(100_000);
    table.refused(Case(48, "300,000 bytes", "\\u{202e}"), async { Schedule::cron("@daily", &long) }).await;
    let old = async { Schedule::cron("@daily", "EST5EDT") };
    table.accepted(Case(48, "\"EST5EDT\"", "a zone with a name of old times"), old).await;
    table.stays();
}

#[tokio::test]
async fn expressions_that_look_odd_and_are_not_mean_what_they_say() {
    let mut table = Table::of("weekdays");
    for (given, means) in
        [("0 9 * * 1-5", "0 9 * * 1-5 UTC"), ("0 9 * * 7", "0 9 * * 0 UTC"), ("0 9 * * FRI-MON", "0 9 * * 5-1 UTC")]
    {
        let name = format!("{given:?}");
        let schedule = table.accepted(Case(49, &name, means), async { Schedule::cron(given, "UTC") }).await;
        let text = schedule.to_string();
        let again: Schedule = text.parse().unwrap();
        let from = "2026-05-08T09:00:00Z".parse().unwrap();
        assert_eq!(again.next_after(from), schedule.next_after(from), "{given}: {text}");
        assert_eq!(text, means, "{given}");
    }
    table.stays();
}
