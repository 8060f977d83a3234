//! Whatever a call may say, at random: it is understood, or refused with a message that can be printed anywhere.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use work_core::testing::fuzz::{Fuzz, Random, check_message};

use crate::cli::{Cli, Command, JobsCommand};
use crate::redact::redact;
use crate::store::StoreUrl;
use crate::{refusal, text, time, values};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_254_600, 0).unwrap()
}

#[test]
fn any_text_is_a_duration_an_instant_or_a_typed_error() {
    let corpus = [
        "90s",
        "2h",
        "1h30m",
        "5ms",
        "2w",
        "18446744073709551615ms",
        "2026-11-21",
        "2026-11-21T09:30:00Z",
        "-9999-01-01",
    ];
    Fuzz::new("durations and instants").texts(&corpus, |text| {
        match time::duration(text) {
            Ok(given) => {
                let printed = format!("{}ms", given.as_millis());
                assert_eq!(time::duration(&printed), Ok(given));
                assert!(!time::rough(given).is_empty());
            }
            Err(error) => check_message(error),
        }
        match time::when(text) {
            Ok(when) => {
                let at = when.seen_from(now());
                assert!(!time::relative(at, now()).is_empty());
                if let Ok(again) = time::instant(&time::rfc3339(at)) {
                    assert!((again - at).abs() < TimeDelta::milliseconds(1));
                }
            }
            Err(error) => check_message(error),
        }
    });
}

#[test]
fn any_text_is_a_value_or_a_typed_error() {
    let corpus = [
        "user.id=7",
        "user.name=Ann",
        "zip=\"01234\"",
        "traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "none",
        "12",
        "mail:tenant-7",
        "01932f7b-8d2c-7a41-b2c3-0123456789ab",
    ];
    Fuzz::new("values").texts(&corpus, |text| {
        let errors = [
            values::limit(text).err().map(|error| error.to_string()),
            values::id(text).err().map(|error| error.to_string()),
            values::queue(text).err().map(|error| error.to_string()),
            values::kind(text).err().map(|error| error.to_string()),
            values::tag(text).err().map(|error| error.to_string()),
            values::field(text).err().map(|error| error.to_string()),
            values::header(text).err().map(|error| error.to_string()),
        ];
        errors.iter().flatten().for_each(check_message);
        if let Ok(id) = values::id(text) {
            assert_eq!(values::id(&id.to_string()).unwrap(), id);
        }
    });
}

const URLS: &[&str] = &[
    "sqlite:jobs.db",
    "sqlite:///a/b.db",
    "sqlite:a?mode=rw",
    "sqlite::memory:",
    "postgres://ann@host/db",
    "postgresql://host:5432/db?sslmode=disable",
    "postgres://[::1]:5432,other/db",
    "mysql://ann@h/db",
    "host=localhost user=ann",
    "jobs.db",
];

/// No text of a message may hold it.
const SECRET: &str = "s3cret";

/// A URL with a password that has any signs in it.
fn url(random: &mut Random) -> String {
    let given = random.text(URLS);
    match random.below(3) {
        0 => given,
        1 => {
            let (before, after) =
                (random.text(&["", "p", "a:b", "x'y", "x y"]), random.text(&["", "/", "?x", "'", "\" "]));
            format!("postgres://ann:{before}{SECRET}{after}@host:5432/db")
        }
        _ => format!("{} user=ann password={SECRET}", given.replace([':', '@'], "")),
    }
}

#[test]
fn any_url_is_that_of_a_store_or_refused_and_no_password_is_shown() {
    Fuzz::new("URLs of stores").run(url, |url| match StoreUrl::parse(url, "work") {
        Ok(store) => {
            let shown = format!("{store} {store:?}");
            assert!(!shown.contains(SECRET), "{shown:?}");
            if let StoreUrl::Sqlite(_) = &store
                && !url.contains("//")
            {
                assert_eq!(StoreUrl::parse(&store.to_string(), "work"), Ok(store));
            }
        }
        Err(why) => {
            assert!(!why.contains(SECRET), "{why:?}");
            check_message(why);
        }
    });
}

#[test]
fn a_message_with_a_url_has_no_password() {
    let make = |random: &mut Random| {
        let password = random.text(&["p", "a:b", "x@y", "x?y", "%40"]);
        let (before, behind) = (
            random.text(&["cannot reach '", "error: ", "a://b "]),
            random.text(&["' is bad", ": no answer", " or a://u@h"]),
        );
        let plain = |text: String| text.replace(SECRET, "").replace("://", "");
        format!("{}postgres://ann:{}{SECRET}@host:5432/db{}", plain(before), plain(password), plain(behind))
    };
    Fuzz::new("messages with URLs").run(make, |text| assert!(!redact(text).contains(SECRET), "{:?}", redact(text)));
}

