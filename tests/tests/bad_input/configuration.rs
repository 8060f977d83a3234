//! Files that cannot be a store.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use work_sqlite::SqliteStore;

use crate::table::{Case, Table};

fn sql(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_a_store_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = Table::of("files");
    table.hide(dir.path().to_str().unwrap(), "[folder]");
    table.hide(format!("up to {}", SqliteStore::SCHEMA_VERSION), "up to [known]");
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("text"), "x".repeat(5_000)).unwrap();
    std::fs::write(path("half"), "SQLite format 3\0").unwrap();
    sql(&path("newer"), "CREATE TABLE work_schema (version); INSERT INTO work_schema VALUES (99)");
    sql(&path("foreign"), "CREATE TABLE jobs (x)");
    for (row, what, name) in [
        (56, "a folder that is not there", "no/folder"),
        (56, "a folder", "."),
        (56, "a device", "/dev/full"),
        (56, "a folder in a file", "text/x"),
        (57, "a text", "text"),
        (57, "the first bytes of a database", "half"),
        (57, "a database of a newer program", "newer"),
        (57, "a database of another program", "foreign"),
    ] {
        let given = path(name);
        // A device has no end.
        let bytes = || if given.is_file() { std::fs::read(&given).unwrap() } else { Vec::new() };
        let before = bytes();
        table.refused(Case(row, what, given.to_str().unwrap()), SqliteStore::open(&given)).await;
        assert_eq!(bytes(), before, "{what}");
    }
    table.refused(Case(56, "no path", ""), SqliteStore::open("")).await;
    table.refused(Case(56, "memory", ":memory:"), SqliteStore::open(":memory:")).await;
    let damaged = path("damaged");
    drop(SqliteStore::open(&damaged).await.unwrap());
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[100..].fill(0xff);
    std::fs::write(&damaged, bytes).unwrap();
    table.refused(Case(57, "a database with other bytes in it", "damaged"), SqliteStore::open(&damaged)).await;
    for name in ["with %20 and ü?mode=ro#.db", "file:x?mode=memory", "-rf", " "] {
        let given = path(name);
        let what = format!("{name:?}");
        let as_it_is = Case(56, &what, "a file of that name, for its owner alone");
        let _store = table.accepted(as_it_is, SqliteStore::open(&given)).await;
        assert_eq!(std::fs::metadata(&given).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let empty = path("empty");
    std::fs::write(&empty, "").unwrap();
    let _store = table.accepted(Case(57, "a file of no bytes", "a new store"), SqliteStore::open(&empty)).await;
    table.stays();
}
