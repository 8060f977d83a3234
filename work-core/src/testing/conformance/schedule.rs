//! Durable schedules: each slot once, whoever asks.

use chrono::TimeDelta;

use super::*;
use crate::schedule::plan::plan;
use crate::store::{Fired, Firing, JobFilter, SCHEDULE_HEADER, SLOT_HEADER, StoredSchedule};
use crate::{CatchUp, JobState, Overlap, QueueWorker, Router, Schedule, Unique};

fn every(interval: Duration) -> Schedule {
    Schedule::every(interval).expect("an interval")
}

async fn put(store: &dyn Inspect, name: &str, job: Job, schedule: &Schedule) {
    store.put_schedule(StoredSchedule::of(name, stored(job), schedule)).await.expect("put");
}

async fn the_schedule(store: &dyn Inspect, name: &str) -> StoredSchedule {
    let all = store.schedules().await.expect("schedules");
    all.into_iter().find(|schedule| schedule.name == name).expect("a schedule")
}

/// What is due now, as a runner sees it.
async fn due(store: &dyn Inspect, clock: &Clock) -> Vec<Firing> {
    let all = store.schedules().await.expect("schedules");
    all.iter().filter_map(|one| plan(one, &one.schedule().expect("a schedule"), clock.now()).firing).collect()
}

async fn fire(store: &dyn Inspect, clock: &Clock) -> Vec<usize> {
    let fired = store.fire(due(store, clock).await).await.expect("fire");
    let made = |fired| if let Fired::Done(jobs) = fired { jobs.len() } else { panic!("nobody else was first") };
    fired.into_iter().map(made).collect()
}

/// With its job and its times; what it is replaced by goes on where it was, unless the times are others.
pub async fn a_schedule_is_kept_by_its_name(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let mail = || Job::new("mail", "Ann").queue("q").priority(2).max_attempts(3).timeout(seconds(9)).tag("t");
    let hourly = every(seconds(3600)).overlap(Overlap::Allow).catch_up(CatchUp::All { max: 7 });
    put(&*store, "b", mail().header("a", "ü").unique(Unique::new("u")), &hourly).await;
    put(&*store, "a", job(1), &every(seconds(60))).await;
    let names: Vec<_> = store.schedules().await.expect("schedules").into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["a", "b"]);
    let kept = the_schedule(&*store, "b").await;
    let parts = &kept.job.parts;
    assert_eq!((kept.job.args.as_ref(), parts.kind.as_str(), parts.queue.as_str()), (&b"\"Ann\""[..], "mail", "q"));
    assert_eq!((parts.priority, parts.max_attempts, parts.timeout), (2, Some(3), Some(seconds(9))));
    assert!(parts.tags.contains("t") && parts.headers["a"] == "ü" && parts.unique == Some(Unique::new("u")));
    assert_eq!((kept.schedule().expect("a schedule"), kept.created_at), (hourly.clone(), start()));
    assert_eq!((kept.last_slot, kept.last_job, kept.paused_at), (None, None, None));

    assert_eq!(fire(&*store, &clock).await, [1, 1]);
    clock.advance(seconds(5));
    assert!(store.pause_schedule("b".into()).await.expect("pause"));
    put(&*store, "b", job(7), &hourly.clone().overlap(Overlap::Cancel)).await;
    let replaced = the_schedule(&*store, "b").await;
    assert_eq!((replaced.job.args.as_ref(), replaced.overlap), (&b"7"[..], Overlap::Cancel));
    assert_eq!((replaced.last_slot, replaced.created_at), (Some(start()), start()), "its times are the same");
    assert!(replaced.last_job.is_some() && replaced.paused_at == Some(start() + seconds(5)));
    put(&*store, "b", job(7), &every(seconds(1800))).await;
    let anew = the_schedule(&*store, "b").await;
    assert_eq!((anew.last_slot, anew.created_at), (None, start() + seconds(5)));
    assert!(anew.paused_at.is_some());
    assert!(store.remove_schedule("b".into()).await.expect("remove"));
    assert!(!store.remove_schedule("b".into()).await.expect("remove"));
    assert_eq!(store.schedules().await.expect("schedules").len(), 1);
}

