//! An hour in the life of a shop: jobs of every fate, so that no page is empty.

use std::time::Duration;

use serde_json::{Value, json};
use work_core::store::{ErrorRecord, Inspect, Lease, NewJob, Settle, Settlement, StoredSchedule, Want, WorkerInfo};
use work_core::{Clock, Job, JobId, Schedule, Status};

/// Jobs that tests go to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filled {
    /// Dead letters: of cards that were declined, and of mails that timed out.
    pub(crate) declined: JobId,
    pub(crate) timed_out: JobId,
    pub(crate) later: JobId,
    pub(crate) running: JobId,
    pub(crate) completed: JobId,
    pub(crate) retrying: JobId,
}

const KINDS: [(&str, &str); 6] = [
    ("send_mail", "mail"),
    ("send_mail", "mail"),
    ("resize_image", "default"),
    ("charge_card", "default"),
    ("send_mail", "mail"),
    ("sync_inventory", "default"),
];

pub(crate) fn kept(job: Job) -> NewJob {
    job.into_stored(1 << 20).unwrap()
}

fn job(number: u32) -> Job {
    let (kind, queue) = KINDS[number as usize % KINDS.len()];
    let customer = ["ann@example.org", "bo@example.com", "cleo@example.net"][number as usize % 3];
    let args = json!({ "customer": customer, "order": 48_000 + number, "items": [{ "sku": "A-17", "count": number % 4 + 1 }] });
    let job = Job::new(kind, args).queue(queue).max_attempts(3).header("request", format!("r-{number:05}"));
    if number.is_multiple_of(4) { job.tag("eu") } else { job }
}

/// How the job of a number ends: an error, if it ends as a dead letter.
fn error(number: u32) -> Option<ErrorRecord> {
    let text = match KINDS[number as usize % KINDS.len()].0 {
        "charge_card" if number % 5 == 3 => format!("card of customer {number} was declined: insufficient funds"),
        "send_mail" if number.is_multiple_of(19) => {
            format!("connection to 10.0.3.{} timed out after 30s\nwhile sending order {}", number % 9, 48_000 + number)
        }
        "resize_image" if number.is_multiple_of(37) => format!("image {number} is no PNG: bad signature"),
        _ => return None,
    };
    Some(ErrorRecord::new(text).with_backtrace(
        "   0: shop::handlers::perform\n   1: work_core::router::call\n   2: tokio::runtime::task::poll",
    ))
}

/// Takes what is due.
pub(crate) async fn lease(store: &dyn Inspect, limit: usize) -> Vec<Lease> {
    let queues = ["default", "mail", "reports"].map(Into::into).to_vec();
    let want =
        Want { queues, limit, lease_for: Duration::from_secs(30), worker: "shop-1-4711".into(), ..Want::default() };
    store.lease(want).await.unwrap().jobs
}

fn settled(lease: &Lease, settlement: Settlement, error: Option<ErrorRecord>) -> Settle {
    let status = if error.is_some() { Status::INTERNAL_ERROR } else { Status::SUCCESS };
    Settle { key: lease.key, status, settlement, error, then: Vec::new() }
}

/// Fills a store, and moves its clock on by an hour.
pub(crate) async fn fill(store: &dyn Inspect, clock: &Clock) -> Filled {
    let mut number = 0;
    let (mut declined, mut timed_out, mut completed) = (None, None, None);
    for minute in 0..57_u32 {
        let count = 5 + minute % 7 + if (30..36).contains(&minute) { 9 } else { 0 };
        let first = number;
        number += count;
        store.insert((first..number).map(|number| kept(job(number))).collect()).await.unwrap();
        clock.advance(Duration::from_millis(u64::from(180 + minute * 37 % 900)));
        let mut done = Vec::new();
        for lease in lease(store, 1000).await {
            let args: Value = serde_json::from_slice(&lease.job.args).unwrap();
            let number = u32::try_from(args["order"].as_u64().unwrap()).unwrap() - 48_000;
            let id = Some(lease.key.id);
            done.push(if let Some(error) = error(number) {
                let declines = error.message.contains("declined");
                *(if declines { &mut declined } else { &mut timed_out }) = id;
                settled(&lease, Settlement::Discard, Some(error))
            } else {
                completed = id;
                settled(
                    &lease,
                    Settlement::Complete { output: Some(json!({ "took_ms": number * 3 }).to_string().into()) },
                    None,
                )
            });
        }
        store.settle(done).await.unwrap();
        clock.advance(Duration::from_secs(60));
    }
    let (running, retrying) = at_work(store, clock).await;
    let later = wait(store, clock, number).await;
    schedules(store, clock).await;
    Filled {
        declined: declined.unwrap(),
        timed_out: timed_out.unwrap(),
        later,
        running,
        completed: completed.unwrap(),
        retrying,
    }
}

