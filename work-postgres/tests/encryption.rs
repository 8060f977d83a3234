//! What an encrypted store keeps tells nothing to whoever reads the tables.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use support::Place;
use tokio_postgres::Client;
use work_core::encryption::{EncryptedStore, Keys};
use work_core::store::{Inspect, JobFilter};
use work_core::{
    Args, BoxError, Chain, Classified, Classify, Context, Job, JobState, Json, Outcome, QueueWorker, Router, State,
    Unique, Worker,
};
use work_postgres::PostgresStore;

/// What must not be found.
const SECRET: &str = "hunter2";

async fn secret(Args(text): Args<String>) -> Json<String> {
    Json(text)
}

async fn fails(Args(text): Args<String>) -> Result<(), Classified> {
    Err(format!("cannot use {text:?}")).discard()
}

async fn paid(
    Args(text): Args<String>,
    State((store, url)): State<(PostgresStore, String)>,
    context: Context,
) -> Result<(), BoxError> {
    let (mut client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let transaction = client.transaction().await?;
    let outcome = Outcome::done().with_output(serde_json::to_vec(&text)?).then(Job::new("secret", text));
    store.complete_in(&transaction, &context, outcome).await?;
    Ok(transaction.commit().await?)
}

/// All rows of all tables of a schema, as text, and bytes as such.
async fn everything(client: &Client, schema: &str) -> String {
    let sql = "SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = $1 AND table_type = 'BASE TABLE'";
    let mut text = String::new();
    for table in client.query(sql, &[&schema]).await.unwrap() {
        let sql = format!("SELECT t::text FROM {schema}.{} t", table.get::<_, String>(0));
        for row in client.query(&sql, &[]).await.unwrap() {
            text.push_str(&row.get::<_, String>(0));
        }
    }
    text
}

fn in_hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_table_tells_what_a_job_is_about() {
    let place = Place::new();
    let inside = place.open().await;
    let store = EncryptedStore::new(inside.clone(), Keys::new("2026", [7; 32]).unwrap());
    let router = Router::new().route("secret", secret).route("fails", fails).route("paid", paid);
    let worker = QueueWorker::new(store.clone(), router.with_state((inside, place.url.clone())));
    let text = |n: u32| format!("{SECRET}-{n}");
    let kept = worker.perform(Job::new("secret", text(1)).unique(Unique::new(text(2)))).await.unwrap();
    let twice = worker.perform(Job::new("secret", text(1)).unique(Unique::new(text(2)))).await.unwrap();
    assert_eq!(kept.id(), twice.id());
    worker.perform(Job::new("paid", text(3))).await.unwrap();
    worker.perform(Job::new("fails", text(4)).on_error(Job::new("secret", text(5)))).await.unwrap();
    worker.perform_chain(Chain::new(Job::new("secret", text(6))).then(Job::new("secret", text(7)))).await.unwrap();
    let client = place.other().await.client;
    let tells = async |part: &str| everything(&client, &place.schema).await.contains(part);
    assert!(!tells(SECRET).await && !tells(&in_hex(SECRET)).await, "while jobs wait");

    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    assert_eq!(kept.output::<String>().await.unwrap().unwrap(), text(1));
    while store.counts(JobFilter::default()).await.unwrap().open() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    worker.stop().await;
    running.await.unwrap().unwrap();
    let counts = store.counts(JobFilter::default()).await.unwrap();
    assert_eq!((counts.of(JobState::Completed), counts.of(JobState::Discarded)), (6, 1));
    assert!(!tells(SECRET).await && !tells(&in_hex(SECRET)).await, "when they have ended");
    assert!(tells(&in_hex("$enc")).await, "the search finds what is there");
}
