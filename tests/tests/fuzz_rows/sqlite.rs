use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::Value;
use work_core::store::Inspect;
use work_core::testing::fuzz::{Fuzz, Random};
use work_sqlite::SqliteStore;

use crate::{TEXTS, fill, it_can_be_looked_at, neighbours_are_performed};

const TABLES: [&str; 14] = [
    "jobs",
    "jobs",
    "jobs",
    "jobs",
    "attempts",
    "tags",
    "stops",
    "paused",
    "workers",
    "schedules",
    "limits",
    "rates",
    "kept",
    "capacities",
];

fn value(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => Value::Real(f64::from_bits(random.next())),
        2 => Value::Blob(random.bytes(TEXTS)),
        3 | 4 => Value::Text(random.text(TEXTS)),
        _ => Value::Integer(random.number()),
    }
}

/// Also texts that are none: bytes in a column of texts.
fn overwrite(file: &Connection, table: &str, random: &mut Random) -> Option<String> {
    let mut statement = file.prepare("SELECT name FROM pragma_table_info(?1)").unwrap();
    let columns: Vec<String> = statement.query_map([table], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let column = random.pick(&columns).clone();
    let value = value(random);
    let as_text = if matches!(value, Value::Blob(_)) && random.once_in(2) { "CAST(?1 AS TEXT)" } else { "?1" };
    let done = file.execute(&format!("UPDATE {table} SET {column} = {as_text}"), [&value]);
    done.is_ok_and(|rows| rows > 0).then(|| format!("{table}.{column} = {as_text} with {value:?}"))
}

/// What waits, is due and is in the queue that was asked for was leased or refused with a reason.
const LEFT: &str = "SELECT count(*) FROM jobs WHERE state = 'available' AND queue = 'default' AND after_key IS NULL
    AND scheduled_at < CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) - 1000";

#[tokio::test]
async fn any_value_in_any_column_of_sqlite_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store: Arc<dyn Inspect> = Arc::new(SqliteStore::open(&path).await.unwrap());
    let file = Connection::open(&path).unwrap();
    file.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let mut fuzz = Fuzz::new("rows of SQLite");
    while let Some(mut random) = fuzz.next_case() {
        fill(store.as_ref(), &mut random).await;
        let table = *random.pick(&TABLES);
        let done: Vec<String> = (0..=random.below(3)).filter_map(|_| overwrite(&file, table, &mut random)).collect();
        fuzz.about(&done);
        if !done.is_empty() {
            neighbours_are_performed(store.as_ref()).await;
            assert_eq!(
                file.query_row(LEFT, [], |row| row.get::<_, i64>(0)).unwrap(),
                0,
                "a job was left without a reason"
            );
            it_can_be_looked_at(&store, &mut random).await;
        }
        for table in TABLES {
            file.execute_batch(&format!("DELETE FROM {table}")).unwrap();
        }
    }
}
