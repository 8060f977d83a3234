//! Queues, schedules, workers, and the store as a whole.

use std::time::Duration;

use serde_json::{Value, json};
use work_core::store::{StoredSchedule, WorkerInfo};
use work_core::{DEFAULT_MAX_ARGS, Job, Queue, QueueWorker, Router, Schedule};

use crate::place::Place;

fn one(place: &Place, args: &[&str]) -> Value {
    place.work(&[args, &["--json"]].concat()).ok().json().remove(0)
}

#[tokio::test]
async fn a_queue_is_paused_and_resumed_and_one_that_is_misspelt_is_3() {
    let Some(place) = Place::new() else { return };
    place.dead_letter("mail", "x").await;
    place.insert(vec![Job::new("k", ()).queue("mail")]).await;
    assert_eq!(
        one(&place, &["queues", "pause", "mail"]),
        json!({ "queue": "mail", "outcome": "paused", "changed": true })
    );
    assert_eq!(place.work(&["queues", "pause", "mail"]).ok().out, "queue mail paused already\n");
    let listed = one(&place, &["queues", "list"]);
    assert_eq!((&listed["available"], &listed["discarded"], &listed["running"]), (&json!(1), &json!(1), &json!(0)));
    assert!(listed["paused_at"].is_string() && listed["oldest_ready_ms"].is_u64());
    assert!(
        place.work(&["doctor"]).ok().out.contains("[warn] queue: mail is paused, with 1 job; work queues resume mail")
    );
    assert_eq!(place.work(&["queues", "resume", "mail"]).ok().out, "queue mail resumed\n");
    for verb in ["pause", "resume"] {
        place.work(&["queues", verb, "mial"]).refused(3, "did you mean `mail`?");
        place.work(&["queues", verb, "a b"]).refused(2, "invalid queue name");
        place.work(&["queues", verb]).refused(2, "<QUEUE>");
    }
    place.work(&["queues", "pause", "later", "--force"]).ok();
    let table = place.work(&["queues", "list"]).ok().out;
    assert!(table.starts_with("QUEUE") && table.contains("later") && table.contains("ago"), "{table}");
}

#[tokio::test]
async fn a_queue_is_limited_and_what_limits_it_is_listed() {
    let Some(place) = Place::new() else { return };
    place.insert(vec![Job::new("k", ()).queue("mail"), Job::new("k", ()).queue("mail")]).await;
    let said = place.work(&["queues", "limit", "mail", "1"]).ok();
    assert_eq!(said.out, "queue mail: at most 1 at once now, before any number\n");
    assert_eq!(place.work(&["queues", "limit", "mail", "1"]).ok().out, "queue mail: at most 1 at once already\n");
    assert_eq!(one(&place, &["queues", "list"])["at_most"], 1);
    let want = work_core::store::Want { queues: vec!["mail".into()], limit: 9, ..work_core::store::Want::default() };
    let want = work_core::store::Want { lease_for: Duration::from_secs(60), worker: "w".into(), ..want };
    assert_eq!(place.store().await.lease(want).await.unwrap().jobs.len(), 1, "the limit holds");
    assert_eq!(
        one(&place, &["queues", "limit", "mail", "none"]),
        json!({ "queue": "mail", "at_most": null, "before": 1, "changed": true })
    );
    assert_eq!(one(&place, &["queues", "list"])["at_most"], Value::Null);
    for number in ["0", "-1", "many", "4294967296", ""] {
        place.work(&["queues", "limit", "mail", number]).refused(2, "");
    }
    place.work(&["queues", "limit", "mail", "0"]).refused(2, "from 1 to 4294967295, or none");
    place.work(&["queues", "limit", "mail"]).refused(2, "N|none");
    place.work(&["queues", "limit", "mial", "3"]).refused(3, "did you mean `mail`?");
    place.work(&["queues", "limit", "mial", "3", "--force"]).ok();
}

#[tokio::test]
async fn a_queue_has_a_capacity_and_what_does_not_fit_is_refused() {
    let Some(place) = Place::new() else { return };
    place.insert(vec![Job::new("k", ()).queue("mail")]).await;
    let said = place.work(&["queues", "bound", "mail", "2"]).ok();
    assert_eq!(said.out, "queue mail: 2 jobs may wait or run now, before any number of jobs\n");
    assert_eq!(one(&place, &["queues", "list"])["capacity"], 2);
    place.work(&["jobs", "enqueue", "k", "--queue", "mail"]).ok();
    let refused = "queue mail is full: 2 of its 2 jobs wait or run, and 1 more do not fit";
    place.work(&["jobs", "enqueue", "k", "--queue", "mail"]).refused(1, refused);
    assert_eq!(
        one(&place, &["queues", "bound", "mail", "none"]),
        json!({ "queue": "mail", "capacity": null, "before": 2, "changed": true })
    );
    place.work(&["jobs", "enqueue", "k", "--queue", "mail"]).ok();
    for number in ["0", "10000001", "many"] {
        place.work(&["queues", "bound", "mail", number]).refused(2, "from 1 to 10000000, or none");
    }
    place.work(&["queues", "bound", "mial", "3"]).refused(3, "did you mean `mail`?");
}

