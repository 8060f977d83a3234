//! Tables and options that cannot be used.

use std::time::Duration;

use work_postgres::outbox::{PostgresOutbox, PostgresOutboxBuilder};

use crate::place::Place;

const TABLES: &str = "
    CREATE TABLE work.good(id bigint PRIMARY KEY, key text, payload json, published_at timestamptz, due_at timestamptz,
        attempts integer NOT NULL DEFAULT 0, error text, made text GENERATED ALWAYS AS (error || '!') STORED,
        at timestamp, tries integer, point point, always timestamptz NOT NULL DEFAULT now());
    CREATE VIEW work.a_view AS SELECT * FROM work.good;
    CREATE TABLE work.double(LIKE work.good);
    ALTER TABLE work.double ADD CHECK (id > 0), ALTER id SET NOT NULL;
    CREATE TABLE work.nullable(LIKE work.good);
    ALTER TABLE work.nullable ALTER id DROP NOT NULL;
    CREATE TABLE work.partial(LIKE work.good);
    CREATE UNIQUE INDEX ON work.partial(id) WHERE id > 0;
    CREATE UNIQUE INDEX ON work.partial(id, key);";

async fn refused(outbox: PostgresOutboxBuilder) -> String {
    outbox.open().await.expect_err("refused").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_is_refused_with_what_was_given_and_what_is_accepted() {
    let place = Place::new(TABLES).await;
    let of = |table: &str| PostgresOutbox::builder(&place.url, table).schema(&place.schema);
    let good = || of("good");
    let columns = "it has: id, key, payload, published_at, due_at, attempts, error, made, at, tries, point, always";
    for (outbox, message) in [
        (of("bad"), "there is no table \"bad\"; there are: double, good, nullable, partial"),
        (of("Good"), "there is no table \"Good\""),
        (of("work.good"), "there is no table \"work.good\""),
        (good().schema("nowhere"), "there is no table \"good\"; there are: no tables"),
        (of(""), "table \"\" is no name; use 1 to 63 bytes without control characters"),
        (of("a\0b"), "table \"a\\0b\" is no name"),
        (of(&"x".repeat(64)), "is no name"),
        (of("a_view"), "\"a_view\" is a view; use a table"),
        (good().id("nr"), &format!("table \"good\" has no id column \"nr\"; {columns}")),
        (good().key("k"), "has no key column \"k\""),
        (good().payload("\"payload\""), "has no payload column \"\\\"payload\\\"\""),
        (good().published_at("x"), "has no published_at column \"x\""),
        (good().due_at("x"), "has no due_at column \"x\""),
        (good().attempts("x"), "has no attempts column \"x\""),
        (good().error("x"), "has no error column \"x\""),
        (good().topic("x"), "has no topic column \"x\""),
        (good().headers("x"), "has no headers column \"x\""),
        (good().key("a\nb"), "key \"a\\nb\" is no name"),
        (good().id("point"), "id column \"point\" is point; use smallint, integer, bigint, text, varchar or uuid"),
        (good().payload("tries"), "payload column \"tries\" is integer; use json, jsonb, text or varchar"),
        (good().published_at("at"), "published_at column \"at\" is timestamp without time zone; use timestamptz"),
        (good().due_at("always"), "due_at column \"always\" is NOT NULL; use one that can be NULL"),
        (good().attempts("tries"), "attempts column \"tries\" is nullable; use NOT NULL DEFAULT 0"),
        (good().attempts("key"), "attempts column \"key\" is text; use integer or bigint"),
        (good().error("made"), "error column \"made\" is generated; use one that can be written"),
        (good().key("error"), "column \"error\" is given for error and for key; use two columns"),
        (good().due_at("published_at"), "column \"published_at\" is given for published_at and for due_at"),
        (of("nullable"), "id column \"id\" is nullable; use one that is NOT NULL"),
        (of("double"), "id column \"id\" is not unique; use the primary key, or one with a UNIQUE index"),
        (of("partial"), "id column \"id\" is not unique"),
        (good().in_flight(0), "in_flight 0 is out of range; use 1 to 10000"),
        (good().lease(Duration::from_millis(99)), "lease 99ms is out of range; use 100 ms to 1 h"),
        (good().poll_every(Duration::ZERO), "poll_every 0ns is out of range; use 10 ms to 1 h"),
        (good().dead_after(0), "dead_after 0 is out of range; use 1 or more"),
        (good().call_deadline(Duration::ZERO), "call_deadline 0ns is out of range; use at least 10 ms"),
        (PostgresOutbox::builder("nonsense", "good"), "the URL of the database is wrong"),
    ] {
        let error = refused(outbox).await;
        assert!(error.contains(message), "{error}\nnot: {message}");
    }
    good().key("made").open().await.unwrap();
    let in_path = PostgresOutbox::builder(format!("{}?options=-csearch_path%3D{}", place.url, place.schema), "good");
    in_path.open().await.expect("found in the search path");
}

#[tokio::test]
async fn a_server_that_is_away_is_named() {
    let error = refused(PostgresOutbox::builder("postgres://work@127.0.0.1:1/x", "good")).await;
    assert!(error.starts_with("127.0.0.1:1/x: no connection"), "{error}");
}
