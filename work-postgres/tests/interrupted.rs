//! Calls that are broken off: the future is dropped, or the process is killed. What was asked is done whole or not at all, and
//! the next call works.
//!
//! With `WORK_FAULTS=full` there are ten times as many kills.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::fmt::Debug;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use support::{Place, complete, count, job, lease, want};
use work_core::JobState;
use work_core::store::{BoxFuture, Inserted, Inspect, JobFilter, NewJob, Settled, Store};
use work_postgres::PostgresStore;

/// Where a child process finds its schema and what it is to do; without it, the tests for children do nothing.
const SCHEMA: &str = "WORK_POSTGRES_CHILD_SCHEMA";

/// More than goes into one request.
const LARGE: usize = 12_000;

fn kills(usually: u32) -> u32 {
    if std::env::var("WORK_FAULTS").is_ok_and(|size| size == "full") { usually * 10 } else { usually }
}

/// Notes that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls a future so many times, each after it asked for that, and drops it. True if it was done by then.
async fn dropped_after<T>(polls: usize, mut future: BoxFuture<'_, T>) -> bool {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    for poll in 0..polls {
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return true;
        }
        while poll + 1 < polls && !woken.0.swap(false, Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    }
    false
}

/// Drops what `call` makes after each number of polls, up to the one that ends it. After each, `check` looks at what is there.
async fn at_every_poll<'s, I: Debug>(
    name: &str,
    prepare: impl AsyncFn() -> I,
    call: impl Fn(&I) -> BoxFuture<'s, bool>,
    check: impl AsyncFn(&I),
) {
    for polls in 0..1_000 {
        let input = prepare().await;
        let done = dropped_after(polls, call(&input)).await;
        check(&input).await;
        if done {
            println!("{name}: dropped after each of {polls} polls");
            assert!(polls > 1, "{name} is done at once, so nothing was dropped");
            return;
        }
    }
    panic!("{name} has no end");
}

fn batch(jobs: usize) -> Vec<NewJob> {
    (0..jobs).map(|n| job("greet", n)).collect()
}

/// One connection: who comes next has that which the dropped call used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_at_any_poll_a_call_is_whole_or_nothing_and_harms_nobody() {
    let place = Place::new();
    let store = &place.builder().pool_size(1).connect().await.unwrap();
    for jobs in [1, 3, LARGE] {
        let insert = |batch: &Vec<NewJob>| {
            let insert = store.insert(batch.clone());
            Box::pin(async { insert.await.is_ok() }) as BoxFuture<'_, bool>
        };
        at_every_poll(
            "insert",
            async || batch(jobs),
            insert,
            async |batch| {
                let answers = store.insert(batch.clone()).await.unwrap();
                let new = answers.iter().filter(|answer| matches!(answer, Inserted::New(_))).count();
                assert!(new == 0 || new == jobs, "{new} of {jobs} were not there");
            },
        )
        .await;
    }
    let all = || store.counts(JobFilter::all());
    let before = all().await.unwrap().total();

    let leases = |_: &()| {
        let call = store.lease(want(5));
        Box::pin(async { call.await.is_ok() }) as BoxFuture<'_, bool>
    };
    let none = async || ();
    at_every_poll("lease", none, leases, async |()| assert_eq!(all().await.unwrap().total(), before)).await;

    let leased = async || lease(store, 5).await.jobs;
    let settles = |leases: &Vec<_>| {
        let call = store.settle(leases.iter().map(complete).collect());
        Box::pin(async { call.await.is_ok() }) as BoxFuture<'_, bool>
    };
    at_every_poll("settle", leased, settles, async |leases| {
        let done = count(store, JobState::Completed).await;
        let again = store.settle(leases.iter().map(complete).collect()).await.unwrap();
        let fresh = again.iter().filter(|answer| **answer == Settled::Done).count();
        assert!(fresh == 0 || fresh == leases.len(), "{again:?}");
        // The dropped one was on its way when they were counted, or is done.
        assert!(count(store, JobState::Completed).await - done <= leases.len() as u64);
    })
    .await;

    let extends = |leases: &Vec<work_core::store::Lease>| {
        let call = store.extend(leases.iter().map(|lease| lease.key).collect(), Duration::from_secs(60));
        Box::pin(async { call.await.is_ok() }) as BoxFuture<'_, bool>
    };
    at_every_poll("extend", leased, extends, async |leases| {
        let keys: Vec<_> = leases.iter().map(|lease| lease.key).collect();
        assert_eq!(store.extend(keys.clone(), Duration::from_secs(60)).await.unwrap().len(), keys.len());
    })
    .await;

    let cancels = |batch: &Vec<NewJob>| {
        let call = store.cancel(batch.iter().map(|job| job.parts.id).collect());
        Box::pin(async { call.await.is_ok() }) as BoxFuture<'_, bool>
    };
    let inserted = async || {
        let batch = batch(20);
        store.insert(batch.clone()).await.unwrap();
        batch
    };
    at_every_poll("cancel", inserted, cancels, async |batch| {
        store.cancel(batch.iter().map(|job| job.parts.id).collect()).await.unwrap();
        let ids = batch.iter().map(|job| store.get(job.parts.id));
        for stored in futures_util::future::join_all(ids).await {
            assert_eq!(stored.unwrap().unwrap().state, JobState::Cancelled);
        }
    })
    .await;

    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND query LIKE '%";
    let sessions = format!("{sessions}{}%'", place.schema);
    assert_eq!(place.other().await.number(&sessions).await, 0, "no session is left in a transaction");
}