const CALLS: &[&[&str]] = &[
    &[
        "jobs",
        "list",
        "--state",
        "discarded",
        "--since",
        "2h",
        "--until",
        "2026-11-21",
        "--queue",
        "mail",
        "--arg",
        "user.id=7",
        "--error",
        "refused",
    ],
    &["jobs", "show", "01932f7b-8d2c-7a41-b2c3-0123456789ab"],
    &["jobs", "retry", "--kind", "mail", "--tag", "a", "--id", "01932f7b-8d2c-7a41-b2c3-0123456789ab"],
    &[
        "jobs",
        "enqueue",
        "mail",
        "{\"to\":\"ann\"}",
        "--in",
        "5m",
        "--priority",
        "3",
        "--header",
        "a=b",
        "--unique",
        "k",
    ],
    &["queues", "limit", "mail", "5"],
    &["schedules", "run", "daily"],
    &["workflows", "show", "pages.monday"],
    &["prune", "--older-than", "7d"],
    &["top", "--interval", "2s"],
    &["dashboard", "--listen", "127.0.0.1", "--port", "8080"],
    &["--store", "postgres://ann:s3cret@host/db", "stats", "--json"],
];

fn call(random: &mut Random) -> Vec<String> {
    let mut words: Vec<String> = random.pick(CALLS).iter().map(|word| (*word).to_owned()).collect();
    for _ in 0..random.below(3) {
        let at = random.below(words.len());
        let corpus = [words[at].clone()];
        match random.below(4) {
            0 => drop(words.remove(at)),
            1 => words.insert(at, random.text(&["--state", "--json", "-q", "--"])),
            _ => words[at] = random.text(&[corpus[0].as_str()]),
        }
        if words.is_empty() {
            break;
        }
    }
    words.insert(0, "work".to_owned());
    words
}

/// Also what the parser of the command line says of it, with the usage that it adds.
#[test]
fn any_call_is_understood_or_refused_in_a_few_lines() {
    Fuzz::new("calls").run(call, |words| match Cli::try_parse_from(words) {
        Ok(cli) => {
            if let Command::Jobs { command: JobsCommand::List(list) } = &cli.command
                && let Err(error) = list.filter.filter(now())
            {
                check_message(error);
            }
        }
        Err(error) if error.use_stderr() => {
            let text = refusal(error).render().to_string();
            check_lines(&text);
            assert!(text.len() < 1_500, "{} bytes: {text}", text.len());
        }
        Err(_) => {}
    });
}

fn check_lines(text: &str) {
    assert_eq!(text::lines(text), text, "a terminal would act on it: {text:?}");
}

#[test]
fn a_value_that_a_terminal_obeys_or_that_has_no_end_is_not_printed_as_it_is() {
    for value in ["\u{1b}[31m\u{1b}]0;title\u{7}".to_owned(), "x".repeat(100_000), "\u{202e}".to_owned()] {
        for words in [
            ["work", "--color", &value, "stats"],
            ["work", "stats", "--queue", &value],
            ["work", "jobs", "show", &value],
        ] {
            let error = Cli::try_parse_from(words).unwrap_err();
            let text = refusal(error).render().to_string();
            check_lines(&text);
            assert!(text.len() < 1_500, "{} bytes", text.len());
        }
    }
}

#[test]
fn a_password_of_any_signs_is_not_shown() {
    for url in
        ["postgres://ann:x's3cret@host/db", "postgres://ann:x s3cret@host/db", "postgres://ann:a?b'c s3cret@host/db?x"]
    {
        let store = StoreUrl::parse(url, "work").unwrap();
        assert!(!store.to_string().contains(SECRET), "{store}");
        assert!(!redact(&format!("cannot reach {url}: refused")).contains(SECRET));
    }
    let why = StoreUrl::parse("host=localhost password=s3cret", "work").unwrap_err();
    assert!(!why.contains(SECRET), "{why}");
}

#[test]
fn the_longest_durations_are_told() {
    assert!(!time::rough(Duration::MAX).is_empty());
    assert_eq!(time::duration("18446744073709551615ms").map(|time| time.as_millis()), Ok(u128::from(u64::MAX)));
}
