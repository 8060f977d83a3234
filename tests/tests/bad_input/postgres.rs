//! Servers that cannot be a store, and rows that somebody wrote there by hand. Without `WORK_TEST_POSTGRES` these tests end.

use std::time::Duration;

use tokio_postgres::{Client, NoTls};
use work_core::store::{Inspect, JobFilter, Store, Want};
use work_core::{JobId, QueueWorker, Worker};
use work_postgres::{PostgresStore, PostgresStoreBuilder};

use crate::contents::{Cell, are_dead_letters, lease};
use crate::enqueue::{job, router};
use crate::table::{Case, PASSWORD, Table};

struct Place {
    url: String,
    schema: String,
}

impl Place {
    fn new() -> Option<Self> {
        let url = std::env::var("WORK_TEST_POSTGRES").ok()?;
        Some(Self { url, schema: format!("t_{}", JobId::new().as_uuid().simple()) })
    }

    fn builder(&self) -> PostgresStoreBuilder {
        PostgresStore::builder(&self.url).schema(&self.schema).pool_size(2)
    }

    async fn open(&self) -> PostgresStore {
        self.builder().connect().await.unwrap()
    }

    async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Host, port and the name of the database.
    fn server(&self) -> &str {
        self.url.rsplit_once('@').map_or("", |(_, server)| server)
    }

    /// The same URL with another database.
    fn at(&self, database: &str) -> String {
        let (before, _) = self.url.rsplit_once('/').unwrap();
        format!("{before}/{database}")
    }

    /// `work.` in the SQL is the schema.
    async fn run(&self, sql: &str) -> Result<(), String> {
        let sql = sql.replace("work.", &format!("{}.", self.schema));
        let said = |error: tokio_postgres::Error| error.as_db_error().map_or(String::new(), |e| e.message().to_owned());
        self.client().await.batch_execute(&sql).await.map_err(said)
    }

