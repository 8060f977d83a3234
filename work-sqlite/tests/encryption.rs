//! What an encrypted store keeps tells nothing, and what was changed does not open.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use work_core::encryption::{EncryptedStore, InvalidKey, Keys};
use work_core::store::{Inspect, JobFilter, Order, Store, StoredJob};
use work_core::{
    Args, BoxError, Chain, Classify, Context, FailedJob, Group, Job, JobId, JobState, Json, OnConflict, Outcome,
    PreviousOutput, QueueWorker, Router, Schedule, State, Unique, Worker,
};
use work_sqlite::{SqliteStore, complete_in, insert_in};

/// What must not be found.
const SECRET: &str = "hunter2";

struct Place {
    _dir: tempfile::TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { file: dir.path().join("jobs.db"), _dir: dir }
    }

    async fn open(&self, keys: Keys) -> EncryptedStore<SqliteStore> {
        EncryptedStore::new(SqliteStore::open(&self.file).await.unwrap(), keys)
    }

    async fn worker(&self, keys: Keys) -> QueueWorker {
        let router = Router::new()
            .route("secret", secret)
            .route("fails", fails)
            .route("failed", failed)
            .route("next", next)
            .route("paid", paid)
            .with_state(self.file.clone());
        QueueWorker::new(self.open(keys).await, router)
    }

    fn run(&self, sql: &str) -> usize {
        Connection::open(&self.file).unwrap().execute(sql, []).unwrap()
    }

    /// All that is on the disk.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for end in ["", "-wal", "-shm"] {
            let mut path = self.file.clone().into_os_string();
            path.push(end);
            bytes.extend(std::fs::read(path).unwrap_or_default());
        }
        bytes
    }

    fn tells(&self, text: &str) -> bool {
        self.bytes().windows(text.len()).any(|part| part == text.as_bytes())
    }
}

fn keys() -> Keys {
    Keys::new("2025", [1; 32]).unwrap()
}

async fn secret(Args(text): Args<String>) -> Json<String> {
    assert!(text.contains(SECRET));
    Json(text)
}

async fn fails(Args(text): Args<String>) -> Result<(), work_core::Classified> {
    Err(format!("cannot use {text:?}")).discard()
}

async fn failed(failed: FailedJob, Args(text): Args<String>) -> Json<String> {
    assert!(failed.error.contains(SECRET) && text.contains(SECRET));
    Json(failed.error)
}

async fn next(PreviousOutput(previous): PreviousOutput<String>, Args(text): Args<String>) -> Json<String> {
    Json(format!("{} and {text}", previous.unwrap_or_default()))
}

async fn paid(Args(text): Args<String>, State(file): State<PathBuf>, context: Context) -> Result<(), BoxError> {
    let mut connection = Connection::open(file)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcome = Outcome::done().with_output(serde_json::to_vec(&text)?).then(Job::new("secret", text));
    complete_in(&transaction, &context, outcome)?;
    Ok(transaction.commit()?)
}

