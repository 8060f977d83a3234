//! Sources: any stream, and sources that hear how each item ended.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as Poll_, Poll};

use futures_util::StreamExt;
use work_core::source::{self, Delivery};
use work_core::{Args, JobId, LocalWorker, QueueWorker, Router, Source, Status, Unique, Worker, store::MemoryStore};

use crate::{Meter, millis};

type Seen = Arc<Mutex<Vec<u32>>>;

fn collecting(seen: &Seen) -> Router {
    let seen = seen.clone();
    Router::new().route("item", move |Args(n): Args<u32>| {
        seen.lock().unwrap().push(n);
        std::future::ready(())
    })
}

#[tokio::test]
async fn any_stream_and_every_channel_is_a_source() {
    let seen = Seen::default();
    let worker = LocalWorker::builder(collecting(&seen)).concurrency(1).build().unwrap();
    let (to_channel, channel) = tokio::sync::mpsc::channel(8);
    let (to_all, all) = tokio::sync::broadcast::channel(8);
    let (to_watch, watch) = tokio::sync::watch::channel(30);
    let (to_async, asynchronous) = async_channel::bounded(8);
    to_channel.send(10).await.unwrap();
    to_all.send(20).unwrap();
    to_async.send(40).await.unwrap();
    drop((to_channel, to_all, to_async));
    let mut receiving = vec![
        worker.perform_receive("item", source::channel(channel)).await.unwrap(),
        worker.perform_receive("item", source::broadcast(all)).await.unwrap(),
        worker.perform_receive("item", asynchronous).await.unwrap(),
        worker.perform_receive("item", futures_util::stream::iter([50, 51]).boxed()).await.unwrap(),
    ];
    let watching = worker.perform_receive("item", source::watch(watch)).await.unwrap();
    while watching.made() == 0 {
        tokio::task::yield_now().await;
    }
    to_watch.send(31).unwrap();
    drop(to_watch);
    receiving.push(watching);
    for receiving in receiving {
        receiving.ended().await;
    }
    worker.stop().await;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, [10, 20, 30, 31, 40, 50, 51]);
}

/// Hands over numbers, and hears of each how it ended.
struct Numbers {
    left: Vec<u32>,
    heard: Arc<Mutex<BTreeMap<u32, Vec<Option<Status>>>>>,
    same_id: Option<JobId>,
}

impl Source for Numbers {
    type Item = u32;

    fn poll_receive(mut self: Pin<&mut Self>, _: &mut Poll_<'_>) -> Poll<Option<Delivery<u32>>> {
        let Some(n) = self.left.pop() else { return Poll::Ready(None) };
        let heard = self.heard.clone();
        let delivery =
            Delivery::new(n).on_settled(move |status| heard.lock().unwrap().entry(n).or_default().push(status));
        Poll::Ready(Some(match self.same_id {
            Some(id) => delivery.id(id).unique(Unique::new("same")),
            None => delivery,
        }))
    }
}

async fn by_number(Args(n): Args<u32>) -> Status {
    tokio::time::sleep(millis(u64::from(n % 3))).await;
    [Status::SUCCESS, Status::NO_RESPONSE, Status::INTERNAL_ERROR, Status::CONFLICT][n as usize % 4]
}

async fn hear<W: Worker>(worker: &W, same_id: Option<JobId>) -> BTreeMap<u32, Vec<Option<Status>>> {
    let heard = Arc::<Mutex<BTreeMap<_, _>>>::default();
    let source = Numbers { left: (0..40).rev().collect(), heard: heard.clone(), same_id };
    worker.perform_receive("item", source).await.unwrap().ended().await;
    while heard.lock().unwrap().len() < 40 {
        tokio::time::sleep(millis(5)).await;
    }
    heard.lock().unwrap().clone()
}

