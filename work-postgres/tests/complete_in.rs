//! A job that is completed in its handler's own transaction: what the handler wrote is there exactly if the job is completed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::Place;
use tokio_postgres::{Client, NoTls, Transaction};
use work_core::runner::Report;
use work_core::store::{CompleteError, Inspect, JobFilter, StoredJob};
use work_core::{
    Args, Attempt, Backoff, BoxError, Chain, Context, Group, GroupStatus, Job, JobState, Json, Outcome, PreviousOutput,
    QueueWorker, QueueWorkerBuilder, RetryPolicy, Router, State, Status, Unique, Worker,
};
use work_postgres::PostgresStore;

/// What the handler does in its first attempt. In all others it commits.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
enum Then {
    Commit,
    CommitAndFail,
    CommitAndPanic,
    CommitAndHang,
    CommitAndTimeOut,
    CommitLaterInATask,
    CommitTheSecondTime,
    CommitAfterAWhile,
    RollBack,
    RollBackAndFail,
    HangBeforeTheCommit,
    TimeOutBeforeTheCommit,
    /// Somebody else has got the lease.
    LoseTheLease,
}

#[derive(Clone)]
struct App {
    store: PostgresStore,
    url: Arc<str>,
    schema: Arc<str>,
}

impl App {
    async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn write(&self, transaction: &Transaction<'_>, context: &Context) {
        let sql = format!("INSERT INTO {}.ledger VALUES ($1)", self.schema);
        transaction.execute(&sql, &[&context.job_id().unwrap().to_string()]).await.unwrap();
    }

    async fn effects(&self) -> (i64, i64) {
        let sql = format!("SELECT count(*), count(DISTINCT job) FROM {}.ledger", self.schema);
        let row = self.client().await.query_one(&sql, &[]).await.unwrap();
        (row.get(0), row.get(1))
    }
}

async fn forever<T>() -> T {
    std::future::pending().await
}

const MOMENT: Duration = Duration::from_millis(50);

async fn pay(
    Args(then): Args<Then>,
    Attempt(attempt): Attempt,
    State(app): State<App>,
    context: Context,
) -> Result<(), BoxError> {
    let then = if attempt == 1 { then } else { Then::Commit };
    let mut client = app.client().await;
    if then == Then::CommitLaterInATask {
        tokio::spawn(async move {
            let transaction = client.transaction().await.unwrap();
            app.write(&transaction, &context).await;
            app.store.complete_in(&transaction, &context, ()).await.unwrap();
            tokio::time::sleep(6 * MOMENT).await;
            transaction.commit().await.unwrap();
        });
        tokio::time::sleep(2 * MOMENT).await;
        return Err("it did not wait for its task".into());
    }
    let transaction = client.transaction().await?;
    app.write(&transaction, &context).await;
    if then == Then::LoseTheLease {
        let sql = format!("UPDATE {}.jobs SET fence = fence + 1", app.schema);
        transaction.batch_execute(&sql).await?;
        let error = app.store.complete_in(&transaction, &context, Json("paid")).await.unwrap_err();
        assert!(matches!(error, CompleteError::Lost { .. }), "{error}");
        return Err(error.into());
    }
    app.store.complete_in(&transaction, &context, Json("paid")).await?;
    match then {
        Then::RollBack => return Ok(()),
        Then::RollBackAndFail => return Err("rolled back".into()),
        Then::HangBeforeTheCommit => forever().await,
        Then::TimeOutBeforeTheCommit => tokio::time::timeout(MOMENT, forever()).await?,
        // Longer than a lease is extended after.
        Then::CommitAfterAWhile => tokio::time::sleep(10 * MOMENT).await,
        Then::CommitTheSecondTime => {
            transaction.rollback().await?;
            let transaction = client.transaction().await?;
            app.write(&transaction, &context).await;
            app.store.complete_in(&transaction, &context, Json("paid")).await?;
            return Ok(transaction.commit().await?);
        }
        _ => {}
    }
    transaction.commit().await?;
    match then {
        Then::CommitAndFail => Err("failed after the commit".into()),
        Then::CommitAndPanic => panic!("after the commit"),
        Then::CommitAndHang => forever().await,
        Then::CommitAndTimeOut => Ok(tokio::time::timeout(MOMENT, forever()).await?),
        _ => Ok(()),
    }
}

async fn app() -> App {
    let place = Place::new();
    let store = place.open().await;
    place.other().await.run("CREATE TABLE work.ledger (job text)").await.unwrap();
    App { store, url: place.url.into(), schema: place.schema.into() }
}

fn worker(app: &App, router: Router<App>) -> QueueWorkerBuilder {
    let retry = RetryPolicy::default().backoff(Backoff::constant(Duration::from_millis(1)));
    QueueWorker::builder(app.store.clone(), router.with_state(app.clone())).retry(retry)
}