/// Sixteen of them, all at once, over many slots; also after what they planned has become old.
pub async fn each_slot_makes_one_job_with_any_number_of_schedulers(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let minutely = every(seconds(60)).overlap(Overlap::Allow);
    put(&*store, "s", job(1), &minutely).await;
    let first = due(&*store, &clock).await;
    for slot in 0..20 {
        let planned = due(&*store, &clock).await;
        let schedulers = (0..16).map(|_| {
            let (store, planned) = (store.clone(), planned.clone());
            tokio::spawn(async move { store.fire(planned).await.expect("fire") })
        });
        let schedulers: Vec<_> = schedulers.collect();
        let mut made = 0;
        for scheduler in schedulers {
            made += usize::from(matches!(&scheduler.await.expect("fired")[0], Fired::Done(jobs) if jobs.len() == 1));
        }
        assert_eq!(made, 1, "slot {slot}");
        clock.advance(seconds(60));
    }
    assert_eq!(store.fire(first).await.expect("fire"), [Fired::Lost], "this is long past");
    let page = store.list(JobFilter::all(), crate::store::Order::OldestFirst, None, 100).await.expect("list");
    let slots: Vec<_> = page.jobs.iter().map(|stored| stored.job.parts.scheduled_at.expect("due")).collect();
    assert_eq!(slots, (0..20).map(|n| start() + seconds(60 * n)).collect::<Vec<_>>());
    let headers = &page.jobs[3].job.parts.headers;
    assert_eq!(headers[SCHEDULE_HEADER], "s");
    assert_eq!(headers[SLOT_HEADER].parse::<DateTime<Utc>>(), Ok(start() + seconds(180)));
    // Also if it is taken away and made again: the slot is in the key of its job.
    store.remove_schedule("s".into()).await.expect("remove");
    put(&*store, "s", job(1), &minutely).await;
    let again = Firing { slot: start(), ..due(&*store, &clock).await.remove(0) };
    let of_first_slot = page.jobs[0].job.clone();
    let copy = NewJob { parts: crate::Parts { id: JobId::new(), ..of_first_slot.parts }, ..of_first_slot };
    let fired = store.fire(vec![Firing { jobs: vec![copy], ..again }]).await.expect("fire");
    assert_eq!(fired, [Fired::Done(Vec::new())]);
}

/// It is left out, or both run, or the one before is cancelled.
pub async fn runs_overlap_as_the_schedule_says(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    for overlap in [Overlap::Allow, Overlap::Cancel, Overlap::Skip] {
        put(&*store, overlap.name(), Job::new(overlap.name(), ()), &every(seconds(60)).overlap(overlap)).await;
    }
    assert_eq!(fire(&*store, &clock).await, [1, 1, 1]);
    let leases = lease(&*store, 10).await;
    clock.advance(seconds(60));
    assert_eq!(fire(&*store, &clock).await, [1, 1, 0], "allow, cancel, skip");
    let told = store.stop_requests().await.expect("asked");
    assert_eq!(told.len(), 1);
    assert_eq!(get(&*store, told[0].id).await.job.parts.kind.as_str(), "cancel");
    let skipped = the_schedule(&*store, "skip").await;
    assert_eq!(skipped.last_slot, Some(start() + seconds(60)), "its slot is dealt with");
    for lease in &leases {
        settle(&*store, complete(lease)).await;
    }
    clock.advance(seconds(60));
    assert_eq!(fire(&*store, &clock).await, [1, 1, 1]);
    let of =
        async |kind: &'static str, state| store.counts(JobFilter::all().kind(kind).state(state)).await.expect("counts");
    assert_eq!(of("cancel", JobState::Cancelled).await.total(), 1, "one that waited is cancelled at once");
    assert_eq!(of("allow", JobState::Available).await.total(), 2);
    assert_eq!(of("skip", JobState::Available).await.total(), 1);
}

