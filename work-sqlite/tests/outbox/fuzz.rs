//! Whatever stands in a user's rows, at random: each is delivered and marked, or dead with the reason, and the last one comes.

use rusqlite::types::Value;
use work_core::testing::fuzz::{Fuzz, Random, check_message};
use work_sqlite::outbox::DeadRows;

use crate::place::{Place, Seen, ids, receiver, relay, until};

const TABLES: [&str; 2] = [
    "CREATE TABLE outbox(id INTEGER PRIMARY KEY, key, payload, topic, headers, published_at)",
    "CREATE TABLE outbox(id TEXT NOT NULL PRIMARY KEY, key TEXT, payload BLOB, topic TEXT, headers TEXT, published_at TEXT)",
];

const TEXTS: &[&str] = &[
    r#"{"a":1}"#,
    r#"{"trace":"x"}"#,
    r#"{"trace":7}"#,
    "[]",
    "7",
    "null",
    r#""text""#,
    "[[[[[[[[1]]]]]]]]",
    "ann",
    "1e400",
    "a\u{1b}[31m",
];

fn value(random: &mut Random) -> Value {
    match random.below(7) {
        0 => Value::Null,
        1 => Value::Real(f64::from_bits(random.next())),
        2 => Value::Blob(random.bytes(TEXTS)),
        3 => Value::Integer(random.number()),
        _ => Value::Text(random.text(TEXTS)),
    }
}

fn add(place: &Place, random: &mut Random) -> Option<String> {
    let column = |random: &mut Random, often: &str| {
        if random.once_in(2) { Value::Text(often.to_owned()) } else { value(random) }
    };
    let row = [value(random), column(random, "ann"), column(random, r#"{"a":1}"#), value(random), column(random, "{}")];
    // Bytes that are no text, as a text.
    let cast = if random.once_in(5) { "CAST(?3 AS TEXT)" } else { "?3" };
    let sql = format!("INSERT INTO outbox(id, key, payload, topic, headers) VALUES (?1, ?2, {cast}, ?4, ?5)");
    place.user.execute(&sql, rusqlite::params_from_iter(&row)).is_ok().then(|| format!("{row:?}"))
}

#[tokio::test]
async fn any_name_of_a_table_or_a_column_is_found_or_refused() {
    let place = Place::new(
        "CREATE TABLE outbox(id INTEGER PRIMARY KEY, key, payload, \"a \"\"b\", headers, published_at, error)",
    );
    let names = [
        "outbox",
        "id",
        "key",
        "payload",
        "a \"b",
        "main.outbox",
        "published_at",
        "sqlite_schema",
        "x'); DROP TABLE outbox; --",
    ];
    let mut fuzz = Fuzz::new("names of an outbox in SQLite").cases(2_000);
    while let Some(mut random) = fuzz.next_case() {
        let name = random.text(&names);
        fuzz.about(&name);
        let good = || place.outbox();
        let builder = match random.below(6) {
            0 => work_sqlite::outbox::SqliteOutbox::builder(place.path(), &name),
            1 => good().id(&name),
            2 => good().key(&name),
            3 => good().payload(&name),
            4 => good().published_at(&name),
            _ => good().topic(&name),
        };
        if let Err(error) = builder.open().await {
            check_message(error);
        }
    }
    assert_eq!(place.pending(), 0);
}

/// Bytes and a text that are the same are one id.
const DEAD: &str = "SELECT count(*) FROM outbox
    WHERE published_at IS NULL AND CAST(id AS TEXT) IN (SELECT id FROM work_outbox_dead)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_row_is_delivered_or_dead_with_the_reason() {
    let mut fuzz = Fuzz::new("rows of an outbox in SQLite");
    while let Some(mut random) = fuzz.next_case() {
        let place = Place::new(random.pick::<&str>(&TABLES));
        let rows: Vec<String> = (0..random.below(30)).filter_map(|_| add(&place, &mut random)).collect();
        fuzz.about(&rows);
        place.user.execute("INSERT INTO outbox(id, key, payload) VALUES (9123456789, 'last', '1')", []).unwrap();
        let seen = Seen::default();
        let outbox = place.outbox().topic("topic").headers("headers").dead_rows(DeadRows::FreeTheirKey);
        relay(outbox, &receiver(&seen, |_| 200)).await;
        let dead = || place.number(DEAD, []);
        until("delivered or dead", || ids(&seen).iter().any(|id| id == "9123456789") && place.pending() == dead())
            .await;
        assert_eq!(ids(&seen).len() + usize::try_from(dead()).unwrap(), rows.len() + 1, "each once");
        // Ids may be no texts.
        let mut reasons = place.user.prepare("SELECT reason FROM work_outbox_dead").unwrap();
        for reason in reasons.query_map([], |row| row.get::<_, String>(0)).unwrap() {
            check_message(reason.unwrap());
        }
    }
}
