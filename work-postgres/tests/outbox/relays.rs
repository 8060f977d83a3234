//! More than one relay on one table, and servers that are away.

use std::collections::BTreeSet;
use std::time::Duration;

use work_core::{Args, store::Inspect, store::JobFilter, store::MemoryStore};
use work_core::{QueueWorker, Router, Worker};
use work_postgres::outbox::OutboxRow;

use crate::place::{Place, Seen, TABLE, ids, ids_of, receiver, receiver_after, relay, until};
use crate::proxy::{Proxy, Weather};
use crate::server::Server;

const ROWS: &str = "INSERT INTO work.outbox(key)
    SELECT CASE WHEN n % 4 > 0 THEN 'key ' || n % 7 END FROM generate_series(1, 1000) n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_share_a_table_and_each_row_is_delivered_once_in_the_order_of_its_key() {
    let place = Place::new(TABLE).await;
    let (both, first, second) = (Seen::default(), Seen::default(), Seen::default());
    let note = |own: &Seen| {
        let (both, own) = (both.clone(), own.clone());
        move |row: &OutboxRow| {
            let noted = (row.id().to_string(), row.key().map(str::to_owned));
            both.lock().unwrap().push(noted.clone());
            own.lock().unwrap().push(noted);
            200
        }
    };
    let workers = [receiver(&Seen::default(), note(&first)), receiver(&Seen::default(), note(&second))];
    for worker in &workers {
        relay(place.outbox().in_flight(16), worker).await;
    }
    place.run(ROWS).await;
    place.until_pending(0).await;
    let delivered = ids(&both);
    assert_eq!((delivered.len(), delivered.iter().collect::<BTreeSet<_>>().len()), (1_000, 1_000));
    for key in 0..7 {
        assert!(ids_of(&both, &format!("key {key}")).is_sorted(), "{key}");
    }
    let shares = (ids(&first).len(), ids(&second).len());
    assert!(shares.0 > 0 && shares.1 > 0, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_dropped_marks_what_it_delivered_and_gives_the_rest_back() {
    let (place, seen, other) = (Place::new(TABLE).await, Seen::default(), Seen::default());
    place.run("INSERT INTO work.outbox(key) SELECT NULL FROM generate_series(1, 50)").await;
    let worker = receiver_after(&seen, Duration::from_millis(300), |_| 200);
    let outbox = place.outbox().in_flight(20).open().await.unwrap();
    let receiving = worker.perform_receive("hook", outbox).await.unwrap();
    until("some", async || ids(&seen).len() == 20).await;
    receiving.cancel();
    receiving.ended().await;
    place.until_pending(30).await;
    assert_eq!(ids(&seen).len(), 20, "those in flight were waited for");
    // Taken, and never received.
    let idle = place.outbox().in_flight(20).open().await.unwrap();
    until("taken", async || place.number("SELECT count(*) FROM work.outbox WHERE due_at > now()").await == 20).await;
    drop(idle);
    until("given back", async || place.number("SELECT count(*) FROM work.outbox WHERE due_at > now()").await == 0)
        .await;
    relay(place.outbox(), &receiver(&other, |_| 200)).await;
    place.until_pending(0).await;
    assert_eq!(ids(&other).len(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_takes_longer_than_the_lease_keeps_its_row() {
    let (place, first, second) = (Place::new(TABLE).await, Seen::default(), Seen::default());
    place.add(Some("a"), "1").await;
    let slow = receiver_after(&first, Duration::from_secs(3), |_| 200);
    relay(place.outbox().lease(Duration::from_secs(1)), &slow).await;
    until("begun", async || ids(&first).len() == 1).await;
    let quick = receiver(&second, |_| 200);
    relay(place.outbox().lease(Duration::from_secs(1)), &quick).await;
    place.until_pending(0).await;
    assert_eq!((ids(&first).len(), ids(&second).len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verdict_of_a_relay_that_was_cut_off_for_longer_than_its_lease_is_not_taken() {
    let (place, first, second) = (Place::new(TABLE).await, Seen::default(), Seen::default());
    let at = place.url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let proxy = Proxy::start(at.clone()).await;
    let url = place.url.replace(&at, &proxy.address().to_string());
    let through = Place::of(url, place.schema.clone()).await;
    place.add(Some("a"), "1").await;
    // It would make the row dead.
    let slow = receiver_after(&first, Duration::from_secs(3), |_| 400);
    relay(through.outbox().lease(Duration::from_secs(1)).call_deadline(Duration::from_millis(500)), &slow).await;
    until("begun", async || ids(&first).len() == 1).await;
    proxy.set(Weather::RequestsLost);
    proxy.cut();
    relay(place.outbox().lease(Duration::from_secs(30)), &receiver_after(&second, Duration::from_secs(6), |_| 200))
        .await;
    until("taken over", async || ids(&second).len() == 1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    proxy.set(Weather::Fine);
    proxy.cut();
    until("published", async || {
        assert!(place.dead().await.is_empty(), "said by who has lost it");
        place.pending().await == 0
    })
    .await;
    assert_eq!((ids(&first).len(), ids(&second).len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_queue_a_row_is_one_job_and_is_published_when_that_has_ended() {
    let (place, store) = (Place::new(TABLE).await, MemoryStore::new());
    place.add(None, "1").await;
    let handler = |Args(row): Args<OutboxRow>| async move { assert_eq!(row.payload_json(), "1") };
    let worker = QueueWorker::new(store.clone(), Router::new().route("hook", handler));
    worker.perform_receive("hook", place.outbox().open().await.unwrap()).await.unwrap();
    until("stored", async || store.counts(JobFilter::default()).await.unwrap().total() == 1).await;
    assert_eq!(place.pending().await, 1);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move { worker.run_until(async { drop(stopped.await) }).await });
    place.until_pending(0).await;
    drop(stop);
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_server_was_killed_and_started_again_the_rows_go_on() {
    crate::support::url();
    let Some(bin) = Server::find() else { return };
    let mut server = Server::start(&bin).unwrap();
    let (place, seen) = (Place::at(server.url(), TABLE).await, Seen::default());
    place.run(ROWS).await;
    let worker = receiver_after(&seen, Duration::from_millis(20), |_| 200);
    let outbox = place.outbox().in_flight(16).lease(Duration::from_secs(2)).call_deadline(Duration::from_secs(1));
    relay(outbox, &worker).await;
    until("some", async || ids(&seen).len() > 50).await;
    server.stop();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = ids(&seen).len();
    assert!(before < 1_000);
    server.run().unwrap();
    let place = Place::of(place.url.clone(), place.schema.clone()).await;
    place.until_pending(0).await;
    let delivered = ids(&seen);
    assert_eq!(delivered.iter().collect::<BTreeSet<_>>().len(), 1_000, "none is lost");
    assert!(delivered.len() <= 1_100, "only what was in flight came twice: {}", delivered.len());
}