/// None, one, or each up to a number.
pub async fn missed_runs_are_caught_up_with_as_the_schedule_says(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let hourly = |catch_up| every(seconds(3600)).overlap(Overlap::Allow).catch_up(catch_up);
    for (name, catch_up) in [("all", CatchUp::All { max: 3 }), ("none", CatchUp::None), ("one", CatchUp::One)] {
        put(&*store, name, Job::new(name, ()), &hourly(catch_up)).await;
    }
    assert_eq!(fire(&*store, &clock).await, [1, 1, 1]);
    clock.advance(seconds(10 * 3600 + 1800));
    assert_eq!(fire(&*store, &clock).await, [3, 0, 1]);
    assert!(due(&*store, &clock).await.is_empty(), "all of them are dealt with");
    for name in ["all", "none", "one"] {
        let last = the_schedule(&*store, name).await.last_slot;
        assert_eq!(last, Some(start() + seconds(10 * 3600)), "{name}");
    }
    clock.advance(seconds(1800));
    assert_eq!(fire(&*store, &clock).await, [1, 1, 1], "the next is in time");
}

/// Its slots of that time are passed over; and it can be run by hand.
pub async fn a_paused_schedule_makes_no_jobs(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    put(&*store, "s", job(5), &every(seconds(60)).catch_up(CatchUp::One)).await;
    let planned = due(&*store, &clock).await;
    assert!(store.pause_schedule("s".into()).await.expect("pause"));
    assert!(!store.pause_schedule("s".into()).await.expect("pause"));
    assert_eq!(store.fire(planned).await.expect("fire"), [Fired::Lost], "planned before the pause");
    assert!(due(&*store, &clock).await.is_empty());
    let id = store.run_schedule_now("s".into()).await.expect("run").expect("there is one");
    let leased = lease_one(&*store).await;
    assert_eq!((leased.key.id, &leased.job.parts.headers[SCHEDULE_HEADER]), (id, &"s".to_owned()));
    assert_eq!(leased.job.args.as_ref(), b"5");
    assert!(store.run_schedule_now("nobody".into()).await.expect("run").is_none());
    clock.advance(seconds(200));
    assert!(store.resume_schedule("s".into()).await.expect("resume"));
    assert!(!store.resume_schedule("s".into()).await.expect("resume"));
    assert!(due(&*store, &clock).await.is_empty());
    let next = the_schedule(&*store, "s").await.next_slots(clock.now(), 2);
    assert_eq!(next.len(), 2);
    assert_eq!(next[1] - next[0], TimeDelta::seconds(60));
    clock.advance(seconds(60));
    assert_eq!(fire(&*store, &clock).await, [1]);
    for answer in [store.pause_schedule("nobody".into()).await, store.resume_schedule("nobody".into()).await] {
        assert!(!answer.expect("no schedule"));
    }
}

/// Several on one store, some of which go away: each slot is performed once.
pub async fn runners_perform_each_slot_once(make: &impl MakeStore) {
    let store = make.make(Clock::system()).await;
    let router = || Router::new().route("test", async || {});
    let worker = QueueWorker::new(store.clone(), router());
    let often = every(Duration::from_millis(40)).overlap(Overlap::Allow).catch_up(CatchUp::All { max: 1_000 });
    // The slots begin while it is scheduled.
    let begin = tokio::time::Instant::now();
    worker.schedule("often", job(1), often).await.expect("scheduled");
    let run =
        |millis| QueueWorker::new(store.clone(), router()).run_until(tokio::time::sleep(Duration::from_millis(millis)));
    let runs: Vec<_> = [300, 700, 1_000, 1_500].map(|millis| tokio::spawn(run(millis))).into_iter().collect();
    for run in runs {
        run.await.expect("ran").expect("valid settings");
    }
    let most = begin.elapsed().as_millis() / 40 + 1;
    let page = store.list(JobFilter::all(), crate::store::Order::OldestFirst, None, 10_000).await.expect("list");
    let mut slots: Vec<_> = page.jobs.iter().map(|stored| stored.job.parts.scheduled_at.expect("due")).collect();
    slots.sort_unstable();
    assert!(slots.len() as u128 <= most && slots.len() > 5, "{} of {most}", slots.len());
    for pair in slots.windows(2) {
        assert_eq!(pair[1] - pair[0], TimeDelta::milliseconds(40), "no slot twice, none left out");
    }
}
