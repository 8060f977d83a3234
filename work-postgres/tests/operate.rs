//! What people do to queues, jobs and schedules, seen by other processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::time::{Duration, Instant};

use support::{Place, complete, job, lease};
use work_core::store::{Fired, Firing, Inspect, JobFilter, Store, StoredSchedule};
use work_core::{Clock, JobId, JobState, Queue, Schedule};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_paused_by_one_process_is_paused_for_all_and_its_resumption_wakes_them() {
    let place = Place::new();
    let (one, two) = (place.open().await, place.open().await);
    one.insert((0..20).map(|n| job("greet", n)).collect()).await.unwrap();
    assert_eq!(lease(&two, 5).await.jobs.len(), 5, "a floor is set");
    assert!(one.pause(Queue::DEFAULT).await.unwrap());
    assert!(lease(&two, 5).await.jobs.is_empty());
    let queues = [Queue::DEFAULT];
    let ready = two.ready(&queues);
    let resume = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(one.resume(Queue::DEFAULT).await.unwrap());
    };
    tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(ready, resume) }).await.unwrap();
    assert_eq!(lease(&two, 100).await.jobs.len(), 15);
}

#[tokio::test]
async fn a_request_to_stop_reaches_another_process() {
    let place = Place::new();
    let (one, two) = (place.open().await, place.open().await);
    one.insert(vec![job("greet", 1)]).await.unwrap();
    let leased = lease(&one, 1).await.jobs.pop().unwrap();
    two.cancel(vec![leased.key.id]).await.unwrap();
    let start = Instant::now();
    assert_eq!(one.stop_requests().await.unwrap(), [leased.key]);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_deal_with_each_slot_once() {
    let place = Place::new();
    let store = place.open().await;
    for name in ["a", "b", "c"] {
        let schedule = Schedule::every(Duration::from_secs(60)).unwrap();
        store.put_schedule(StoredSchedule::of(name, job("tick", 1), &schedule)).await.unwrap();
    }
    let begin = Clock::system().now();
    let mut others = Vec::new();
    for turn in 0..8 {
        let store = place.open().await;
        others.push(tokio::spawn(async move {
            let (mut after, mut made) = (None, 0);
            for slot in 0..20 {
                let slot = begin + Duration::from_secs(60 * slot);
                let firing = |schedule: &str| Firing {
                    schedule: schedule.to_owned(),
                    planned_after: after,
                    slot,
                    jobs: vec![job("tick", 1), job("tock", 1)],
                };
                let mut due = vec![firing("a"), firing("b"), firing("c")];
                due.rotate_left(turn % 3);
                let fired = store.fire(due).await.unwrap();
                made += fired.iter().filter(|fired| matches!(fired, Fired::Done(_))).count();
                after = store.schedules().await.unwrap()[0].last_slot.filter(|last| *last <= slot);
                after = after.or(Some(slot));
            }
            made
        }));
    }
    let mut made = 0;
    for other in others {
        made += other.await.unwrap();
    }
    assert!((3..=60).contains(&made), "{made}");
    // The job before waits still, so only the first slot of each has made jobs.
    assert_eq!(store.counts(JobFilter::all()).await.unwrap().total(), 6);
}

#[tokio::test]
async fn a_schedule_written_by_hand_stops_no_other() {
    let place = Place::new();
    let store = place.open().await;
    let schedule = Schedule::every(Duration::from_secs(60)).unwrap();
    store.put_schedule(StoredSchedule::of("good", job("tick", 1), &schedule)).await.unwrap();
    let bad = "INSERT INTO work.schedules (name, kind, schedule, overlap, catch_up, options, last_slot)
        VALUES ('bad', 'a b', 'now and then', 'x', 'y', 'z', '-infinity')";
    place.other().await.run(bad).await.unwrap();
    let all = store.schedules().await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(all[0].schedule().is_err() && all[1].schedule().is_ok());
}

#[tokio::test]
async fn jobs_edited_and_deleted_while_they_end_are_in_one_place() {
    let place = Place::new();
    let store = place.open().await;
    store.insert((0..50).map(|n| job("greet", n)).collect()).await.unwrap();
    let leases = lease(&store, 50).await.jobs;
    let ids: Vec<JobId> = leases.iter().map(|lease| lease.key.id).collect();
    let settle = store.settle(leases.iter().map(complete).collect());
    let (settled, deleted) = tokio::join!(settle, store.delete(ids.clone()));
    assert_eq!(settled.unwrap().len(), 50);
    deleted.unwrap();
    assert!(!store.delete(ids).await.unwrap().contains(&work_core::store::DeleteOutcome::Running));
    assert_eq!(store.counts(JobFilter::all()).await.unwrap().total(), 0);
}

#[tokio::test]
async fn a_full_disk_is_told_as_such() {
    let place = Place::new();
    let store = place.open().await;
    let full = "CREATE FUNCTION work.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';
        END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON work.jobs FOR EACH ROW EXECUTE FUNCTION work.full();";
    place.other().await.run(full).await.unwrap();
    let error = store.insert(vec![job("greet", 1)]).await.unwrap_err();
    assert!(error.is_full() && !error.is_unknown(), "{error:?}");
    assert_eq!(store.counts(JobFilter::all()).await.unwrap().of(JobState::Available), 0);
}

/// The server believes that it is an hour earlier, or later, than it is where the worker runs.
#[tokio::test]
async fn leases_are_counted_and_judged_by_the_clock_of_the_server() {
    for hours in [-1, 1] {
        let place = Place::new();
        let other = place.other().await;
        let clock = format!("clock_{}", place.schema);
        let shift = async |seconds: i64| {
            let now = format!("pg_catalog.clock_timestamp() + interval '{seconds} s'");
            let function = format!("{clock}.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT {now}$$");
            other.run(&format!("CREATE OR REPLACE FUNCTION {function}")).await.unwrap();
        };
        other.run(&format!("CREATE SCHEMA {clock}")).await.unwrap();
        shift(hours * 3600).await;
        let sign = if place.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{sign}options=-csearch_path%3D{clock},pg_catalog", place.url);
        let store = Place { schema: place.schema.clone(), url }.open().await;
        store.insert(vec![job("greet", 1)]).await.unwrap();
        let leased = lease(&store, 1).await.jobs.pop().expect("it is due at once");
        let until = (leased.until - Clock::system().now()).num_seconds() - hours * 3600;
        assert!((20..=31).contains(&until), "{hours} h: the lease ends {until} s after the server's now");
        assert_eq!(store.rescue(10, 3).await.unwrap().available, 0, "{hours} h: it holds");
        shift(hours * 3600 + 31).await;
        assert_eq!(store.rescue(10, 3).await.unwrap().available, 1, "{hours} h: it has ended");
        assert_eq!(lease(&store, 1).await.jobs.len(), 1);
        other.run(&format!("DROP SCHEMA {clock} CASCADE")).await.unwrap();
    }
}