#[tokio::test]
async fn a_schedule_is_run_paused_resumed_and_removed() {
    let Some(place) = Place::new() else { return };
    let job = Job::new("report", 7).queue("slow").into_stored(DEFAULT_MAX_ARGS).unwrap();
    let schedule = Schedule::cron("30 2 * * *", "Europe/Berlin").unwrap();
    let store = place.store().await;
    store.put_schedule(StoredSchedule::of("nightly", job, &schedule)).await.unwrap();
    let listed = one(&place, &["schedules", "list"]);
    assert_eq!((&listed["name"], &listed["schedule"]), (&json!("nightly"), &json!("30 2 * * * Europe/Berlin")));
    assert_eq!(listed["next"].as_array().unwrap().len(), 5);
    assert!(place.work(&["schedules", "list"]).ok().out.contains("30 2 * * * Europe/Berlin"));

    let id = place.work(&["schedules", "run", "nightly"]).ok().out;
    let made = one(&place, &["jobs", "show", id.trim()]);
    assert_eq!((&made["kind"], &made["args"], &made["queue"]), (&json!("report"), &json!(7), &json!("slow")));
    assert_eq!(place.work(&["schedules", "pause", "nightly"]).ok().out, "schedule nightly paused\n");
    assert_eq!(place.work(&["schedules", "pause", "nightly"]).ok().out, "schedule nightly paused already\n");
    assert!(store.schedules().await.unwrap()[0].paused_at.is_some());
    assert_eq!(place.work(&["schedules", "resume", "nightly"]).ok().out, "schedule nightly resumed\n");
    for verb in ["run", "pause", "resume", "remove"] {
        place.work(&["schedules", verb, "nigthly"]).refused(3, "did you mean `nightly`?");
    }
    assert_eq!(one(&place, &["schedules", "remove", "nightly"])["outcome"], "removed");
    assert_eq!(place.work(&["schedules", "list", "--json"]).ok().out, "");
}

#[tokio::test]
async fn workers_that_are_up_are_listed_and_enqueue_notes_a_queue_that_none_of_them_drains() {
    let Some(place) = Place::new() else { return };
    assert!(place.work(&["workers", "list"]).ok().err.contains("No worker"));
    let builder = QueueWorker::builder(place.store().await, Router::new()).queues(["mail", "fax"]).concurrency(7);
    let worker = builder.version("1.2.3").build().unwrap();
    let looked = async {
        while place.work(&["workers", "list", "--json"]).ok().out.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let worker = one(&place, &["workers", "list"]);
        assert_eq!((&worker["slots"], &worker["version"]), (&json!(7), &json!("1.2.3")));
        assert_eq!(worker["queues"], json!(["mail", "fax"]));
        assert!(place.work(&["workers", "list"]).ok().out.contains("mail,fax"));
        let noted = place.work(&["jobs", "enqueue", "k", "--queue", "mial"]).ok();
        assert!(noted.err.contains("did you mean `mail`?"), "{noted:?}");
        assert!(place.work(&["doctor"]).ok().out.contains("mial has jobs that are due, and no worker drains it"));
    };
    tokio::time::timeout(Duration::from_secs(60), worker.run_until(looked)).await.unwrap().unwrap();
}

#[tokio::test]
async fn stats_and_top_count_what_is_there() {
    let Some(place) = Place::new() else { return };
    place.dead_letter("mail", "no \x07paper").await;
    place.insert(vec![Job::new("k", ()), Job::new("k", ())]).await;
    let stats = one(&place, &["stats"]);
    let kind = if place.server().is_some() { "postgres" } else { "sqlite" };
    assert_eq!(stats["jobs"], json!({ "available": 2, "running": 0, "completed": 0, "discarded": 1, "cancelled": 0 }));
    assert_eq!((stats["queues"].as_array().unwrap().len(), &stats["store"]), (2, &json!(kind)));
    assert!(place.work(&["stats"]).ok().out.contains("2 available"));
    let top = place.work(&["top"]).ok().out;
    assert!(top.contains("1 discarded") && top.contains("no \\u{7}paper") && !top.contains('\x1b'), "{top}");
    assert_eq!(one(&place, &["top"])["jobs"], stats["jobs"]);
    place.work(&["top", "--every", "1ms"]).refused(2, "100ms or more");
}

#[tokio::test]
async fn doctor_is_content_with_a_store_in_order() {
    let Some(place) = Place::new() else { return };
    place.store().await.beat(WorkerInfo::new("w")).await.unwrap();
    let said = place.work(&["doctor"]).ok();
    assert!(said.out.lines().all(|line| line.starts_with("[ok] ")), "{}", said.out);
    assert_eq!(said.err, "");
    let checks = place.work(&["doctor", "--json"]).ok().json();
    let names: Vec<&str> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
    let own = if place.server().is_some() { ["server", "clock skew"] } else { ["integrity", "library"] };
    for name in ["store", "schema", "durability", "clock", "leases", "ready", "dead letters"].into_iter().chain(own) {
        assert!(names.contains(&name), "{names:?} lack {name}");
    }
}

#[test]
fn bench_prints_rates_and_leaves_nothing_behind() {
    let Some(place) = Place::new() else { return };
    let rates = one(&place, &["bench", "--jobs", "300"]);
    assert_eq!(rates["jobs"], 300);
    assert!(rates["insert_per_second"].as_f64().unwrap() > 0.0 && rates["drain_per_second"].as_f64().unwrap() > 0.0);
    assert!(place.work(&["bench", "--jobs", "10"]).ok().out.contains("jobs a second"));
    place.work(&["bench", "--jobs", "0"]).refused(2, "1..=10000000");
    if place.server().is_none() {
        place.work(&["bench", "--folder", "/no/such"]).refused(4, "give another --folder");
    }
    let left: Vec<_> = std::fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with("jobs.db")), "{left:?}");
    assert_eq!(place.work(&["jobs", "list", "--json"]).ok().out, "", "the store itself is not touched");
}

#[tokio::test]
async fn a_paused_queue_holds_back_what_the_command_enqueues() {
    let Some(place) = Place::new() else { return };
    place.pause("default").await;
    place.work(&["jobs", "enqueue", "k"]).ok();
    assert_eq!(place.store().await.queues().await.unwrap()[0].queue, Queue::DEFAULT);
}
