//! One job: added, looked at, changed.

use std::io::Write;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use work_core::{Args, Job, JobId, QueueWorker, Router};

use crate::place::Place;

#[tokio::test]
async fn a_job_that_is_enqueued_is_performed_by_a_runner() {
    let Some(place) = Place::new() else { return };
    let said = place.work(&["jobs", "enqueue", "greet", "--args", r#"{"name":"Ann"}"#, "--tag", "eu"]).ok();
    let id: JobId = said.out.trim().parse().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let greet = {
        let seen = seen.clone();
        move |Args(args): Args<Value>| {
            let seen = seen.clone();
            async move { seen.lock().unwrap().push(args) }
        }
    };
    let worker = QueueWorker::new(place.store().await, Router::new().route("greet", greet));
    let ended = async {
        while place.state(id).await != "completed" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let running = worker.run_until(ended);
    tokio::time::timeout(Duration::from_secs(30), running).await.unwrap().unwrap();
    assert_eq!(*seen.lock().unwrap(), [json!({ "name": "Ann" })]);
    let shown = place.work(&["jobs", "show", &id.to_string(), "--json"]).ok().json();
    assert_eq!((&shown[0]["state"], &shown[0]["attempt"]), (&json!("completed"), &json!(1)));
}

#[test]
fn enqueue_keeps_every_option_and_reads_args_from_standard_input() {
    let Some(place) = Place::new() else { return };
    let args = ["jobs", "enqueue", "mail", "--args", "-", "--queue", "q", "--priority", "2", "--max-attempts", "3"];
    let more = ["--timeout", "1m30s", "--in", "2h", "--unique", "key", "--header", "a=b=c", "--tag", "t"];
    let mut command = place.command(&[&args[..], &more[..]].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"[1,\n 2]\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let job = &place.work(&["jobs", "show", "--json", &id]).ok().json()[0];
    let kept = ["queue", "priority", "max_attempts", "timeout_ms", "unique_key", "headers", "tags", "args"];
    let kept: Vec<&Value> = kept.iter().map(|name| &job[name]).collect();
    assert_eq!(json!(kept), json!(["q", 2, 3, 90_000, "key", { "a": "b=c" }, ["t"], [1, 2]]));
    let again = place.work(&["jobs", "enqueue", "mail", "--unique", "key", "--json"]).ok();
    assert_eq!(again.json(), [json!({ "id": id, "outcome": "duplicate" })]);
    assert!(again.err.contains("none was added"));
}

#[test]
fn enqueue_refuses_what_no_store_would_take() {
    let Some(place) = Place::new() else { return };
    for (args, why) in [
        (vec!["a b"], "U+0020"),
        (vec!["k", "--args", "Ann"], "--args is no JSON"),
        (vec!["k", "--priority", "10"], "use 0 to 9"),
        (vec!["k", "--max-attempts", "0"], "use 1 to 1000"),
        (vec!["k", "--in", "soon"], "90s, 2h"),
        (vec!["k", "--at", "tomorrow"], "2026-11-21T09:30:00Z"),
        (vec!["k", "--in", "1h", "--at", "2026-11-21"], "cannot be used with"),
        (vec!["k", "--tag", "a b"], "invalid tag name"),
        (vec!["k", "--header", "no value"], "name=value"),
        (vec!["k", "--expires-at", "2020-01-01", "--at", "2021-01-01"], "an instant after it is due"),
        (vec!["k", "--in", "99999999999999ms"], "at most ten years from now"),
        (vec!["k", "--timeout", "0s"], "timeout"),
    ] {
        place.work(&[&["jobs", "enqueue"], &args[..]].concat()).refused(2, why);
    }
    place.work(&["jobs", "enqueue", "k", "--dry-run"]).ok();
    assert_eq!(place.work(&["jobs", "list", "--json"]).ok().out, "");
}

#[tokio::test]
async fn show_tells_all_of_a_job_and_lets_no_terminal_be_fooled() {
    let Some(place) = Place::new() else { return };
    let id = place.dead_letter("mail", "first line\nsecond \x1b[2J line").await.to_string();
    let said = place.work(&["jobs", "show", &id]).ok();
    assert!(said.err.contains(&format!("again: `work jobs retry {id}`")), "what to do next: {said:?}");
    let shown = said.out;
    for part in [&id, "discarded", "first line\n", "second \\u{1b}[2J line", "\"name\": \"Ann\"", "attempt 1 ended 500"]
    {
        assert!(shown.contains(part), "{shown} lacks {part:?}");
    }
    assert!(!shown.contains('\x1b'));
    let job = &place.work(&["jobs", "show", &id, "--json"]).ok().json()[0];
    assert_eq!(job["attempts"][0]["error"], "first line\nsecond \x1b[2J line");
    assert!(!place.work(&["jobs", "list"]).ok().out.contains('\x1b'));
}

#[tokio::test]
async fn each_change_says_what_it_did_or_why_it_did_not() {
    let Some(place) = Place::new() else { return };
    let dead = place.dead_letter("a", "x").await;
    let later = Job::new("k", ()).queue("b").scheduled_at("2100-01-01T00:00:00Z".parse().unwrap());
    let later = place.insert(vec![later]).await[0];
    let runs = place.insert(vec![Job::new("k", ()).queue("c")]).await[0];
    place.lease(runs).await;
    let [dead_id, later_id, runs_id] = [dead, later, runs].map(|id| id.to_string());
    let does = |verb: &str, id: &str| place.work(&["jobs", verb, id]);

    does("retry", &later_id).refused(1, "run-now");
    does("retry", &runs_id).refused(1, "wait for its end");
    does("delete", &runs_id).refused(1, "cancel it first");
    does("run-now", &dead_id).refused(1, "work jobs retry");
    does("cancel", &dead_id).refused(1, "ended already");
    does("edit", &runs_id).refused(2, "--args");
    place.work(&["jobs", "edit", &runs_id, "--args", "1"]).refused(1, "runs");
    place.work(&["jobs", "edit", &dead_id, "--args", "{"]).refused(2, "no JSON");

    assert!(does("run-now", &later_id).ok().out.contains("due now"));
    assert_eq!(does("cancel", &runs_id).ok().out, format!("{runs_id} asked to stop\n"));
    assert_eq!(does("cancel", &later_id).ok().out, format!("{later_id} cancelled\n"));
    assert_eq!(does("delete", &later_id).ok().out, format!("{later_id} deleted\n"));
    assert_eq!(place.state(later).await, "gone");
    let edited = place.work(&["jobs", "edit", &dead_id, "--args", r#"{"user":8}"#, "--retry"]).ok();
    assert!(edited.out.contains("is available again"), "{edited:?}");
    assert_eq!(place.state(dead).await, "available");
    let job = &place.work(&["jobs", "show", &dead_id, "--json"]).ok().json()[0];
    assert_eq!(job["args"], json!({ "user": 8 }));
}

#[tokio::test]
async fn several_ids_are_each_answered_and_one_that_is_unknown_is_3() {
    let Some(place) = Place::new() else { return };
    let dead = place.dead_letter("a", "x").await;
    let unknown = JobId::new().to_string();
    let said = place.work(&["jobs", "retry", &unknown, &dead.to_string(), "--json"]);
    let said = said.refused(3, &unknown);
    let outcomes: Vec<Value> = said.json().iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["not found", "retried"]);
    assert_eq!(place.state(dead).await, "available");
    for verb in [&["show"][..], &["cancel"], &["delete"], &["run-now"], &["retry"], &["edit", "--args", "1"]] {
        let args = [&["jobs"], verb, &[unknown.as_str()]].concat();
        place.work(&args).refused(3, &format!("no job has the id {unknown}"));
        let args = [&["jobs"], verb, &["7"]].concat();
        place.work(&args).refused(2, "36 characters");
    }
}
