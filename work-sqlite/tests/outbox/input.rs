//! Tables and options that cannot be used.

use std::time::Duration;

use work_sqlite::outbox::{SqliteOutbox, SqliteOutboxBuilder};

use crate::place::Place;

const TABLES: &str = "
    CREATE TABLE good(id INTEGER PRIMARY KEY, key TEXT, payload TEXT, published_at TEXT, made TEXT AS (key || '!'),
        sent INTEGER, done INTEGER NOT NULL DEFAULT 0, error TEXT);
    CREATE VIEW a_view AS SELECT * FROM good;
    CREATE TABLE no_type(id PRIMARY KEY NOT NULL, payload, published_at);
    CREATE TABLE bytes(id BLOB PRIMARY KEY NOT NULL, payload, published_at);
    CREATE TABLE nullable(id TEXT PRIMARY KEY, payload, published_at);
    CREATE TABLE doubled(id INTEGER NOT NULL, payload, published_at);
    CREATE TABLE pairs(id INTEGER NOT NULL, other INTEGER NOT NULL, payload, published_at, PRIMARY KEY (id, other));
    CREATE TABLE always(id INTEGER PRIMARY KEY, payload, published_at TEXT NOT NULL DEFAULT '');
    CREATE TABLE uniq(id TEXT NOT NULL UNIQUE, payload, published_at);
    CREATE TABLE no_rowid(id TEXT PRIMARY KEY, payload, published_at) WITHOUT ROWID;";

async fn refused(outbox: SqliteOutboxBuilder) -> String {
    outbox.open().await.expect_err("refused").to_string()
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_what_was_given_and_what_is_accepted() {
    let place = Place::new(TABLES);
    let of = |table: &str| SqliteOutbox::builder(place.path(), table);
    let good = || of("good");
    let columns = "it has: id, key, payload, published_at, made, sent, done, error";
    for (outbox, message) in [
        (
            of("bad"),
            "there is no table \"bad\"; the file has: always, bytes, doubled, good, no_rowid, no_type, nullable, pairs, uniq",
        ),
        (of("main.good"), "there is no table \"main.good\""),
        (of(""), "table \"\" is no name; use 1 to 128 bytes without control characters"),
        (of("a\0b"), "table \"a\\0b\" is no name"),
        (of(&"x".repeat(129)), "is no name"),
        (of("a_view"), "\"a_view\" is a view; use a table"),
        (good().id("nr"), &format!("table \"good\" has no id column \"nr\"; {columns}")),
        (good().key("k"), "has no key column \"k\""),
        (good().payload("\"payload\""), "has no payload column \"\\\"payload\\\"\""),
        (good().published_at("x"), "has no published column \"x\""),
        (good().topic("x"), "has no topic column \"x\""),
        (good().headers("x"), "has no headers column \"x\""),
        (good().error("x"), "has no error column \"x\""),
        (good().key("a\nb"), "key \"a\\nb\" is no name"),
        (good().published_at("KEY").key("key"), "column \"KEY\" is given for published and for key; use two columns"),
        (good().error("payload"), "column \"payload\" is given for error and for payload"),
        (good().published_at("made"), "column \"made\" is generated; use one that can be written"),
        (good().error("done"), "error column \"done\" is NOT NULL; use one that can be NULL"),
        (good().published("sent"), "published column \"sent\" is nullable; use NOT NULL DEFAULT 0"),
        (of("always"), "published column \"published_at\" is NOT NULL; use one that can be NULL"),
        (of("no_type"), "id column \"id\" is without a type; use INTEGER or TEXT"),
        (of("bytes"), "id column \"id\" is BLOB; use INTEGER or TEXT"),
        (of("nullable"), "id column \"id\" is nullable; use INTEGER PRIMARY KEY, or one that is NOT NULL"),
        (of("doubled"), "id column \"id\" is not unique; use the primary key, or one with a UNIQUE index"),
        (of("pairs"), "id column \"id\" is not unique"),
        (good().in_flight(0), "in_flight 0 is out of range; use 1 to 10000"),
        (good().in_flight(10_001), "in_flight 10001 is out of range"),
        (good().lease(Duration::from_millis(99)), "lease 99ms is out of range; use 100 ms to 1 h"),
        (good().poll_every(Duration::ZERO), "poll_every 0ns is out of range; use 10 ms to 1 h"),
        (good().dead_after(0), "dead_after 0 is out of range; use 1 or more"),
    ] {
        let error = refused(outbox).await;
        assert!(error.contains(message), "{error}\nnot: {message}");
    }
    let tables = place.number("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'work%'", []);
    assert_eq!(tables, 0, "nothing was made");
}

#[tokio::test]
async fn tables_of_every_accepted_shape_are_opened() {
    let place = Place::new(TABLES);
    for outbox in [
        SqliteOutbox::builder(place.path(), "good").published("done").key("made").topic("key").error("error"),
        SqliteOutbox::builder(place.path(), "GOOD").id("ID").key("ID"),
        SqliteOutbox::builder(place.path(), "uniq"),
        SqliteOutbox::builder(place.path(), "no_rowid"),
    ] {
        outbox.open().await.unwrap();
    }
}

#[tokio::test]
async fn a_path_that_is_no_database_is_refused() {
    let place = Place::new(TABLES);
    let folder = place.path().parent().unwrap().to_owned();
    let text = folder.join("text");
    std::fs::write(&text, "no database at all, but some text that is long enough").unwrap();
    for (path, message) in [
        (folder.join("none.db"), "none.db: cannot be opened"),
        (folder.join("none/app.db"), "the folder"),
        (folder.clone(), "this is a folder"),
        (":memory:".into(), "SQLite in memory keeps nothing"),
        (text, "this is not an SQLite database"),
    ] {
        let error = refused(SqliteOutbox::builder(&path, "good")).await;
        assert!(error.contains(message), "{error}\nnot: {message}");
    }
    assert!(!folder.join("none.db").exists());
}