/// Runs one test of this program again, in a process of its own.
fn child(test: &str, schema: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(SCHEMA, schema).stdout(Stdio::piped()).stderr(Stdio::null());
    child.spawn().unwrap()
}

/// The place of a child process, if this is one; and says that it begins.
fn of_a_child() -> Option<Place> {
    let schema = std::env::var(SCHEMA).ok()?;
    Some(Place { schema, url: support::url() })
}

fn begin() {
    println!("begins");
}

/// Waits until the child begins.
fn begun(child: &mut Child) {
    use std::io::BufRead;
    let lines = std::io::BufReader::new(child.stdout.as_mut().unwrap()).lines();
    lines.map_while(Result::ok).find(|line| line.contains("begins")).expect("it begins");
}

fn kill(mut child: Child) -> bool {
    child.kill().unwrap();
    child.wait().unwrap().success()
}

#[tokio::test]
async fn child_that_inserts() {
    let Some(place) = of_a_child() else { return };
    let store = place.open().await;
    let jobs = batch(LARGE);
    begin();
    store.insert(jobs).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_batch_whose_process_is_killed_is_there_whole_or_not_at_all() {
    let place = Place::new();
    drop(place.open().await);
    let kills = kills(10);
    let mut whole = child("child_that_inserts", &place.schema);
    begun(&mut whole);
    let since = Instant::now();
    assert!(whole.wait().unwrap().success());
    let takes = since.elapsed();
    let (mut kept, mut lost) = (0, 0);
    place.other().await.run("TRUNCATE work.jobs").await.unwrap();
    for n in 0..kills {
        let mut process = child("child_that_inserts", &place.schema);
        begun(&mut process);
        tokio::time::sleep(takes.mul_f64(1.1 * f64::from(n + 1) / f64::from(kills))).await;
        kill(process);
        // What the server has of it, it goes on with.
        let busy = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid() AND query LIKE '%{}%'",
            place.schema
        );
        let other = place.other().await;
        while other.number(&busy).await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let total = other.number("SELECT count(*) FROM work.jobs").await;
        assert!(total == 0 || total == LARGE as i64, "after kill {n}: {total} of {LARGE} jobs");
        *(if total > 0 { &mut kept } else { &mut lost }) += 1;
        other.run("TRUNCATE work.jobs").await.unwrap();
    }
    println!("{kills} kills: {kept} batches are there, {lost} are not");
    assert!(lost > 0, "no kill came in time");
}

#[tokio::test]
async fn child_that_opens() {
    let Some(place) = of_a_child() else { return };
    begin();
    place.open().await;
}

const FIRST: &str = include_str!("../src/sql/1_jobs.sql");

/// How many jobs the schema of an older program has: its migration takes a while.
const OLD_JOBS: u64 = 20_000;

async fn old() -> Place {
    let place = Place::new();
    let version = "CREATE TABLE work.work_schema (version bigint NOT NULL); INSERT INTO work.work_schema VALUES (1);";
    let jobs = format!(
        "INSERT INTO work.jobs (kind, args) SELECT 'old', convert_to(n::text, 'UTF8') FROM generate_series(1, {OLD_JOBS}) AS n"
    );
    let sql = format!("CREATE SCHEMA {};{version}{FIRST};{jobs}", place.schema);
    place.other().await.run(&sql).await.unwrap();
    place
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_is_killed_at_any_moment_is_done_by_the_next_process() {
    let kills = kills(10);
    let time_of = async |place: &Place| {
        let mut whole = child("child_that_opens", &place.schema);
        begun(&mut whole);
        let since = Instant::now();
        assert!(whole.wait().unwrap().success());
        since.elapsed()
    };
    let (whole, whole_new) = (time_of(&old().await).await, time_of(&Place::new()).await);
    let mut done = [0_u32; 3];
    for n in 0..kills {
        // From the start on, evenly, and every other one of a schema that is made anew.
        let is_old = n % 2 == 0;
        let (place, jobs, whole) = if is_old { (old().await, OLD_JOBS, whole) } else { (Place::new(), 0, whole_new) };
        let mut process = child("child_that_opens", &place.schema);
        begun(&mut process);
        tokio::time::sleep(whole.mul_f64(f64::from(n + 1) / f64::from(kills))).await;
        let ended = kill(process);
        let found = version(&place).await;
        let first = i64::from(is_old);
        assert!(found == first || found == PostgresStore::SCHEMA_VERSION, "after kill {n}: half a migration: {found}");
        let at = if found == first { 0 } else { 1 + usize::from(ended) };
        done[at] += 1;
        let store = place.builder().connect().await.unwrap_or_else(|error| panic!("after kill {n}: {error}"));
        assert_eq!(store.counts(JobFilter::all()).await.unwrap().total(), jobs);
        store.insert(batch(1)).await.unwrap();
        assert_eq!(store.counts(JobFilter::all()).await.unwrap().open(), jobs + 1);
        assert_eq!(version(&place).await, PostgresStore::SCHEMA_VERSION);
        place.other().await.run(&format!("DROP SCHEMA {} CASCADE", place.schema)).await.unwrap();
    }
    println!(
        "{kills} kills: {} left the tables as they were, {} had been done, {} came too late",
        done[0], done[1], done[2]
    );
    assert!(done[0] > 0, "no kill came in time");
}

/// 0 without tables.
async fn version(place: &Place) -> i64 {
    let other = place.other().await;
    let table = format!("SELECT count(*) FROM pg_class WHERE oid = to_regclass('{}.work_schema')", place.schema);
    if other.number(&table).await == 0 {
        return 0;
    }
    other.number("SELECT coalesce(max(version), 0)::bigint FROM work.work_schema").await
}
