//! The example `outbox`, as a user runs it.

use std::process::{Command, Stdio};

use work_tests::{example, finish, text};

#[test]
fn every_event_arrives_in_order_at_a_receiver_that_fails_and_is_killed() {
    let mut command = Command::new(example("outbox"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let output = finish(child);
    assert!(output.status.success(), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    for line in [
        "900 deposits on 25 accounts, 100 rolled back",
        "and was killed 3 times",
        "900 events arrived",
        "every event arrived, those of each account in order",
    ] {
        assert!(said.contains(line), "{line}: {}", text(&output));
    }
    let failed = said.split("failed ").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u32>().ok());
    assert!(failed.is_some_and(|failed| failed > 150), "{said}");
}
