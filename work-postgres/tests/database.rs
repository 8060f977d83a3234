//! The database: what other programs do in it, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use support::{Place, complete, count, job, lease};
use work_core::JobState;
use work_core::store::{Inserted, Inspect, JobFilter, Order, Settled, Store};
use work_postgres::{Durability, OpenError, PostgresStore};

#[tokio::test]
async fn a_job_enqueued_by_sql_exists_exactly_if_its_transaction_commits() {
    let place = Place::new();
    let store = place.open().await;
    let other = place.other().await;
    other.run("CREATE TABLE work.users (name text)").await.unwrap();
    for (end, expected) in [("ROLLBACK", 0), ("COMMIT", 1)] {
        other.run("BEGIN; INSERT INTO work.users VALUES ('Ann')").await.unwrap();
        other.run("SELECT work.enqueue('greet', '\"Ann\"')").await.unwrap();
        assert!(lease(&store, 10).await.jobs.is_empty(), "not before the commit");
        other.run(end).await.unwrap();
        assert_eq!(other.number("SELECT count(*) FROM work.users").await, expected);
        assert_eq!(count(&store, JobState::Available).await, u64::try_from(expected).unwrap());
    }
    let leases = lease(&store, 10).await.jobs;
    assert_eq!(leases[0].job.args, "\"Ann\"");
    assert_eq!(store.settle(vec![complete(&leases[0])]).await.unwrap(), [Settled::Done]);
}

#[tokio::test]
async fn a_trigger_enqueues_with_every_option() {
    let place = Place::new();
    let store = place.open().await;
    let other = place.other().await;
    let sql = "CREATE TABLE work.users (name text);
        CREATE FUNCTION work.welcome() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM work.enqueue('welcome', to_jsonb(NEW), jsonb_build_object('queue', 'mail', 'priority', 2,
                'max_attempts', 7, 'timeout_ms', 1500, 'expires_at', '2100-01-01T00:00:00Z', 'unique_key', NEW.name,
                'unique_scope', 'kept', 'headers', jsonb_build_object('traceparent', '00-ab'), 'delay_ms', 3600000));
            RETURN NEW;
        END $$;
        CREATE TRIGGER welcome AFTER INSERT ON work.users FOR EACH ROW EXECUTE FUNCTION work.welcome();
        INSERT INTO work.users VALUES ('Ann'), ('Ann'), ('Bob');";
    other.run(sql).await.unwrap();
    let jobs = store.list(JobFilter::all(), Order::OldestFirst, None, 10).await.unwrap().jobs;
    assert_eq!(jobs.len(), 2, "one key, one job");
    let parts = &jobs[0].job.parts;
    assert_eq!((parts.kind.as_str(), parts.queue.as_str(), parts.priority), ("welcome", "mail", 2));
    assert_eq!((parts.max_attempts, parts.timeout.unwrap().as_millis()), (Some(7), 1500));
    assert_eq!(parts.expires_at.unwrap().to_rfc3339(), "2100-01-01T00:00:00+00:00");
    assert_eq!(parts.headers["traceparent"], "00-ab");
    assert_eq!(parts.unique, Some(work_core::Unique::while_kept("Ann")));
    assert!((parts.scheduled_at.unwrap() - jobs[0].created_at).num_minutes() >= 59);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&jobs[0].job.args).unwrap()["name"], "Ann");
}

