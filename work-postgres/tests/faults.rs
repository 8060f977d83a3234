//! Connections that break, servers that die, statements that hang.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "../../xtask/src/server.rs"]
#[allow(dead_code, reason = "the rest is for `cargo xtask test`")]
mod server;
mod support;

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use server::Server;
use support::{Place, complete, count, in_state, job, lease, want};
use work_core::runner::Runner;
use work_core::store::{Inserted, Inspect, JobFilter, NewJob, Settle, Settled, Settlement, Store};
use work_core::{Clock, JobId, JobState, Router};
use work_postgres::OpenError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_connections_never_lease_one_job_twice() {
    let mut place = Place::new();
    // Whatever the default of the database is.
    place.url += "?options=-c%20default_transaction_isolation%3Dserializable";
    let store = place.open().await;
    store.insert((0..4_000).map(|n| job("greet", n)).collect()).await.unwrap();
    let mut leasers = Vec::new();
    for _ in 0..8 {
        let store = place.builder().pool_size(1).connect().await.unwrap();
        leasers.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let jobs = lease(&store, 13).await.jobs;
                if jobs.is_empty() {
                    return mine;
                }
                let answers = store.settle(jobs.iter().map(complete).collect()).await.unwrap();
                assert!(answers.iter().all(|answer| *answer == work_core::store::Settled::Done));
                mine.extend(jobs.into_iter().map(|lease| lease.key.id));
            }
        }));
    }
    let mut all = Vec::new();
    for leaser in leasers {
        all.extend(leaser.await.unwrap());
    }
    assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (4_000, 4_000));
    assert_eq!(count(&store, JobState::Completed).await, 4_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_unknown_and_safe_to_repeat() {
    let place = Place::new();
    let store = place.open().await;
    let other = place.other().await;
    let one = job("greet", 1);
    other.run("BEGIN; LOCK TABLE work.jobs IN EXCLUSIVE MODE").await.unwrap();
    let insert = tokio::spawn({
        let (store, one) = (store.clone(), one.clone());
        async move { store.insert(vec![one]).await }
    });
    let waiting = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND query LIKE '%{}%'",
        place.schema
    );
    let killer = place.other().await;
    while killer.number(&waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let error = insert.await.unwrap().unwrap_err();
    assert!(error.is_unknown() && error.to_string().contains("no answer to `insert`"), "{error}");
    other.run("COMMIT").await.unwrap();
    for _ in 0..2 {
        let answer = store.insert(vec![one.clone()]).await.unwrap()[0];
        assert_eq!(answer.id(), one.parts.id);
    }
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_hangs_ends_at_its_deadline_by_name_and_the_next_one_works() {
    let place = Place::new();
    // The tables take longer than that to make, on a busy machine.
    drop(place.open().await);
    let store = place.builder().call_deadline(Duration::from_millis(500)).connect().await.unwrap();
    let other = place.other().await;
    other.run("BEGIN; LOCK TABLE work.jobs IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // More calls than there are connections.
    let calls: Vec<_> = (0..6)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                match n % 3 {
                    0 => store.insert(vec![job("greet", n)]).await.map(drop),
                    1 => store.lease(want(1)).await.map(drop),
                    _ => store.counts(JobFilter::default()).await.map(drop),
                }
            })
        })
        .collect();
    for call in calls {
        let error = call.await.unwrap().unwrap_err().to_string();
        assert!(["`insert`", "`lease`", "`counts`"].iter().any(|name| error.contains(name)), "{error}");
        assert!(error.contains("within 500ms"), "{error}");
    }
    other.run("COMMIT").await.unwrap();
    let inserted = store.insert(vec![job("greet", 9)]).await.unwrap();
    assert!(matches!(inserted[0], Inserted::New(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_refuses_is_rejected_alone() {
    let place = Place::new();
    let store = place.open().await;
    let sql = "CREATE FUNCTION work.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
        CREATE TRIGGER no BEFORE INSERT ON work.jobs FOR EACH ROW WHEN (NEW.kind = 'refused') EXECUTE FUNCTION work.no();";
    place.other().await.run(sql).await.unwrap();
    let inserts: Vec<_> = (0..200)
        .map(|n| {
            let store = store.clone();
            let kind = if n % 50 == 7 { "refused" } else { "greet" };
            tokio::spawn(async move { store.insert(vec![job(kind, n)]).await })
        })
        .collect();
    let mut refused = 0;
    for insert in inserts {
        if let Err(error) = insert.await.unwrap() {
            assert!(!error.is_unknown() && error.to_string().contains("not this one"), "{error}");
            refused += 1;
        }
    }
    assert_eq!((refused, store.counts(JobFilter::default()).await.unwrap().total()), (4, 196));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_insert_is_whole_or_nothing_and_harms_nobody() {
    let place = Place::new();
    let store = place.open().await;
    let batches: Vec<Vec<NewJob>> = (0..30).map(|n| vec![job("a", n), job("b", n)]).collect();
    for (polls, batch) in batches.iter().enumerate() {
        let mut insert = store.insert(batch.clone());
        for _ in 0..polls % 4 {
            if poll_fn(|cx| Poll::Ready(insert.as_mut().poll(cx).is_ready())).await {
                break;
            }
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }
    for batch in batches {
        let answers = store.insert(batch.clone()).await.unwrap();
        let new = answers.iter().filter(|answer| matches!(answer, Inserted::New(_))).count();
        assert!(new == 0 || new == 2, "{answers:?}");
    }
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 60);
}

#[tokio::test]
async fn a_handler_that_blocks_the_only_thread_keeps_its_lease() {
    let place = Place::new();
    let store = place.open().await;
    let inserted = store.insert(vec![job("block", 1)]).await.unwrap();
    let handler = async || std::thread::sleep(Duration::from_secs(4));
    let done = Arc::new(AtomicBool::new(false));
    let ended = done.clone();
    let handler = move || {
        let (handler, ended) = (handler, ended.clone());
        async move {
            handler().await;
            ended.store(true, Ordering::SeqCst);
        }
    };
    // Another process, which would take over what nobody extends.
    let (stop, stopped) = std::sync::mpsc::sync_channel(1);
    let thief = {
        let builder = place.builder();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let store = builder.connect().await.unwrap();
                let mut rescued = 0;
                while stopped.try_recv().is_err() {
                    rescued += store.rescue(10, 3).await.unwrap().available;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                rescued
            })
        })
    };
    let runner = Runner::new(Arc::new(store.clone()), Router::new().route("block", handler));
    let until = async {
        while !done.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let report = runner.lease_for(Duration::from_secs(2)).run_until(until).await.unwrap();
    stop.send(()).unwrap();
    assert_eq!((thief.join().unwrap(), report.performed, report.stale), (0, 1, 0));
    assert_eq!(store.get(inserted[0].id()).await.unwrap().unwrap().state, JobState::Completed);
}

/// A server of this test's own.
fn own_server() -> Option<Server> {
    support::url();
    let bin = Server::find()?;
    Some(Server::start(&bin).expect("the server starts"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_flush_is_refused_unless_that_is_asked_for() {
    let Some(server) = own_server() else { return };
    let place = Place::at(server.url());
    let other = place.other().await;
    other.run("ALTER SYSTEM SET fsync = off").await.unwrap();
    other.run("SELECT pg_reload_conf()").await.unwrap();
    let mut opened = place.builder().connect().await;
    for _ in 0..100 {
        if opened.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        opened = place.builder().connect().await;
    }
    let error = opened.unwrap_err();
    assert!(matches!(&error, OpenError::NotDurable { setting: "fsync", .. }), "{error:?}");
    let store = place.builder().durability(work_postgres::Durability::ProcessDeath).connect().await.unwrap();
    store.insert(vec![job("greet", 1)]).await.unwrap();
    assert!(in_state(&store, JobState::Available).await.len() == 1);
}

type Start = (JobId, DateTime<Utc>);

/// The clock of the server says what is due and how long leases last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_own_clock_jumps_by_hours_loses_doubles_and_hastens_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let own = Clock::manual(Clock::system().now());
    let started: Arc<Mutex<Vec<Start>>> = Arc::default();
    let log = started.clone();
    let handler = move |id: JobId| {
        log.lock().unwrap().push((id, Clock::system().now()));
        // Longer than a lease, which has to be extended meanwhile.
        tokio::time::sleep(Duration::from_millis(2_500))
    };
    let runner = Runner::new(Arc::new(store.clone()), Router::new().route("greet", handler)).clock(own.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let until = async { drop(stopped.await) };
    let running = tokio::spawn(runner.concurrency(200).lease_for(Duration::from_secs(2)).run_until(until));
    let (mut due, mut slowest) = (HashMap::new(), Duration::ZERO);
    for hours in [6, -12, 6, -1, 1] {
        own.set(own.now() + TimeDelta::hours(hours));
        let (now, before) = (Clock::system().now(), started.lock().unwrap().len());
        let jumped = Instant::now();
        let mut jobs: Vec<NewJob> = (0..10).map(|n| job("greet", n)).collect();
        for (n, job) in jobs.iter_mut().enumerate() {
            // Half of them at once, and half of them later.
            let later = TimeDelta::milliseconds(if n % 2 == 0 { 0 } else { 1_500 });
            job.parts.scheduled_at = (n % 2 == 1).then_some(now + later);
            due.insert(job.parts.id, now + later);
        }
        store.insert(jobs).await.unwrap();
        while started.lock().unwrap().len() < before + 5 {
            assert!(jumped.elapsed() < Duration::from_secs(10), "nothing is performed after a jump of {hours} h");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        slowest = slowest.max(jumped.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let drained = async {
        while store.counts(JobFilter::default()).await.unwrap().open() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), drained).await.expect("drained");
    drop(stop);
    assert_eq!(running.await.unwrap().unwrap().stale, 0);
    let started = started.lock().unwrap().clone();
    assert_eq!((started.len(), count(&store, JobState::Completed).await), (due.len(), due.len() as u64));
    for (id, at) in &started {
        // Both clocks are of this machine; the store keeps milliseconds.
        assert!(*at + TimeDelta::milliseconds(2) >= due[id], "{id} started {} early", due[id] - *at);
    }
    println!("five jumps of the worker's clock: performing {slowest:?} after one, at worst");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_that_waits_for_a_lease_holds_none_with_a_larger_id() {
    let place = Place::new();
    let store = place.open().await;
    store.insert((0..2).map(|n| job("greet", n)).collect()).await.unwrap();
    let mut leases = lease(&store, 2).await.jobs;
    leases.sort_by_key(|lease| lease.key.id);
    // As who extends both: it has the first, and will want the second.
    let other = place.other().await;
    let lock = |id| format!("SELECT FROM work.jobs WHERE id = '{id}' FOR UPDATE NOWAIT");
    other.run(&format!("BEGIN; {}", lock(leases[0].key.id))).await.unwrap();
    let again = Settle { settlement: Settlement::Retry { at: Clock::system().now() }, ..complete(&leases[0]) };
    let done = vec![again, complete(&leases[1])];
    let settling = tokio::spawn(async move { store.settle(done).await });
    let looker = place.other().await;
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{}%.settle(%'",
        place.schema
    );
    while looker.number(&waits).await == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    other.run(&lock(leases[1].key.id)).await.expect("nobody has the second lease");
    other.run("COMMIT").await.unwrap();
    assert_eq!(settling.await.unwrap().unwrap(), [Settled::Done, Settled::Done]);
}
