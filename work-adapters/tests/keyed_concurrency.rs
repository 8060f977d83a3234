//! The keyed concurrency layer: so many at once for each key, in order, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_service::Service;
use work_adapters::{KeyedConcurrencyLayer, TimeoutLayer};
use work_core::store::MemoryStore;
use work_core::{Args, Context, Job, LocalWorker, QueueWorker, Router, State, Status, Worker};

/// What each key saw: running now, the peak, and the numbers of the jobs in the order of their starts.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, Key>>>);

#[derive(Default)]
struct Key {
    running: usize,
    peak: usize,
    order: Vec<u32>,
}

impl Seen {
    fn start(&self, key: &str, n: u32) -> Running {
        let mut keys = self.0.lock().unwrap();
        let seen = keys.entry(key.to_owned()).or_default();
        seen.running += 1;
        seen.peak = seen.peak.max(seen.running);
        seen.order.push(n);
        Running { seen: self.clone(), key: key.to_owned() }
    }
}

struct Running {
    seen: Seen,
    key: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.seen.0.lock().unwrap().get_mut(&self.key).unwrap().running -= 1;
    }
}

/// Runs for so long, then panics if it is told to.
async fn handler(Args((key, n, end)): Args<(String, u32, String)>, State(seen): State<Seen>) {
    let _running = seen.start(&key, n);
    sleep(Duration::from_millis(10)).await;
    assert!(end != "panic", "as it was told");
    if end == "endless" {
        std::future::pending::<()>().await;
    }
}

fn job(key: &str, n: u32, end: &str) -> Job {
    let job = Job::new("handler", (key.to_owned(), n, end.to_owned()));
    if key.is_empty() { job } else { job.header("key", key) }
}

fn layer(jobs: usize) -> KeyedConcurrencyLayer {
    KeyedConcurrencyLayer::new(jobs, |job| job.parts().headers.get("key").cloned()).unwrap()
}

fn router(layer: KeyedConcurrencyLayer, seen: &Seen) -> Router {
    Router::new().route("handler", handler).layer(layer).with_state(seen.clone())
}

