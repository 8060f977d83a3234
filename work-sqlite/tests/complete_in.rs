//! A job that is completed in its handler's own transaction: what the handler wrote is there exactly if the job is completed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde::{Deserialize, Serialize};
use work_core::runner::Report;
use work_core::store::{CompleteError, Inspect, StoredJob};
use work_core::{
    Args, Attempt, Backoff, BoxError, Chain, Context, Group, GroupStatus, Job, JobId, JobState, Json, Outcome,
    PreviousOutput, QueueWorker, QueueWorkerBuilder, RetryPolicy, Router, State, Status, Unique, Worker,
};
use work_sqlite::{SqliteStore, complete_in};

/// What the handler does in its first attempt. In all others it commits.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
enum Then {
    Commit,
    CommitAndFail,
    CommitAndPanic,
    CommitAndHang,
    CommitAndTimeOut,
    RollBack,
    RollBackAndFail,
    /// Somebody else has got the lease.
    LoseTheLease,
    CommitLaterOnAThread,
    CommitTheSecondTime,
}

fn begin(connection: &mut Connection) -> Transaction<'_> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap()
}

fn write(transaction: &Transaction<'_>, context: &Context) {
    let id = context.job_id().unwrap().to_string();
    transaction.execute("INSERT INTO ledger (job) VALUES (?1)", [id]).unwrap();
}