    fn table(&self, area: &'static str) -> Table {
        let mut table = Table::of(area);
        table.hide(self.server(), "[server]");
        table.hide(&self.schema, "[schema]");
        table.hide(format!("up to {}", PostgresStore::SCHEMA_VERSION), "up to [known]");
        table
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_a_store_is_refused_without_the_password() {
    let Some(place) = Place::new() else { return };
    let mut table = place.table("servers");
    let ann = format!("postgres://ann:{PASSWORD}@127.0.0.1");
    for (what, url, shown) in [
        ("a port that is a word", format!("{ann}:notaport/x"), "port"),
        ("a port that there is not", format!("{ann}:70000/x"), "port"),
        ("another scheme", format!("postgers://ann:{PASSWORD}@127.0.0.1/x"), "\"postgers\""),
        ("an option that there is not", format!("{ann}/x?{PASSWORD}=1"), "URL"),
        ("a password with a sign that ends it", format!("postgres://ann:half@{PASSWORD}@127.0.0.1:1/x"), "%40"),
        ("no URL", String::new(), ""),
        ("no server", format!("{ann}:1/x"), "127.0.0.1:1/x"),
        ("TLS", format!("{ann}:1/x?sslmode=require"), "TLS"),
        ("no database of that name", place.at("no_such_database"), "no_such_database"),
    ] {
        let builder = PostgresStore::builder(&url);
        assert!(!format!("{builder:?}").contains(PASSWORD), "{what}");
        table.hide(place.at("no_such_database").rsplit_once('@').unwrap().1, "[server]");
        table.refused(Case(58, what, shown), builder.connect()).await;
    }
    for schema in ["", "Work", "a b", "a\"; DROP TABLE x;--", "pg_x", "\u{202e}", &"s".repeat(49)] {
        let shown = format!("{schema:?}");
        let opened = PostgresStore::builder(&place.url).schema(schema).connect();
        table.refused(Case(59, &format!("schema {shown}"), &shown), opened).await;
    }
    table.refused(Case(59, "no connections", "pool_size 0"), place.builder().pool_size(0).connect()).await;
    let all = place.builder().pool_size(usize::MAX).connect();
    table.refused(Case(59, "all connections", "pool_size 18446744073709551615"), all).await;
    let at_once = place.builder().call_deadline(Duration::ZERO).connect();
    table.refused(Case(59, "answers in no time", "call_deadline 0ns"), at_once).await;
    table.stays();
}

#[tokio::test]
async fn a_database_in_a_state_that_keeps_nothing_is_refused_and_left_alone() {
    let Some(place) = Place::new() else { return };
    let mut table = place.table("databases");
    let name = place.schema.replace("t_", "d_");
    let own = place.at(&name);
    table.hide(own.rsplit_once('@').unwrap().1, "[server]");
    table.hide(&name, "[name]");
    table.hide(format!("database {}", place.url.rsplit_once('/').unwrap().1), "database [name]");
    let with = |option: &str| PostgresStore::builder(format!("{}?options={option}", place.url)).schema(&place.schema);
    let off = with("-c%20synchronous_commit%3Doff");
    table.refused(Case(60, "commits that are not waited for", "synchronous_commit"), off.connect()).await;
    let reads = with("-c%20default_transaction_read_only%3Don");
    table.refused(Case(60, "a database that may only be read", "read-only"), reads.connect()).await;
    let ascii = format!("CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    place.run(&ascii).await.unwrap();
    let opened = PostgresStore::builder(own).connect().await.map(drop);
    table.refused(Case(60, "a database of another encoding", "SQL_ASCII"), async { opened }).await;
    place.run(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();

    place.run(&format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")).await.unwrap();
    let as_guest = place.url.replace("://work@", &format!("://{name}:{PASSWORD}@"));
    let guest = || PostgresStore::builder(&as_guest).schema(&place.schema);
    table.refused_for_good(Case(60, "a role that may not make a schema", "permission denied"), guest().connect()).await;
    drop(place.open().await);
    table
        .refused_for_good(Case(60, "a role without any right to the schema", "permission denied"), guest().connect())
        .await;
    place
        .run(&format!(
            "GRANT USAGE ON SCHEMA {0} TO {name}; GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO {name}",
            place.schema
        ))
        .await
        .unwrap();
    let writes = async {
        let store = guest().connect().await.map_err(|error| error.to_string())?;
        QueueWorker::new(store, router()).perform(job()).await.map_err(|error| error.to_string())
    };
    table.refused_for_good(Case(60, "a role that may only read the tables", "permission denied"), writes).await;
    place.run(&format!("DROP OWNED BY {name}; DROP ROLE {name}")).await.unwrap();

    place.run("UPDATE work.work_schema SET version = 99").await.unwrap();
    table.refused(Case(60, "tables of a newer program", "version 99"), place.builder().connect()).await;
    let foreign = Place::new().unwrap();
    table.hide(&foreign.schema, "[schema]");
    foreign.run(&format!("CREATE SCHEMA {}; CREATE TABLE work.jobs (x int)", foreign.schema)).await.unwrap();
    table.refused(Case(60, "a table of another program", "`jobs`"), foreign.builder().connect()).await;
    table.stays();
}

const CELLS: [Cell; 17] = [
    (62, "kind", "'a b'", "\"a b\""),
    (62, "kind", "''", "\"\""),
    (62, "kind", "repeat('x', 1000000)", "xxxx"),
    (62, "unique_key", "''", "\"\""),
    (62, "unique_key", "repeat('x', 2000)", "xxxx"),
    (62, "headers", "'{\"a\": \"\\u0007\"}'", "\"a\""),
    (62, "args", "convert_to(repeat('x', 50000000), 'UTF8')", "50000000 bytes"),
    (62, "expires_at", "'-infinity'", "it expired"),
    (62, "timeout_ms", "-1", "timeout_ms -1"),
    (63, "max_attempts", "0", "max_attempts 0"),
    (63, "max_attempts", "-5", "max_attempts -5"),
    (63, "max_attempts", "2147483647", "max_attempts 2147483647"),
    (63, "attempt", "-2147483648", "attempt -2147483647"),
    (63, "attempt", "25", "attempt 26 of at most 25"),
    (63, "attempt", "2147483647", "2147483647"),
    (63, "fence", "-9223372036854775808", "-9223372036854775807"),
    (63, "fence", "9223372036854775807", "9223372036854775807"),
];

#[tokio::test]
async fn rows_that_are_no_jobs_are_dead_letters_and_the_queue_goes_on() {
    let Some(place) = Place::new() else { return };
    let store = place.builder().max_args(1_000).connect().await.unwrap();
    for (_, column, value, _) in CELLS {
        let (kind, bad) = if column == "kind" { ("", "") } else { ("kind, ", "'bad', ") };
        place.run(&format!("INSERT INTO work.jobs ({kind}{column}) VALUES ({bad}{value})")).await.unwrap();
    }
    QueueWorker::new(store.clone(), router()).perform(job()).await.unwrap();
    let mut table = place.table("rows_of_a_server");
    are_dead_letters(&mut table, &store, &CELLS).await;
    for (what, columns, values, shown) in [
        ("a state that there is not", "state", "'flying'", "jobs_state_check"),
        ("a priority that there is not", "priority", "-1", "jobs_priority_check"),
        ("running without a lease", "state", "'running'", "jobs_lease"),
        ("no due time", "scheduled_at", "NULL", "scheduled_at"),
        ("a year that there is not", "scheduled_at", "'300000-01-01'", "300000"),
        ("NUL in a name", "queue", "E'a\\x00b'", "0x00"),
    ] {
        let sql = format!("INSERT INTO work.jobs (kind, {columns}) VALUES ('k', {values})");
        table.refused_for_good(Case(64, what, shown), place.run(&sql)).await;
    }
    for (row, call, shown) in [
        (64, "'a b'", "\"a b\""),
        (64, "'k', 'no json'", "json"),
        (64, "'k', '1', '{\"priority\": 10}'", "10"),
        (64, "'k', '1', '{\"max_attempts\": 0}'", "0"),
        (64, "'k', '1', '{\"timeout_ms\": 0}'", "0"),
        (64, "'k', '1', '{\"prio\": 1}'", "\"prio\""),
        (64, "'k', to_json(repeat('x', 1048576))", "1048578"),
    ] {
        let sql = format!("SELECT work.enqueue({call})");
        table.refused_for_good(Case(row, &format!("enqueue({call})"), shown), place.run(&sql)).await;
    }
    table.stays();
}

#[tokio::test]
async fn times_written_by_hand_are_now_or_never() {
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    let mut table = place.table("times_of_a_server");
    for at in ["-infinity", "1970-01-01", "294276-12-31", "infinity"] {
        let sql = format!("INSERT INTO work.jobs (kind, scheduled_at, created_at) VALUES ('known', '{at}', '{at}')");
        place.run(&sql).await.unwrap();
        let then = if at.starts_with('2') || at == "infinity" { "never" } else { "now" };
        table.accepted(Case(67, at, then), async { Ok::<_, std::fmt::Error>(()) }).await;
    }
    assert_eq!(lease(&store, 10).await.len(), 2);
    table.stays();
}

#[tokio::test]
async fn a_table_that_somebody_changed_is_named_by_what_fails() {
    let Some(first) = Place::new() else { return };
    let mut table = first.table("tables_of_a_server");
    for (what, change, shown) in [
        ("no table of jobs", "DROP TABLE work.jobs CASCADE", "jobs"),
        ("no column for headers", "ALTER TABLE work.jobs DROP COLUMN headers CASCADE", "headers"),
        ("no index of unique keys", "DROP INDEX work.jobs_unique", "jobs_unique"),
    ] {
        let place = Place::new().unwrap();
        table.hide(&place.schema, "[schema]");
        drop(place.open().await);
        place.run(change).await.unwrap();
        let used = async {
            let store = place.builder().connect().await.map_err(|error| error.to_string())?;
            let stored = job().into_stored(100).unwrap();
            store.insert(vec![stored]).await.map_err(|error| error.to_string())?;
            place.run("INSERT INTO work.jobs (kind) VALUES ('known')").await?;
            let want = Want { limit: 10, worker: "test".into(), ..Want::default() };
            let leased = store.lease(want).await.map_err(|error| error.to_string())?.jobs;
            if leased.len() == 2 { Ok(()) } else { Err(format!("{} jobs", leased.len())) }
        };
        table.refused_for_good(Case(69, what, shown), used).await;
    }
    table.stays();
}

#[tokio::test]
async fn a_transaction_that_cannot_take_a_job_is_refused_by_what_is_wrong_with_it() {
    let Some(place) = Place::new() else { return };
    let store = place.open().await;
    let mut table = place.table("transactions_of_a_server");
    for (what, before, shown) in [
        ("a transaction that failed before", "BEGIN; SAVEPOINT s; SELECT 1/0", "division by zero"),
        ("a transaction that may only read", "BEGIN READ ONLY; SELECT work.enqueue('k')", "read-only"),
    ] {
        table.refused_for_good(Case(61, what, shown), place.run(before)).await;
    }
    let client = place.client().await;
    drop(client.batch_execute("BEGIN; SELECT 1/0").await);
    let after = client.batch_execute(&format!("SELECT {}.enqueue('k')", place.schema)).await;
    let said = after.map_err(|error| error.as_db_error().unwrap().message().to_owned());
    table.refused_for_good(Case(61, "the same, in the next statement", "aborted"), async { said }).await;
    let elsewhere = place.run("SELECT nowhere.enqueue('k')").await;
    table.refused_for_good(Case(61, "a database without the schema", "nowhere"), async { elsewhere }).await;
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 0);
    table.stays();
}