async fn until_ended(store: &dyn Inspect) {
    while store.counts(JobFilter::default()).await.unwrap().open() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn all(store: &dyn Inspect) -> Vec<StoredJob> {
    store.list(JobFilter::all(), Order::OldestFirst, None, 1_000).await.unwrap().jobs
}

async fn get(store: &dyn Inspect, id: JobId) -> StoredJob {
    store.get(id).await.unwrap().unwrap()
}

async fn performed(worker: QueueWorker) {
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    until_ended(worker.store()).await;
    worker.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_on_the_disk_tells_what_a_job_is_about() {
    let place = Place::new();
    let worker = place.worker(keys()).await;
    let text = |n: u32| format!("{SECRET}-{n}");
    let on_error = Job::new("fails", text(1)).on_error(Job::new("failed", text(2)));
    let group = Group::new([Job::new("secret", text(3))]).then(Job::new("secret", text(4)));
    let chain = Chain::new(Job::new("secret", text(5))).then(Job::new("next", text(6))).then(Job::new("next", text(7)));
    let every = Schedule::every(Duration::from_secs(1)).unwrap();
    worker.schedule("often", Job::new("secret", text(8)).unique(Unique::new(text(9))), every).await.unwrap();
    let now = worker.store().run_schedule_now("often".into()).await.unwrap().unwrap();
    worker.perform(Job::new("paid", text(10)).unique(Unique::new(text(11)))).await.unwrap();
    worker.perform(on_error).await.unwrap();
    worker.perform_group(group).await.unwrap();
    let chain = worker.perform_chain(chain).await.unwrap();
    let edited = worker.perform_in(Job::new("secret", text(12)), Duration::from_secs(3_600)).await.unwrap().id();
    assert!(worker.store().edit(edited, format!("{:?}", text(13)).into()).await.unwrap());
    assert_eq!(get(worker.store(), edited).await.job.args, format!("{:?}", text(13)));
    worker.store().run_now(edited).await.unwrap();

    // A slot of the schedule as well.
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    let outcome = chain.outcome().await.unwrap();
    assert_eq!(outcome.outcome().output::<String>().unwrap().unwrap(), "hunter2-5 and hunter2-6 and hunter2-7");
    while worker.store().schedules().await.unwrap()[0].last_slot.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.store().remove_schedule("often".into()).await.unwrap();
    until_ended(worker.store()).await;
    worker.stop().await;
    running.await.unwrap().unwrap();

    let jobs = all(worker.store()).await;
    let bad = jobs.iter().filter(|job| job.state != JobState::Completed && job.job.parts.kind.as_str() != "fails");
    assert!(jobs.len() >= 12 && bad.clone().count() == 0, "{:?}", bad.collect::<Vec<_>>());
    assert_eq!(get(worker.store(), now).await.output.unwrap(), format!("{:?}", text(8)));
    let failed = jobs.iter().find(|job| job.job.parts.kind.as_str() == "fails").unwrap();
    assert_eq!(failed.last_error().unwrap().message, r#"cannot use "hunter2-1""#);
    assert!(!place.tells(SECRET));
    assert!(place.tells("$enc"), "the search finds what is there");
    drop(worker);
    assert!(!place.tells(SECRET), "also when the file is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_replaced_one_after_the_other() {
    let place = Place::new();
    let old = place.worker(keys()).await;
    let id = old.perform(Job::new("secret", SECRET)).await.unwrap().id();
    let unique = || Job::new("secret", SECRET).unique(Unique::new("account:7"));
    let first = old.perform(unique()).await.unwrap().id();

    let new = place.worker(keys().writes("2026", [2; 32]).unwrap()).await;
    assert_eq!(new.perform(unique()).await.unwrap().id(), first, "unique across keys");
    let later = new.perform(Job::new("secret", SECRET)).await.unwrap().id();
    let reader = place.worker(keys().reads("2026", [2; 32]).unwrap()).await;
    performed(reader).await;
    for id in [id, first, later] {
        assert_eq!(get(new.store(), id).await.state, JobState::Completed);
        assert_eq!(get(new.store(), id).await.output.unwrap(), "\"hunter2\"");
    }
    // Without the first key, and with what unique keys were hashed with.
    let last = place.worker(Keys::new("2026", [2; 32]).unwrap().unique_by([1; 32])).await;
    let held = last.perform_in(unique(), Duration::from_secs(60)).await.unwrap().id();
    assert_eq!(new.perform(unique()).await.unwrap().id(), held);
    assert!(matches!(keys().reads("2025", [3; 32]), Err(InvalidKey::Twice { .. })));
    assert!(matches!(Keys::new("a b", [3; 32]), Err(InvalidKey::Name { .. })));
    assert!(!format!("{:?}", keys()).contains("1, 1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_without_its_key_is_a_dead_letter_until_the_key_is_there() {
    let place = Place::new();
    let other = Keys::new("2030", [9; 32]).unwrap();
    let id = place.worker(other.clone()).await.perform(Job::new("secret", SECRET)).await.unwrap().id();
    let mine = place.worker(keys()).await;
    let fine = mine.perform(Job::new("secret", SECRET)).await.unwrap().id();
    performed(mine.clone()).await;
    let dead = get(mine.store(), id).await;
    assert_eq!(dead.state, JobState::Discarded);
    let why = &dead.last_error().unwrap().message;
    assert_eq!(why, r#"encrypted with the key "2030", which this process does not have"#);
    assert_eq!(get(mine.store(), fine).await.state, JobState::Completed, "its neighbour goes on");

    let both = place.worker(keys().reads("2030", [9; 32]).unwrap()).await;
    assert!(both.store().retry(id).await.unwrap());
    performed(both.clone()).await;
    assert_eq!(get(both.store(), id).await.state, JobState::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_or_is_of_another_job_is_refused() {
    let place = Place::new();
    let worker = place.worker(keys()).await;
    let perform = async |kind: &'static str| worker.perform(Job::new(kind, SECRET)).await.unwrap().id();
    let (changed, thief, victim, of_kind) =
        (perform("secret").await, perform("secret").await, perform("secret").await, perform("next").await);
    let hex = |id: JobId| format!("x'{}'", id.as_uuid().simple());
    // Only the last letters of the data, which are those of the tag.
    let change = "replace(args, substr(args, length(args) - 9, 4), 'AAAA')";
    assert_eq!(place.run(&format!("UPDATE jobs SET args = {change} WHERE id = {}", hex(changed))), 1);
    let swap =
        format!("UPDATE jobs SET args = (SELECT args FROM jobs WHERE id = {}) WHERE id = {}", hex(victim), hex(thief));
    assert_eq!(place.run(&swap), 1);
    assert_eq!(place.run(&format!("UPDATE jobs SET kind = 'secret' WHERE id = {}", hex(of_kind))), 1);
    performed(worker.clone()).await;
    for id in [changed, thief, of_kind] {
        let job = get(worker.store(), id).await;
        assert_eq!(job.state, JobState::Discarded);
        assert!(job.last_error().unwrap().message.contains("changed, or is that of another job"), "{job:?}");
    }
    assert_eq!(get(worker.store(), victim).await.state, JobState::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_args_of_a_unique_key_open_in_the_job_that_holds_it() {
    let place = Place::new();
    let worker = place.worker(keys()).await;
    let job = |n: u32| {
        let unique = Unique::new("account:7").on_conflict(OnConflict::ReplaceArgs);
        Job::new("secret", format!("{SECRET}-{n}")).unique(unique)
    };
    let first = worker.perform(job(1)).await.unwrap().id();
    assert_eq!(worker.perform(job(2)).await.unwrap().id(), first);
    performed(worker.clone()).await;
    assert_eq!(get(worker.store(), first).await.output.unwrap(), "\"hunter2-2\"");
    assert!(!place.tells("account:7"), "the key is a hash");
}

#[tokio::test]
async fn what_is_encrypted_cannot_be_searched_and_says_so() {
    let place = Place::new();
    let store = place.open(keys()).await;
    let by_args = JobFilter::all().args("name", "Ann");
    let error = store.counts(by_args.clone()).await.unwrap_err().to_string();
    assert!(error.contains("args cannot be searched"), "{error}");
    assert!(store.list(by_args.clone(), Order::OldestFirst, None, 10).await.is_err());
    assert!(store.delete_all(by_args, 10).await.is_err());
    let by_error = JobFilter::all().error_contains("x");
    assert!(store.counts(by_error.clone()).await.is_err());
    let clear = place.open(keys().errors_in_clear()).await;
    assert_eq!(clear.counts(by_error).await.unwrap().total(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_come_past_the_store_are_performed_and_can_be_sealed() {
    let place = Place::new();
    let store = place.open(keys()).await;
    let sealed = store.seal(vec![Job::new("secret", SECRET).into_stored(1024).unwrap()]).unwrap();
    let mut connection = Connection::open(&place.file).unwrap();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let id = insert_in(&transaction, &sealed).unwrap()[0].id();
    transaction.commit().unwrap();
    assert!(!place.tells(SECRET));
    let clear = Job::new("secret", SECRET).into_stored(1024).unwrap();
    let clear = store.inside().insert(vec![clear]).await.unwrap()[0].id();
    performed(place.worker(keys()).await).await;
    for id in [id, clear] {
        assert_eq!(get(&store, id).await.state, JobState::Completed);
    }
}