#[tokio::test]
async fn a_source_hears_once_how_each_item_ended_on_both_workers() {
    let expected = |n: u32| vec![Some([200, 444, 500, 409].map(|code| Status::new(code).unwrap())[n as usize % 4])];
    let expected: BTreeMap<u32, Vec<Option<Status>>> = (0..40).map(|n| (n, expected(n))).collect();
    let local = LocalWorker::new(Router::new().route("item", by_number));
    assert_eq!(hear(&local, None).await, expected);
    local.stop().await;

    let retry = work_core::RetryPolicy::default().backoff(work_core::Backoff::constant(millis(1)));
    let durable = QueueWorker::builder(MemoryStore::new(), Router::new().route("item", by_number)).retry(retry);
    let durable = durable.build().unwrap();
    let running = tokio::spawn(durable.clone().run_until(std::future::pending()));
    assert_eq!(hear(&durable, None).await, expected);
    durable.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_item_that_is_delivered_again_is_one_job_and_each_delivery_hears_its_end() {
    let meter = Meter::default();
    let durable = QueueWorker::new(MemoryStore::new(), Router::new().route("item", meter.taking(millis(20))));
    let running = tokio::spawn(durable.clone().run_until(std::future::pending()));
    let heard = hear(&durable, Some(JobId::new())).await;
    assert!(heard.values().all(|ends| *ends == [Some(Status::SUCCESS)]), "{heard:?}");
    durable.stop().await;
    running.await.unwrap().unwrap();
    assert_eq!(meter.runs(), 1);
}

#[tokio::test]
async fn a_job_that_never_ends_here_is_told_as_unknown() {
    let (local, heard) = (LocalWorker::new(Router::new().route("item", std::future::pending::<()>)), Arc::default());
    let source = Numbers { left: vec![7], heard: Arc::clone(&heard), same_id: None };
    local.perform_receive("item", source).await.unwrap().ended().await;
    let stopped = local.stop_within(millis(10)).await;
    assert_eq!(stopped.interrupted.len(), 1);
    assert_eq!(heard.lock().unwrap().get(&7), Some(&vec![Some(Status::CANCELLED)]));
}

#[tokio::test]
async fn a_large_backlog_is_stored_in_few_round_trips_and_in_order() {
    let worker = QueueWorker::new(MemoryStore::new(), Router::new().route("item", by_number));
    let receiving = worker.perform_receive("item", futures_util::stream::iter(0..5_000_u32)).await.unwrap();
    receiving.ended().await;
    let page = worker
        .store()
        .list(work_core::store::JobFilter::all(), work_core::store::Order::OldestFirst, None, 5_000)
        .await
        .unwrap();
    let args: Vec<u32> = page.jobs.iter().map(|job| serde_json::from_slice(&job.job.args).unwrap()).collect();
    assert!(args.iter().copied().eq(0..5_000));
}

#[tokio::test]
async fn items_that_can_be_no_job_are_told_so_and_the_others_go_on() {
    struct Names(Vec<&'static str>, Arc<Mutex<Vec<Option<Status>>>>);
    impl Source for Names {
        type Item = ();
        fn poll_receive(mut self: Pin<&mut Self>, _: &mut Poll_<'_>) -> Poll<Option<Delivery<()>>> {
            let Some(key) = self.0.pop() else { return Poll::Ready(None) };
            let heard = self.1.clone();
            let told = move |status| heard.lock().unwrap().push(status);
            Poll::Ready(Some(Delivery::new(()).unique(Unique::new(key)).on_settled(told)))
        }
    }
    let heard = Arc::<Mutex<Vec<_>>>::default();
    let worker = LocalWorker::new(Router::new().route("item", async || {}));
    worker.perform_receive("item", Names(vec!["good", ""], heard.clone())).await.unwrap().ended().await;
    worker.stop().await;
    let mut heard = heard.lock().unwrap().clone();
    heard.sort();
    assert_eq!(heard, [Some(Status::SUCCESS), Some(Status::BAD_REQUEST)]);
}