async fn pay(
    Args(then): Args<Then>,
    Attempt(attempt): Attempt,
    State(file): State<PathBuf>,
    context: Context,
) -> Result<(), BoxError> {
    let then = if attempt == 1 { then } else { Then::Commit };
    if then == Then::CommitLaterOnAThread {
        tokio::task::spawn_blocking(move || {
            let mut connection = Connection::open(file).unwrap();
            let transaction = begin(&mut connection);
            write(&transaction, &context);
            complete_in(&transaction, &context, ()).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            transaction.commit().unwrap();
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        return Err("it did not wait for its thread".into());
    }
    let end = {
        let mut connection = Connection::open(&file)?;
        let transaction = begin(&mut connection);
        write(&transaction, &context);
        if then == Then::LoseTheLease {
            transaction.execute("UPDATE jobs SET fence = fence + 1 WHERE state = 'running'", [])?;
            let error = complete_in(&transaction, &context, Json("paid")).unwrap_err();
            assert!(matches!(error, CompleteError::Lost { .. }), "{error}");
            return Err(error.into());
        }
        complete_in(&transaction, &context, Json("paid"))?;
        if then == Then::CommitTheSecondTime {
            drop(transaction);
            let transaction = begin(&mut connection);
            write(&transaction, &context);
            complete_in(&transaction, &context, Json("paid"))?;
            transaction.commit()?;
            return Ok(());
        }
        match then {
            Then::RollBack => return Ok(()),
            Then::RollBackAndFail => return Err("rolled back".into()),
            then => {
                transaction.commit()?;
                then
            }
        }
    };
    match end {
        Then::CommitAndFail => Err("failed after the commit".into()),
        Then::CommitAndPanic => panic!("after the commit"),
        Then::CommitAndHang => std::future::pending().await,
        Then::CommitAndTimeOut => Ok(tokio::time::timeout(Duration::from_millis(10), std::future::pending()).await?),
        _ => Ok(()),
    }
}

struct Place {
    _dir: tempfile::TempDir,
    file: PathBuf,
    store: SqliteStore,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("jobs.db");
        let store = SqliteStore::open(&file).await.unwrap();
        Connection::open(&file).unwrap().execute_batch("CREATE TABLE ledger (job TEXT)").unwrap();
        Self { _dir: dir, file, store }
    }

    fn worker(&self, router: Router<PathBuf>) -> QueueWorkerBuilder {
        let retry = RetryPolicy::default().backoff(Backoff::constant(Duration::from_millis(1)));
        QueueWorker::builder(self.store.clone(), router.with_state(self.file.clone())).retry(retry)
    }

    /// Effects, and how many jobs they are of.
    fn effects(&self) -> (i64, i64) {
        effects(&self.file)
    }

    async fn get(&self, id: JobId) -> StoredJob {
        self.store.get(id).await.unwrap().unwrap()
    }
}

fn effects(file: &Path) -> (i64, i64) {
    let count = "SELECT count(*), count(DISTINCT job) FROM ledger";
    Connection::open(file).unwrap().query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

/// Performs one job, and answers it as it is kept, the effects, and the report.
async fn performed(then: Then) -> (StoredJob, (i64, i64), Report) {
    let place = Place::new().await;
    let worker = place.worker(Router::new().route("pay", pay)).build().unwrap();
    let id = worker.perform(Job::new("pay", then)).await.unwrap().id();
    let (running, stop) = (worker.clone(), worker.clone());
    let running = tokio::spawn(running.run_until(std::future::pending()));
    if then == Then::CommitAndHang {
        while place.effects().0 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!worker.cancel(id).await.unwrap(), "it has ended");
        stop.stop_within(Duration::from_millis(50)).await;
    } else {
        while !place.get(id).await.state.is_terminal() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.stop().await;
    }
    (place.get(id).await, place.effects(), running.await.unwrap().unwrap())
}

fn outputs(job: &StoredJob) -> Option<&[u8]> {
    job.output.as_deref()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_effect_and_the_end_are_committed_together() {
    let (job, effects, report) = performed(Then::Commit).await;
    assert_eq!(
        (job.state, job.status, outputs(&job)),
        (JobState::Completed, Some(Status::SUCCESS), Some(&b"\"paid\""[..]))
    );
    assert_eq!((job.attempt, effects), (1, (1, 1)));
    assert_eq!((report.performed, report.stale, report.released), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_after_the_commit_changes_nothing() {
    use Then::{CommitAndFail, CommitAndHang, CommitAndPanic, CommitAndTimeOut, CommitLaterOnAThread};
    for then in [CommitAndFail, CommitAndPanic, CommitAndHang, CommitAndTimeOut, CommitLaterOnAThread] {
        let (job, effects, report) = performed(then).await;
        assert_eq!((job.state, job.attempt, effects), (JobState::Completed, 1, (1, 1)), "{then:?}");
        assert!(job.attempts.is_empty(), "{then:?}");
        assert_eq!((report.performed, report.stale, report.released), (1, 0, 0), "{then:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_commit_the_job_is_tried_again_whatever_the_handler_says() {
    for (then, why) in [(Then::RollBack, "did not commit it"), (Then::RollBackAndFail, "rolled back")] {
        let (job, effects, report) = performed(then).await;
        assert_eq!((job.state, job.attempt, effects), (JobState::Completed, 2, (1, 1)), "{then:?}");
        assert!(job.last_error().unwrap().message.contains(why), "{:?}", job.last_error());
        assert_eq!((report.performed, report.stale), (2, 0), "{then:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_transaction_of_the_same_attempt_counts() {
    let (job, effects, report) = performed(Then::CommitTheSecondTime).await;
    assert_eq!((job.state, job.attempt, effects), (JobState::Completed, 1, (1, 1)));
    assert_eq!((report.performed, report.stale), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_has_passed_on_is_refused_and_nothing_is_written() {
    let (job, effects, _) = performed(Then::LoseTheLease).await;
    assert_eq!((job.state, job.attempt, effects), (JobState::Completed, 2, (1, 1)));
    assert!(job.last_error().unwrap().message.contains("no longer current"), "{:?}", job.last_error());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_hears_the_output_of_the_transaction() {
    let place = Place::new().await;
    let worker = place.worker(Router::new().route("pay", pay)).build().unwrap();
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    let handle = worker.perform(Job::new("pay", Then::CommitAndFail)).await.unwrap();
    assert_eq!(handle.output::<String>().await.unwrap().as_deref(), Some("paid"));
    worker.stop().await;
    running.await.unwrap().unwrap();
}

/// Commits with what follows, and returns nothing.
async fn with_follow_ups(State(file): State<PathBuf>, context: Context) -> Result<(), BoxError> {
    let mut connection = Connection::open(&file)?;
    let transaction = begin(&mut connection);
    write(&transaction, &context);
    let outcome = Outcome::done().with_output("7").then(Job::new("note", "follow-up"));
    complete_in(&transaction, &context, outcome)?;
    Ok(transaction.commit()?)
}

async fn note(PreviousOutput(previous): PreviousOutput<u32>, Args(text): Args<String>) -> Json<(String, Option<u32>)> {
    Json((text, previous))
}

async fn called_back(group: GroupStatus) -> Json<(usize, usize)> {
    Json((group.completed, group.total))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_from_a_job_follows_from_the_transaction() {
    let place = Place::new().await;
    let router = Router::new().route("pay", with_follow_ups).route("note", note).route("called-back", called_back);
    let worker = place.worker(router).build().unwrap();
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));

    let chain = Chain::new(Job::new("pay", ())).then(Job::new("note", "chained"));
    let chained = worker.perform_chain(chain).await.unwrap().outcome().await.unwrap();
    let noted: Option<(String, Option<u32>)> = chained.outcome().output().unwrap();
    assert_eq!(noted, Some(("chained".to_owned(), Some(7))));

    let called = Job::new("called-back", ());
    let callback = called.id();
    let group = Group::new([Job::new("pay", ()), Job::new("pay", ())]).then(called);
    assert_eq!(worker.perform_group(group).await.unwrap().ended().await.unwrap().completed, 2);
    assert_eq!(worker.output::<(usize, usize)>(callback).await.unwrap(), Some((2, 2)));

    let unique = || Job::new("pay", ()).unique(Unique::new("account"));
    let first = worker.perform(unique()).await.unwrap();
    let id = first.id();
    first.outcome().await.unwrap();
    let second = worker.perform(unique()).await.unwrap();
    assert_ne!(second.id(), id, "the key is free again");
    second.outcome().await.unwrap();

    while place.store.counts(work_core::store::JobFilter::default()).await.unwrap().open() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let notes = work_core::store::JobFilter::all().kind("note");
    assert_eq!(
        place.store.counts(notes).await.unwrap().of(JobState::Completed),
        6,
        "a follow-up each, and the chain's"
    );
    worker.stop().await;
    let report = running.await.unwrap().unwrap();
    assert_eq!((place.effects(), report.stale), ((5, 5), 0));
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_before_anything_is_written() {
    let place = Place::new().await;
    let mut connection = Connection::open(&place.file).unwrap();
    let transaction = begin(&mut connection);
    let error = complete_in(&transaction, &Context::new(), ()).unwrap_err();
    assert!(matches!(error, CompleteError::NoLease), "{error}");

    async fn too_much(State(file): State<PathBuf>, context: Context) -> Result<(), BoxError> {
        let mut connection = Connection::open(&file)?;
        let transaction = begin(&mut connection);
        write(&transaction, &context);
        let error = complete_in(&transaction, &context, Status::BAD_REQUEST).unwrap_err();
        assert_eq!(
            error.to_string(),
            "an outcome with status 400 does not complete a job: return it from the handler instead"
        );
        complete_in(&transaction, &context, Json("x".repeat(2_000_000)))?;
        Ok(transaction.commit()?)
    }
    drop(transaction);
    let worker = place.worker(Router::new().route("much", too_much)).build().unwrap();
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    let outcome = worker.perform(Job::new("much", ())).await.unwrap().outcome().await.unwrap();
    assert!(outcome.error().unwrap().message.contains("2000002 bytes; at most 1048576 are kept"), "{outcome:?}");
    worker.stop().await;
    assert_eq!((running.await.unwrap().unwrap().performed, place.effects()), (1, (0, 0)));
}

const JOBS: u32 = 2_000;
const KILLS: u32 = 20;
const FILE: &str = "WORK_TEST_COMPLETE_IN";

/// Takes a moment before and after the commit, so that kills hit in between.
async fn slowly(State(file): State<PathBuf>, context: Context) -> Result<(), BoxError> {
    tokio::time::sleep(Duration::from_millis(3)).await;
    let done = tokio::task::spawn_blocking(move || {
        let mut connection = Connection::open(&file)?;
        let transaction = begin(&mut connection);
        write(&transaction, &context);
        complete_in(&transaction, &context, ())?;
        Ok::<(), BoxError>(transaction.commit()?)
    });
    let done = done.await?;
    tokio::time::sleep(Duration::from_millis(10)).await;
    done
}

/// Not a test of its own: the process that the next test kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test that kills it"]
async fn worker_process() {
    let Some(file) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let store = SqliteStore::open(&file).await.unwrap();
    let router = Router::new().route("pay", slowly).with_state(file);
    let worker = QueueWorker::builder(store.clone(), router).concurrency(8).lease_for(Duration::from_millis(700));
    let worker = worker.max_crashes(1_000).build().unwrap();
    let empty = async {
        while store.counts(work_core::store::JobFilter::default()).await.is_ok_and(|counts| counts.open() > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let report = worker.run_until(empty).await.unwrap();
    assert_eq!(report.stale, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_each_job_has_its_effect_once() {
    let place = Place::new().await;
    let jobs = (0..JOBS).map(|n| Job::new("pay", n).into_stored(1024).unwrap()).collect();
    work_core::Store::insert(&place.store, jobs).await.unwrap();
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "worker_process", "--ignored", "--nocapture"]).env(FILE, &place.file);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let mut in_flight = 0;
    for kill in 1..=KILLS {
        let mut child = start();
        let before = effects(&place.file).0;
        while effects(&place.file).0 < before + 20 {
            std::thread::sleep(Duration::from_millis(1));
            assert!(child.try_wait().unwrap().is_none(), "the process ended before kill {kill}");
        }
        std::thread::sleep(Duration::from_micros(u64::from(kill) * 997 % 9_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let counts = place.store.counts(work_core::store::JobFilter::default()).await.unwrap();
        in_flight += u32::from(counts.of(JobState::Running) > 0);
        let (all, distinct) = place.effects();
        assert_eq!((all, all as u64), (distinct, counts.of(JobState::Completed)), "after kill {kill}");
    }
    assert!(in_flight >= KILLS / 2, "only {in_flight} kills hit running jobs");
    assert!(start().wait().unwrap().success());
    assert_eq!(place.effects(), (i64::from(JOBS), i64::from(JOBS)));
    let counts = place.store.counts(work_core::store::JobFilter::default()).await.unwrap();
    assert_eq!((counts.of(JobState::Completed), counts.total()), (u64::from(JOBS), u64::from(JOBS)));
}
