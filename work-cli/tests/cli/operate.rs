//! Queues, schedules, workers, and the store as a whole.

use std::time::Duration;

use serde_json::{Value, json};
use work_core::store::{Inspect, Store, StoredSchedule, WorkerInfo};
use work_core::{DEFAULT_MAX_ARGS, Job, Queue, QueueWorker, Router, Schedule};

use crate::place::Place;

fn one(place: &Place, args: &[&str]) -> Value {
    place.work(&[args, &["--json"]].concat()).ok().json().remove(0)
}

#[tokio::test]
async fn a_queue_is_paused_and_resumed_and_one_that_is_misspelt_is_3() {
    let place = Place::new();
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
async fn a_schedule_is_run_paused_resumed_and_removed() {
    let place = Place::new();
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
    let place = Place::new();
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
    let place = Place::new();
    place.dead_letter("mail", "no \x07paper").await;
    place.insert(vec![Job::new("k", ()), Job::new("k", ())]).await;
    let stats = one(&place, &["stats"]);
    assert_eq!(stats["jobs"], json!({ "available": 2, "running": 0, "completed": 0, "discarded": 1, "cancelled": 0 }));
    assert_eq!((stats["queues"].as_array().unwrap().len(), &stats["store"]), (2, &json!("sqlite")));
    assert!(place.work(&["stats"]).ok().out.contains("2 available"));
    let top = place.work(&["top"]).ok().out;
    assert!(top.contains("1 discarded") && top.contains("no \\u{7}paper") && !top.contains('\x1b'), "{top}");
    assert_eq!(one(&place, &["top"])["jobs"], stats["jobs"]);
    place.work(&["top", "--every", "1ms"]).refused(2, "100ms or more");
}

#[tokio::test]
async fn doctor_is_content_with_a_store_in_order() {
    let place = Place::new();
    place.store().await.beat(WorkerInfo::new("w")).await.unwrap();
    let said = place.work(&["doctor"]).ok();
    assert!(said.out.lines().all(|line| line.starts_with("[ok] ")), "{}", said.out);
    assert_eq!(said.err, "");
    let checks = place.work(&["doctor", "--json"]).ok().json();
    let names: Vec<&str> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
    for name in ["store", "schema", "durability", "integrity", "clock", "leases", "ready", "dead letters"] {
        assert!(names.contains(&name), "{names:?} lack {name}");
    }
}

#[tokio::test]
async fn doctor_names_what_is_wrong_and_what_to_do() {
    let place = Place::new();
    place.dead_letter("mail", "x").await;
    let runs = place.insert(vec![Job::new("k", ()).queue("a")]).await[0];
    place.lease(runs).await;
    let waits = place.insert(vec![Job::new("k", ()).queue("b")]).await[0];
    let sql = rusqlite::Connection::open(place.file()).unwrap();
    let ago = |table: &str, column: &str, id: work_core::JobId, by: i64| {
        let change = format!("UPDATE {table} SET {column} = {column} + ?1 WHERE id = ?2");
        assert_eq!(sql.execute(&change, (by, id.as_uuid().as_bytes().as_slice())).unwrap(), 1);
    };
    ago("jobs", "lease_until", runs, -3_600_000);
    ago("jobs", "scheduled_at", waits, -3_600_000);
    let said = place.work(&["doctor"]).ok();
    for part in [
        "[warn] leases: 1 lease expired, of 1 job running",
        "[warn] ready: the oldest job that is due waits 1h",
        "[warn] dead letters: 1 job; see `work jobs list --state discarded`",
        "[warn] workers: none was heard of in the last minute; start",
    ] {
        assert!(said.out.contains(part), "{} lacks {part}", said.out);
    }
    ago("jobs", "created_at", waits, 3_600_000);
    assert!(place.work(&["doctor"]).refused(1, "failed").out.contains("[fail] clock: "));
    ago("jobs", "created_at", waits, -3_600_000);
    sql.pragma_update(None, "journal_mode", "delete").unwrap();
    // Opening sets it again, so there is nothing to see by then.
    assert!(place.work(&["doctor"]).ok().out.contains("[ok] durability"));
}

#[tokio::test]
async fn doctor_finds_a_damaged_database() {
    let place = Place::new();
    place.insert((0..2_000).map(|n| Job::new("k", n)).collect()).await;
    let sql = rusqlite::Connection::open(place.file()).unwrap();
    sql.execute_batch(
        "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'jobs_leases')
            WHERE name = 'jobs_ready';",
    )
    .unwrap();
    drop(sql);
    let said = place.work(&["doctor"]);
    assert!(said.code == 1 || said.code == 4, "{said:?}");
    assert!(said.out.contains("[fail]"), "{said:?}");
}

#[test]
fn bench_prints_rates_and_leaves_nothing_behind() {
    let place = Place::new();
    let rates = one(&place, &["bench", "--jobs", "300"]);
    assert_eq!(rates["jobs"], 300);
    assert!(rates["insert_per_second"].as_f64().unwrap() > 0.0 && rates["drain_per_second"].as_f64().unwrap() > 0.0);
    assert!(place.work(&["bench", "--jobs", "10"]).ok().out.contains("jobs a second"));
    place.work(&["bench", "--jobs", "0"]).refused(2, "1..=10000000");
    place.work(&["bench", "--folder", "/no/such"]).refused(4, "give another --folder");
    let left: Vec<_> = std::fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with("jobs.db")), "{left:?}");
    assert_eq!(place.work(&["jobs", "list", "--json"]).ok().out, "", "the store itself is not touched");
}

#[tokio::test]
async fn a_paused_queue_holds_back_what_the_command_enqueues() {
    let place = Place::new();
    place.pause("default").await;
    place.work(&["jobs", "enqueue", "k"]).ok();
    assert_eq!(place.store().await.queues().await.unwrap()[0].queue, Queue::DEFAULT);
}