#[tokio::test(start_paused = true)]
async fn so_many_of_a_key_run_at_once_in_order_and_others_are_not_held_up() {
    for jobs in [1, 3] {
        let (seen, layer) = (Seen::default(), layer(jobs));
        let worker = LocalWorker::new(router(layer.clone(), &seen));
        for n in 0..12 {
            worker.perform(job("a", n, "")).await.unwrap();
            worker.perform(job("b", n, "")).await.unwrap();
            worker.perform(job("", n, "")).await.unwrap();
        }
        let start = Instant::now();
        worker.stop().await;
        assert_eq!(start.elapsed(), Duration::from_millis(10 * (12 / jobs as u64)));
        let keys = seen.0.lock().unwrap();
        assert_eq!((keys["a"].peak, keys["b"].peak, keys[""].peak), (jobs, jobs, 12));
        assert_eq!(keys["a"].order, (0..12).collect::<Vec<_>>());
        assert_eq!(layer.keys(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_is_given_back_however_the_job_ends() {
    let (seen, layer) = (Seen::default(), layer(1));
    let timeout = TimeoutLayer::new().default_timeout(Duration::from_millis(50));
    let routes = Router::new().route("handler", handler).layer(timeout).layer(layer.clone());
    let worker = LocalWorker::new(routes.with_state(seen.clone()));
    let mut handles = Vec::new();
    for (n, end) in ["panic", "endless", "", "cancelled while it waits", "endless", ""].into_iter().enumerate() {
        handles.push(worker.perform(job("a", n as u32, end)).await.unwrap());
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(layer.keys(), 1);
    assert!(worker.cancel(handles[3].id()).await.unwrap());
    let mut statuses = Vec::new();
    for handle in handles {
        statuses.push(handle.outcome().await.unwrap().status().code());
    }
    assert_eq!(statuses, [500, 408, 200, 499, 408, 200]);
    assert_eq!(seen.0.lock().unwrap()["a"].order, [0, 1, 2, 4, 5], "cancelled while it waited: never run");
    assert_eq!((seen.0.lock().unwrap()["a"].peak, layer.keys()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_place_is_noted_as_such() {
    type Noted = Arc<Mutex<Vec<(u128, u128)>>>;
    async fn nap(context: Context, State(log): State<Noted>) {
        sleep(Duration::from_millis(10)).await;
        let times = context.timings().unwrap();
        log.lock().unwrap().push((times.waiting.as_millis(), times.executing.as_millis()));
    }
    let log = Noted::default();
    let layer = KeyedConcurrencyLayer::new(1, |job| Some(job.kind().to_string())).unwrap();
    let routes = Router::new().route("nap", nap).layer(layer).with_state(log.clone());
    let worker = LocalWorker::builder(routes).timings().build().unwrap();
    for _ in 0..3 {
        worker.perform(Job::new("nap", ())).await.unwrap();
    }
    worker.stop().await;
    assert_eq!(*log.lock().unwrap(), [(0, 10), (10, 10), (20, 10)]);
}

#[tokio::test(start_paused = true)]
async fn a_running_job_that_is_cancelled_gives_its_place_to_the_next() {
    let (seen, layer) = (Seen::default(), layer(1));
    let worker = LocalWorker::new(router(layer.clone(), &seen));
    let first = worker.perform(job("a", 0, "endless")).await.unwrap();
    let second = worker.perform(job("a", 1, "")).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    assert!(worker.cancel(first.id()).await.unwrap());
    assert_eq!(second.outcome().await.unwrap().status(), Status::SUCCESS);
    worker.stop().await;
    assert_eq!(layer.keys(), 0);
}

#[tokio::test]
async fn a_panic_of_the_key_function_is_the_jobs_end_and_nothing_is_left() {
    let layer = KeyedConcurrencyLayer::new(1, |_| panic!("no key")).unwrap();
    let worker = LocalWorker::new(Router::new().route("handler", async || {}).layer(layer.clone()));
    let outcome = worker.perform(Job::new("handler", ())).await.unwrap().outcome().await.unwrap();
    assert_eq!((outcome.status(), layer.keys()), (Status::INTERNAL_ERROR, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_holds_on_a_store_too() {
    let (seen, layer) = (Seen::default(), layer(2));
    let worker = QueueWorker::new(MemoryStore::new(), router(layer.clone(), &seen));
    let mut handles = Vec::new();
    for n in 0..40 {
        handles.push(worker.perform(job(["a", "b"][n as usize % 2], n, "")).await.unwrap());
    }
    let running = tokio::spawn(worker.clone().run_until(async { sleep(Duration::from_secs(60)).await }));
    for handle in handles {
        assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS);
    }
    running.abort();
    let keys = seen.0.lock().unwrap();
    assert_eq!((keys["a"].peak, keys["b"].peak, layer.keys()), (2, 2, 0));
    assert_eq!((keys["a"].order.len(), keys["b"].order.len()), (20, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_tasks_keep_the_limit_and_leave_no_key() {
    async fn brief(Args((key, n)): Args<(String, u32)>, State(seen): State<Seen>, context: Context) {
        let _running = seen.start(&key, n);
        tokio::task::yield_now().await;
        if n % 7 == 0 {
            context.cancel();
        }
        assert!(n % 11 != 0, "one in eleven panics");
    }
    let (seen, layer) = (Seen::default(), layer(3));
    let routes = Router::new().route("brief", brief).layer(layer.clone()).with_state(seen.clone());
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let routes = routes.clone();
            tokio::spawn(async move {
                for n in 0..50_u32 {
                    let key = format!("{}", (task + n) % 5);
                    let job = Job::new("brief", (key.clone(), n)).header("key", key);
                    let mut routes = routes.clone();
                    let call = tokio::spawn(async move { routes.call(job).await });
                    if n % 13 == 0 {
                        tokio::task::yield_now().await;
                        call.abort();
                    }
                    drop(call.await);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let keys = seen.0.lock().unwrap();
    assert_eq!(keys.len(), 5);
    assert!(keys.values().all(|key| key.running == 0 && key.peak <= 3));
    assert!(keys.values().map(|key| key.order.len()).sum::<usize>() > 64 * 40);
    assert_eq!(layer.keys(), 0);
}

#[test]
fn no_job_at_once_is_refused_with_what_is_accepted() {
    for jobs in [0, 1_000_001] {
        let error = KeyedConcurrencyLayer::new(jobs, |_| None).unwrap_err().to_string();
        assert_eq!(error, format!("jobs at once {jobs} is out of range; use 1 to 1000000"));
    }
}
