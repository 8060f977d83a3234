//! A schema of an older version goes on where it was.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::time::Duration;

use support::{Place, complete, job, lease};
use work_core::JobState;
use work_core::limit::Rate;
use work_core::store::{Inspect, JobFilter, Order, Settled, Store};
use work_postgres::PostgresStore;

const FIRST: &str = include_str!("../src/sql/1_jobs.sql");

/// As version 1 left it, with a job in each state.
async fn version_1() -> Place {
    let place = Place::new();
    let other = place.other().await;
    let version = "CREATE TABLE work.work_schema (version bigint NOT NULL); INSERT INTO work.work_schema VALUES (1);";
    let schema = format!("CREATE SCHEMA {};", place.schema);
    other.run(&format!("{schema}{version}{FIRST}")).await.unwrap();
    let jobs =
        "INSERT INTO work.jobs (kind, args) SELECT 'old', convert_to(n::text, 'UTF8') FROM generate_series(1, 6) AS n;
        UPDATE work.jobs SET state = 'running', lease_until = now() + '1 hour', attempt = 1, fence = 1, worker = 'w'
            WHERE convert_from(args, 'UTF8')::integer > 1;
        WITH ended AS (
            DELETE FROM work.jobs WHERE convert_from(args, 'UTF8')::integer BETWEEN 2 AND 4 RETURNING *
        )
        INSERT INTO work.history (seq, scheduled_at, created_at, finished_at, fence, id, attempt, max_attempts, crashes,
            priority, status, state, queue, kind, args)
        SELECT seq, scheduled_at, created_at, now(), fence, id, attempt, max_attempts, crashes, priority, 200,
            (ARRAY['completed', 'discarded', 'cancelled'])[convert_from(args, 'UTF8')::integer - 1], queue, kind, args
        FROM ended;
        UPDATE work.jobs SET cancel_requested = true WHERE convert_from(args, 'UTF8') = '6'";
    other.run(jobs).await.unwrap();
    place
}

#[tokio::test]
async fn jobs_of_the_first_version_go_on_in_the_second() {
    let place = version_1().await;
    let store = place.open().await;
    let page = store.list(JobFilter::all(), Order::OldestFirst, None, 10).await.unwrap();
    let states: Vec<JobState> = page.jobs.iter().map(|stored| stored.state).collect();
    let ended = [JobState::Completed, JobState::Discarded, JobState::Cancelled];
    assert_eq!(states[1..4], ended);
    assert_eq!((states[0], states[4], states[5]), (JobState::Available, JobState::Running, JobState::Running));
    assert_eq!(store.stop_requests().await.unwrap().len(), 1);
    assert!(store.retry(page.jobs[2].job.parts.id).await.unwrap());
    let leases = lease(&store, 10).await.jobs;
    assert_eq!(leases.len(), 2);
    let settled = store.settle(leases.iter().map(complete).collect()).await.unwrap();
    assert_eq!(settled, [Settled::Done; 2]);
    assert!(store.retry(page.jobs[3].job.parts.id).await.unwrap());
    assert_eq!(place.other().await.number("SELECT version FROM work.work_schema").await, PostgresStore::SCHEMA_VERSION);
}

/// As the second and the third version left it, with a limit in the third.
#[tokio::test]
async fn jobs_of_later_versions_go_on_and_their_limits_stand() {
    let steps = [FIRST, include_str!("../src/sql/2_operate.sql"), include_str!("../src/sql/3_queues.sql")];
    for version in 2..=steps.len() {
        let place = Place::new();
        let other = place.other().await;
        let table = format!(
            "CREATE TABLE work.work_schema (version bigint NOT NULL); INSERT INTO work.work_schema VALUES ({version});"
        );
        let sql = steps[..version].concat();
        other.run(&format!("CREATE SCHEMA {};{table}{sql}", place.schema)).await.unwrap();
        other.run("INSERT INTO work.jobs (kind, args) VALUES ('a', '1'), ('b', '2'), ('c', '3')").await.unwrap();
        if version == 3 {
            other.run("INSERT INTO work.limits VALUES ('default', 2)").await.unwrap();
        }
        let store = place.open().await;
        let rate = Rate::sliding_window(1, Duration::from_secs(3_600)).unwrap();
        assert_eq!(store.declare_rate("default".into(), rate.clone()).await.unwrap(), rate);
        assert_eq!(lease(&store, 9).await.jobs.len(), 1, "version {version}");
        store.rate_queue("default".into(), None).await.unwrap();
        let rest = if version == 3 { 1 } else { 2 };
        assert_eq!(lease(&store, 9).await.jobs.len(), rest, "version {version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_may_migrate_at_once() {
    let place = version_1().await;
    let opens: Vec<_> = (0..8).map(|_| tokio::spawn(place.builder().connect())).collect();
    for open in opens {
        let store = open.await.unwrap().unwrap();
        store.insert(vec![job("new", 1)]).await.unwrap();
    }
    assert_eq!(place.open().await.counts(JobFilter::all()).await.unwrap().total(), 14);
}

#[tokio::test]
async fn a_job_enqueued_by_sql_has_its_tags() {
    let place = Place::new();
    let store = place.open().await;
    let other = place.other().await;
    for options in [r#"{"tags": ["eu", "big"]}"#, r#"{"tags": ["us"], "unique_key": "k"}"#, r#"{"tags": []}"#] {
        other.run(&format!("SELECT work.enqueue('k', '1', '{options}')")).await.unwrap();
    }
    // A duplicate adds no tag to its holder.
    other.run(r#"SELECT work.enqueue('k', '1', '{"tags": ["eu"], "unique_key": "k"}')"#).await.unwrap();
    for (tag, jobs) in [("eu", 1), ("big", 1), ("us", 1), ("none", 0)] {
        let page = store.list(JobFilter::all().tag(tag), Order::NewestFirst, None, 10).await.unwrap();
        assert_eq!(page.jobs.len(), jobs, "{tag}");
    }
    for tags in [
        r#""eu""#,
        r"[1]",
        r#"["a b"]"#,
        r#"["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]"#,
    ] {
        let error = other.run(&format!("SELECT work.enqueue('k', '1', '{{\"tags\": {tags}}}')")).await.unwrap_err();
        assert!(error.contains("at most 16 names"), "{tags}: {error}");
    }
}