#[tokio::test]
async fn what_no_store_would_take_is_refused_by_the_function_with_what_it_takes() {
    let place = Place::new();
    let store = place.open().await;
    let other = place.other().await;
    for (call, expected) in [
        ("'a b'", "use 1 to 63 of A-Z"),
        ("''", "use 1 to 63"),
        ("NULL", "use 1 to 63"),
        ("'k', 'no json'", "invalid input syntax for type json"),
        ("'k', '1', '{\"queue\": \"a b\"}'", "use 1 to 63"),
        ("'k', '1', '{\"priority\": 10}'", "use 0 to 9"),
        ("'k', '1', '{\"max_attempts\": 0}'", "use 1 to 1000"),
        ("'k', '1', '{\"timeout_ms\": 0}'", "use more than zero"),
        ("'k', '1', '{\"unique_key\": \"\"}'", "use 1 to 512 bytes"),
        ("'k', '1', '{\"unique_key\": \"k\", \"unique_scope\": \"x\"}'", "active or kept"),
        ("'k', '1', '{\"unique_key\": \"k\", \"unique_within_ms\": 0}'", "use 1 to 316224000000"),
        (
            "'k', '1', '{\"unique_key\": \"k\", \"unique_within_ms\": 1, \"unique_scope\": \"kept\"}'",
            "without unique_scope",
        ),
        ("'k', '1', '{\"unique_key\": \"k\", \"on_conflict\": \"x\"}'", "unknown on_conflict \"x\"; use keep_first"),
        (
            "'k', '1', '{\"unique_key\": \"k\", \"on_conflict\": \"run_after\", \"unique_within_ms\": 1}'",
            "only for the unique_scope",
        ),
        (
            "'k', '1', '{\"unique_key\": \"k\", \"on_conflict\": \"run_after\", \"unique_scope\": \"kept\"}'",
            "only for the unique_scope",
        ),
        ("'k', '1', '{\"on_conflict\": \"replace_args\"}'", "need a unique_key"),
        ("'k', '1', '{\"headers\": [1]}'", "object of texts"),
        ("'k', '1', '{\"prio\": 1}'", "unknown option \"prio\"; use id, queue"),
        ("'k', to_json(repeat('x', 1048576))", "at most 1048576"),
    ] {
        let error = other.run(&format!("SELECT work.enqueue({call})")).await.unwrap_err();
        assert!(error.contains(expected), "{call}: {error}");
    }
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_may_open_a_new_schema_at_once() {
    for _ in 0..3 {
        let place = Place::new();
        let opens: Vec<_> = (0..8).map(|_| tokio::spawn(place.builder().connect())).collect();
        for open in opens {
            let store = open.await.unwrap().unwrap();
            store.insert(vec![job("greet", 1)]).await.unwrap();
        }
        assert_eq!(count(&place.open().await, JobState::Available).await, 8);
    }
}

#[tokio::test]
async fn schemas_of_one_database_are_stores_of_their_own() {
    let (one, two) = (Place::new(), Place::new());
    let (first, second) = (one.open().await, two.open().await);
    let same = job("greet", 1);
    for store in [&first, &second] {
        assert_eq!(store.insert(vec![same.clone()]).await.unwrap(), [Inserted::New(same.parts.id)]);
    }
    assert_eq!(lease(&first, 10).await.jobs.len(), 1);
    assert_eq!(count(&second, JobState::Available).await, 1);
}

#[tokio::test]
async fn a_newer_schema_and_one_of_another_program_are_refused_and_left_alone() {
    let place = Place::new();
    drop(place.open().await);
    let other = place.other().await;
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'SCHEMA'::regnamespace";
    let tables = tables.replace("SCHEMA", &place.schema);
    other.run("DROP FUNCTION work.cancel; UPDATE work.work_schema SET version = 99").await.unwrap();
    let before = other.number(&tables).await;
    let error = place.builder().connect().await.unwrap_err();
    assert!(
        matches!(error, OpenError::NewerSchema { found: 99, known: PostgresStore::SCHEMA_VERSION, .. }),
        "{error:?}"
    );
    let known = PostgresStore::SCHEMA_VERSION;
    let said = format!("has version 99, and this program knows versions up to {known}; run a newer program");
    assert!(error.to_string().contains(&said), "{error}");
    assert_eq!(other.number(&tables).await, before);
    let cancel = "SELECT count(*) FROM pg_proc WHERE proname = 'cancel' AND pronamespace = 'SCHEMA'::regnamespace";
    assert_eq!(other.number(&cancel.replace("SCHEMA", &place.schema)).await, 0, "nothing was repaired");

    let foreign = Place::new();
    foreign
        .other()
        .await
        .run(&format!("CREATE SCHEMA {}; CREATE TABLE work.jobs (x int)", foreign.schema))
        .await
        .unwrap();
    let error = foreign.builder().connect().await.unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
}

#[tokio::test]
async fn settings_below_the_durability_are_refused_by_name() {
    let mut place = Place::new();
    let url = place.url.clone();
    place.url = format!("{url}?options=-c%20synchronous_commit%3Doff");
    for durability in [Durability::PowerLoss, Durability::ProcessDeath] {
        let error = place.builder().durability(durability).connect().await.unwrap_err().to_string();
        assert!(error.contains("synchronous_commit is \"off\" and must be \"on\""), "{error}");
    }
    place.url = format!("{url}?options=-c%20default_transaction_read_only%3Don");
    let error = place.builder().connect().await.unwrap_err();
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
    assert_eq!(
        Place { schema: "x".into(), url: url.clone() }
            .other()
            .await
            .number(&format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{}'", place.schema))
            .await,
        0,
        "nothing was changed"
    );
    place.url = url;
    drop(place.open().await);
    place.other().await.run("ALTER TABLE work.history SET UNLOGGED").await.unwrap();
    let error = place.builder().connect().await.unwrap_err().to_string();
    assert!(error.contains("history UNLOGGED"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_opened_says_why_and_never_the_password() {
    let url = support::url();
    for (url, schema, expected) in [
        ("postgres://ann:s3cret@127.0.0.1:notaport/x", "work", "the URL of the database is wrong"),
        ("postgres://ann:s3cret@127.0.0.1:1/x", "work", "127.0.0.1:1/x: no connection; is the server up"),
        ("postgres://ann:s3cret@127.0.0.1:1/x?sslmode=require", "work", "TLS is needed"),
        (url.as_str(), "Work", "invalid schema name \"Work\"; use 1 to 48 of a-z 0-9 _"),
        (url.as_str(), "a\"; DROP TABLE x;--", "invalid schema name"),
        (url.as_str(), "", "invalid schema name"),
        (url.as_str(), "pg_x", "invalid schema name"),
    ] {
        let builder = PostgresStore::builder(url).schema(schema);
        assert!(!format!("{builder:?}").contains("s3cret"));
        let error = builder.connect().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }
    let error = PostgresStore::builder(url).pool_size(0).connect().await.unwrap_err().to_string();
    assert_eq!(error, "pool_size 0 is out of range; use 1 to 1000");
}

#[test]
fn this_says_so_if_there_is_no_server() {
    assert!(support::url().starts_with("postgres"));
}

#[tokio::test]
async fn what_follows_a_job_may_be_larger_than_its_args() {
    let place = Place::new();
    let store = place.open().await;
    let previous = format!("\"{}\"", "x".repeat(3 * 1024 * 1024));
    let mut long = job("next", 1);
    long.parts.headers.insert("work.previous".into(), previous.clone());
    store.insert(vec![long]).await.unwrap();
    assert_eq!(lease(&store, 1).await.jobs[0].job.parts.headers["work.previous"], previous);
}