/// What runs, and what failed once.
async fn at_work(store: &dyn Inspect, clock: &Clock) -> (JobId, JobId) {
    let report = |number: u32| Job::new("build_report", json!({ "month": number })).queue("reports");
    let retried =
        Job::new("send_mail", json!({ "customer": "dora@example.org", "order": 7 })).queue("mail").max_attempts(5);
    let retrying = retried.id();
    let mut jobs: Vec<_> = (1..5).map(|number| kept(report(number))).collect();
    jobs.push(kept(retried));
    store.insert(jobs).await.unwrap();
    let leases = lease(store, 100).await;
    let (failed, running): (Vec<_>, Vec<_>) = leases.iter().partition(|lease| lease.key.id == retrying);
    let again = Settlement::Retry { at: clock.now() + Duration::from_secs(250) };
    store.settle(vec![settled(failed[0], again, Some(ErrorRecord::new("mailbox is full, try later")))]).await.unwrap();
    let progress = running.iter().zip([0.65_f32, 0.4, 0.2, 0.05]).map(|(lease, done)| (lease.key, done));
    store.set_progress(progress.collect()).await.unwrap();
    for (id, host, slots, busy) in [("shop-1-4711", "shop-1", 8, 4), ("shop-2-802", "shop-2", 8, 0)] {
        let mut worker = WorkerInfo::new(id);
        worker.host = host.into();
        worker.pid = 4711;
        worker.version = "1.4.2".into();
        worker.queues = ["default", "mail", "reports"].map(Into::into).to_vec();
        (worker.slots, worker.running) = (slots, busy);
        store.beat(worker).await.unwrap();
    }
    (running[0].key.id, retrying)
}

/// What waits, what is due later, and what was cancelled.
async fn wait(store: &dyn Inspect, clock: &Clock, first: u32) -> JobId {
    let now = clock.now();
    let later = |number: u32| job(number).scheduled_at(now + Duration::from_secs(u64::from(number) * 7));
    store.insert((first..first + 14).map(|number| kept(job(number))).collect()).await.unwrap();
    let due: Vec<_> = (first + 20..first + 32).map(|number| kept(later(number))).collect();
    let id = due[0].parts.id;
    let cancelled: Vec<_> = due[8..].iter().map(|job| job.parts.id).collect();
    store.insert(due).await.unwrap();
    store.cancel(cancelled).await.unwrap();
    clock.advance(Duration::from_secs(9));
    id
}

async fn schedules(store: &dyn Inspect, clock: &Clock) {
    let every = |name: &str, kind: &'static str, schedule: Schedule| {
        let mut stored = StoredSchedule::of(name, kept(Job::new(kind, json!(null))), &schedule);
        stored.created_at = clock.now();
        stored
    };
    for schedule in [
        every("clean-up", "clean_up", Schedule::cron("*/15 * * * *", "UTC").unwrap()),
        every("inventory", "sync_inventory", Schedule::every(Duration::from_secs(20)).unwrap()),
        every("nightly-report", "build_report", Schedule::cron("30 2 * * *", "Europe/Berlin").unwrap()),
    ] {
        store.put_schedule(schedule).await.unwrap();
    }
    store.pause_schedule("inventory".into()).await.unwrap();
}
