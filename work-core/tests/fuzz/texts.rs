use std::fmt::{Debug, Display};
use std::str::FromStr;

use work_core::testing::fuzz::{Fuzz, check_message};
use work_core::{CatchUp, JobId, JobState, Kind, Overlap, Queue, Schedule};

#[test]
fn every_state_is_read_as_it_is_written() {
    for state in JobState::ALL {
        assert_eq!(state.to_string().parse(), Ok(state));
    }
}

#[test]
fn an_id_with_a_line_break_is_refused_in_one_line() {
    let error = "01932f7b8d2c7a41b2c30\r\n456789ab".parse::<JobId>().unwrap_err();
    check_message(&error);
    assert!(error.to_string().contains("\\r\\n"), "{error}");
}

#[test]
fn signs_that_are_escaped_do_not_make_a_message_long() {
    let long = "\u{10ffff}".repeat(2_000);
    check_message(long.parse::<JobState>().unwrap_err());
    check_message(long.parse::<Schedule>().unwrap_err());
    check_message(Queue::from(long.clone()).validate().unwrap_err());
    check_message(work_core::Job::new("any", ()).tag(&long).validate().unwrap_err());
    check_message(
        work_core::Job::new("any", ()).header("\u{1b}".repeat(128), "x".repeat(5_000)).validate().unwrap_err(),
    );
}

/// What is read is written, and read again as the same.
fn there_and_back<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => match value.to_string().parse::<T>() {
            Ok(again) => assert_eq!(again, value),
            Err(error) => panic!("{value} is not read again: {error}"),
        },
        Err(error) => check_message(error),
    }
}

#[test]
fn any_text_is_a_schedule_or_a_typed_error() {
    let corpus = [
        "every 90s",
        "every 1.5s",
        "every 1ms",
        "every 999.999999ms",
        "every 5µs",
        "every 18446744073709551615.999999999s",
        "0 9 * * * UTC",
        "*/5 0-3,22-23 1,15 JAN-MAR MON-FRI Europe/Berlin",
        "0 */15 * * * * America/New_York",
        "@daily UTC",
    ];
    Fuzz::new("schedules").texts(&corpus, there_and_back::<Schedule>);
}

#[test]
fn any_text_is_a_state_a_policy_an_id_or_a_typed_error() {
    let corpus = [
        "available",
        "running",
        "completed",
        "discarded",
        "cancelled",
        "none",
        "one",
        "all:24",
        "skip",
        "allow",
        "cancel",
        "01932f7b-8d2c-7a41-b2c3-0123456789ab",
        "{01932f7b-8d2c-7a41-b2c3-0123456789ab}",
        "01932f7b8d2c7a41b2c30123456789ab",
        "urn:uuid:01932f7b-8d2c-7a41-b2c3-0123456789ab",
    ];
    Fuzz::new("states, policies and ids").texts(&corpus, |text| {
        there_and_back::<JobState>(text);
        there_and_back::<CatchUp>(text);
        there_and_back::<JobId>(text);
        if let Err(error) = text.parse::<Overlap>() {
            check_message(error);
        }
    });
}

#[test]
fn any_name_is_accepted_or_refused_with_the_reason() {
    let corpus = ["mail", "mail.welcome:v2-b_1", "mail:tenant-7", "mail:*", "a", "x-123456789012345678901234567890"];
    Fuzz::new("names").texts(&corpus, |text| {
        let (queue, kind) = (Queue::from(text.to_owned()), Kind::from(text.to_owned()));
        assert_eq!(queue.validate().is_ok(), kind.validate().is_ok());
        for result in [queue.validate(), queue.validate_drained(), kind.validate()] {
            match result {
                Ok(()) => assert!(text.is_ascii() && (1..=63).contains(&text.len())),
                Err(error) => check_message(error),
            }
        }
        if queue.validate().is_ok() {
            assert!(queue.validate_drained().is_ok() && queue.keys_of().is_none());
            let among = queue.among();
            assert!(among.is_none_or(|keys| queue.is_key_of(&keys) && keys.keys_of().is_some()));
        }
    });
}
