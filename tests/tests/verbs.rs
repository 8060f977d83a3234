//! The example `verbs`, as a user runs it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use work_tests::{example, finish, signal, text};

fn verbs(args: &[&str]) -> Child {
    let mut command = Command::new(example("verbs"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
}

#[test]
fn the_same_program_says_the_same_in_memory_and_in_a_file() {
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("jobs.db");
    for args in [&["memory"][..], &["file", file.to_str().expect("a path")]] {
        let output = finish(verbs(args));
        assert!(output.status.success(), "{}", text(&output));
        let said = String::from_utf8_lossy(&output.stdout);
        for line in
            ["hello now", "hello in 50 ms", "hello at ", "hello Ann", "hello Bob", "refused: no handler of kind"]
        {
            assert_eq!(said.matches(line).count(), 1, "{line}: {said}");
        }
        assert!(said.matches("tick").count() > 3, "{said}");
    }
}

#[test]
fn both_signals_stop_it_gracefully() {
    for name in ["TERM", "INT"] {
        let mut child = verbs(&["wait"]);
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "tick");
        signal(child.id(), name);
        let rest: Vec<String> = lines.map(|line| line.expect("text")).collect();
        assert_eq!(rest.last().map(String::as_str), Some("stopped, 0 interrupted"));
        assert!(finish(child).status.success(), "{name}");
    }
}
