use std::io::Write;
use std::sync::Arc;

use tokio_postgres::{Client, NoTls};
use work_core::JobId;
use work_core::store::Inspect;
use work_core::testing::fuzz::{Fuzz, Random};
use work_postgres::PostgresStore;

use crate::{TEXTS, fill, it_can_be_looked_at, neighbours_are_performed};

const TABLES: [&str; 15] = [
    "jobs",
    "jobs",
    "jobs",
    "history",
    "history",
    "attempts",
    "tags",
    "paused",
    "workers",
    "schedules",
    "limits",
    "rates",
    "permits",
    "kept",
    "capacities",
];

const INSTANTS: [&str; 8] = [
    "-infinity",
    "infinity",
    "epoch",
    "4713-01-01 00:00:00 BC",
    "294276-12-31 23:59:59.999999",
    "1969-12-31 23:59:59.9999",
    "now",
    "9999-12-31",
];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

/// A literal of the type of a column.
fn value(kind: &str, random: &mut Random) -> String {
    if random.once_in(8) {
        return "NULL".to_owned();
    }
    match kind {
        "bool" => random.pick(&["true", "false"]).to_string(),
        "int2" => (random.number() as i16).to_string(),
        "int4" => (random.number() as i32).to_string(),
        "int8" => format!("'{}'", random.number()),
        "float4" | "float8" => format!("'{}'", random.pick(&["NaN", "Infinity", "-Infinity", "-1", "1.5", "0"])),
        "timestamptz" => format!("'{}'", random.pick(&INSTANTS)),
        "uuid" => quoted(&uuid::Uuid::from_u64_pair(random.next(), random.next()).to_string()),
        "bytea" => format!("'\\x{}'", random.bytes(TEXTS).iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        "_text" => format!("ARRAY[{}, {}]", quoted(&random.text(TEXTS)), quoted(&random.text(TEXTS))),
        _ => quoted(&random.text(TEXTS)),
    }
}

struct Place {
    client: Client,
    schema: String,
    /// Of each table, its columns and their types.
    columns: Vec<(String, String, String)>,
}

impl Place {
    async fn overwrite(&self, table: &str, random: &mut Random) -> Option<String> {
        let columns: Vec<_> = self.columns.iter().filter(|(of, ..)| of == table).collect();
        if columns.is_empty() {
            return None;
        }
        let (_, column, kind) = *random.pick(&columns);
        let sql = format!("UPDATE {}.{table} SET {column} = {}", self.schema, value(kind, random));
        // What the table refuses is not there.
        self.client.execute(&sql, &[]).await.is_ok_and(|rows| rows > 0).then_some(sql)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_value_in_any_column_of_postgres_stops_nobody() {
    let Ok(url) = std::env::var("WORK_TEST_POSTGRES") else {
        drop(std::io::stderr().write_all(b"SKIPPED: WORK_TEST_POSTGRES is not set\n"));
        return;
    };
    let schema = format!("t_{}", JobId::new().as_uuid().simple());
    let store: Arc<dyn Inspect> = Arc::new(PostgresStore::builder(&url).schema(&schema).connect().await.unwrap());
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let columns = "SELECT table_name::text, column_name::text, udt_name::text FROM information_schema.columns
        WHERE table_schema = $1 AND is_generated = 'NEVER' AND is_identity = 'NO'";
    let rows = client.query(columns, &[&schema]).await.unwrap();
    let columns = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let place = Place { client, schema, columns };
    let left = format!(
        "SELECT count(*) FROM {}.jobs WHERE state = 'available' AND queue = 'default' AND after_key IS NULL
            AND scheduled_at < now() - '1 s'::interval",
        place.schema
    );
    let mut fuzz = Fuzz::new("rows of Postgres");
    while let Some(mut random) = fuzz.next_case() {
        fill(store.as_ref(), &mut random).await;
        let table = *random.pick(&TABLES);
        let mut done = Vec::new();
        for _ in 0..=random.below(3) {
            done.extend(place.overwrite(table, &mut random).await);
        }
        fuzz.about(&done);
        if !done.is_empty() {
            neighbours_are_performed(store.as_ref()).await;
            let left: i64 = place.client.query_one(&left, &[]).await.unwrap().get(0);
            assert_eq!(left, 0, "a job was left without a reason");
            it_can_be_looked_at(&store, &mut random).await;
        }
        for table in TABLES {
            if place.columns.iter().any(|(of, ..)| of == table) {
                place.client.batch_execute(&format!("DELETE FROM {}.{table}", place.schema)).await.unwrap();
            }
        }
    }
    place.client.batch_execute(&format!("DROP SCHEMA {} CASCADE", place.schema)).await.unwrap();
}
