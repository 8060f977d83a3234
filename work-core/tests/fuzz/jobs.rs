use std::time::Duration;

use work_core::store::{ArgsField, json_depth};
use work_core::testing::fuzz::{Fuzz, Random, check_message};
use work_core::{DEFAULT_MAX_ARGS, Job, Unique};

const ARGS: &[&str] = &[
    "null",
    "[1,2.5,-3e-7]",
    r#"{"user":{"id":7,"name":"Ann"},"items":[{"sku":"x"}]}"#,
    r#"{"a":1,"a":2,"a":{"a":3}}"#,
    r#""\ud83d\ude00 \u0000 \"quoted\"""#,
    "[[[[[[[[[[]]]]]]]]]]",
    "123456789012345678901234567890",
    "1e400",
    r#"{"$enc":"v1"}"#,
    " 7 ",
    r#"{"user":{"id":"\u001b[31m an id that is a text, and a long one, for whoever reads what is wrong with it, and so on","name":7}}"#,
];

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Typed {
    user: User,
    #[serde(default)]
    items: Vec<serde_json::Value>,
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct User {
    id: u64,
    name: String,
}

fn nested(random: &mut Random) -> Vec<u8> {
    let mut json = random.bytes(ARGS);
    if random.once_in(4) {
        let levels = random.below(20_000);
        json = [b"[".repeat(levels), json, b"]".repeat(levels.saturating_sub(random.below(2)))].concat();
    }
    json
}

#[test]
fn args_of_any_bytes_are_read_or_refused() {
    Fuzz::new("args").run(nested, |json| {
        let depth = json_depth(json);
        match Job::from_json("any", json.clone()).into_stored(DEFAULT_MAX_ARGS) {
            Ok(stored) => {
                assert!(depth <= 64 && stored.args == *json);
                let value = serde_json::from_slice::<serde_json::Value>(json);
                if let Ok(value) = &value {
                    let mut job = Job::from_stored(stored.clone());
                    assert_eq!(job.take_args::<serde_json::Value>().unwrap(), *value);
                    assert!(ArgsField { path: vec![], value: value.clone() }.fits(json));
                }
                if let Err(error) = Job::from_stored(stored.clone()).take_args::<serde_json::Value>() {
                    check_message(error);
                }
                match Job::from_stored(stored).take_args::<Typed>() {
                    Ok(typed) => {
                        let again = serde_json::to_vec(&typed).unwrap();
                        assert_eq!(Job::from_json("any", again).take_args::<Typed>().unwrap(), typed);
                    }
                    Err(error) => check_message(error),
                }
            }
            Err(error) => {
                assert!(depth > 64, "{error}");
                check_message(error);
            }
        }
    });
}

#[test]
fn a_field_of_any_args_is_found_by_its_path() {
    let make =
        |random: &mut Random| (random.json(5), random.text(&["a", "user.id", "items.0.sku", "a.0.1", "0", "+0"]));
    Fuzz::new("fields of args").run(make, |(args, path)| {
        let filter = work_core::store::JobFilter::all().args(path, args.clone());
        let json = serde_json::to_vec(args).unwrap();
        let at_the_root = filter.args[0].path.is_empty();
        assert!(!at_the_root || filter.args[0].fits(&json), "the whole is found in the whole");
    });
}

#[test]
fn headers_tags_and_keys_are_accepted_or_refused_with_the_reason() {
    let corpus =
        ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "work.chain", "digest:ann", "größe"];
    let make = |random: &mut Random| {
        let texts = [random.text(&corpus), random.text(&corpus), random.text(&corpus), random.text(&corpus)];
        (texts, Duration::from_nanos(random.next() >> random.below(64)), random.number())
    };
    Fuzz::new("parts of jobs").run(make, |([name, value, tag, key], time, number)| {
        let whole = u32::try_from(*number).unwrap_or(u32::MAX);
        for job in [
            Job::new("any", ()).header(name, value),
            Job::new("any", ()).tag(tag),
            Job::new("any", ()).unique(Unique::new(key)),
            Job::new("any", ()).unique(Unique::new("key").within(*time)),
            Job::new("any", ()).timeout(*time),
            Job::new("any", ()).max_attempts(whole),
            Job::new("any", ()).priority(whole.to_le_bytes()[0]),
            Job::new("any", ()).queue(key.clone()),
        ] {
            match job.clone().validate() {
                Ok(()) => drop(job.into_stored(DEFAULT_MAX_ARGS).unwrap()),
                Err(error) => check_message(error),
            }
        }
    });
}