/// Performs one job, and answers it as it is kept, the effects, and the report.
async fn performed(then: Then) -> (StoredJob, (i64, i64), Report) {
    let app = app().await;
    let worker = worker(&app, Router::new().route("pay", pay)).lease_for(Duration::from_secs(1)).build().unwrap();
    let id = worker.perform(Job::new("pay", then)).await.unwrap().id();
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    let get = async || app.store.get(id).await.unwrap().unwrap();
    match then {
        Then::CommitAndHang => {
            while app.effects().await.0 == 0 {
                tokio::time::sleep(MOMENT).await;
            }
            worker.stop_within(MOMENT).await;
        }
        Then::HangBeforeTheCommit => {
            while !get().await.state.eq(&JobState::Running) {
                tokio::time::sleep(MOMENT).await;
            }
            tokio::time::sleep(2 * MOMENT).await;
            worker.stop_within(MOMENT).await;
        }
        _ => {
            while !get().await.state.is_terminal() {
                tokio::time::sleep(MOMENT / 5).await;
            }
            worker.stop().await;
        }
    }
    (get().await, app.effects().await, running.await.unwrap().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_effect_and_the_end_are_committed_together() {
    for then in [Then::Commit, Then::CommitAfterAWhile] {
        let (job, effects, report) = performed(then).await;
        assert_eq!((job.state, job.status), (JobState::Completed, Some(Status::SUCCESS)));
        assert_eq!((job.output.as_deref(), job.attempt, effects), (Some(&b"\"paid\""[..]), 1, (1, 1)));
        assert_eq!((report.performed, report.stale, report.released), (1, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_after_the_commit_changes_nothing() {
    use Then::{CommitAndFail, CommitAndHang, CommitAndPanic, CommitAndTimeOut, CommitLaterInATask};
    for then in [CommitAndFail, CommitAndPanic, CommitAndHang, CommitAndTimeOut, CommitLaterInATask] {
        let (job, effects, report) = performed(then).await;
        assert_eq!((job.state, job.attempt, effects), (JobState::Completed, 1, (1, 1)), "{then:?}");
        assert!(job.attempts.is_empty(), "{then:?}");
        assert_eq!((report.performed, report.stale, report.released), (1, 0, 0), "{then:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_commit_the_job_is_tried_again_whatever_the_handler_says() {
    for (then, why) in [
        (Then::RollBack, "did not commit it"),
        (Then::RollBackAndFail, "rolled back"),
        (Then::TimeOutBeforeTheCommit, "deadline has elapsed"),
        (Then::LoseTheLease, "no longer current"),
    ] {
        let (job, effects, report) = performed(then).await;
        assert_eq!((job.state, job.attempt, effects), (JobState::Completed, 2, (1, 1)), "{then:?}");
        assert!(job.last_error().unwrap().message.contains(why), "{:?}", job.last_error());
        assert_eq!((report.performed, report.stale), (2, 0), "{then:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_is_stopped_before_its_commit_has_done_nothing() {
    let (job, effects, report) = performed(Then::HangBeforeTheCommit).await;
    assert_eq!((job.state, job.attempt, effects), (JobState::Available, 0, (0, 0)));
    assert_eq!((report.performed, report.stale, report.released), (0, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_transaction_of_the_same_attempt_counts() {
    let (job, effects, report) = performed(Then::CommitTheSecondTime).await;
    assert_eq!((job.state, job.attempt, effects), (JobState::Completed, 1, (1, 1)));
    assert_eq!((report.performed, report.stale), (1, 0));
}

/// Commits with what follows, and returns nothing.
async fn with_follow_ups(State(app): State<App>, context: Context) -> Result<(), BoxError> {
    let mut client = app.client().await;
    let transaction = client.transaction().await?;
    app.write(&transaction, &context).await;
    let outcome = Outcome::done().with_output("7").then(Job::new("note", "follow-up"));
    app.store.complete_in(&transaction, &context, outcome).await?;
    Ok(transaction.commit().await?)
}

async fn note(PreviousOutput(previous): PreviousOutput<u32>, Args(text): Args<String>) -> Json<(String, Option<u32>)> {
    Json((text, previous))
}

async fn called_back(group: GroupStatus) -> Json<(usize, usize)> {
    Json((group.completed, group.total))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_from_a_job_follows_from_the_transaction() {
    let app = app().await;
    let router = Router::new().route("pay", with_follow_ups).route("note", note).route("called-back", called_back);
    let worker = worker(&app, router).build().unwrap();
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

    while app.store.counts(JobFilter::default()).await.unwrap().open() > 0 {
        tokio::time::sleep(MOMENT / 5).await;
    }
    let notes = app.store.counts(JobFilter::all().kind("note")).await.unwrap();
    assert_eq!(notes.of(JobState::Completed), 6, "a follow-up each, and the chain's");
    worker.stop().await;
    let report = running.await.unwrap().unwrap();
    assert_eq!((app.effects().await, report.stale), ((5, 5), 0));
}
