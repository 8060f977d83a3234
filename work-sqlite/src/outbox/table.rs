use super::builder::{DeadRows, Names, Published};
use super::row::MAX_ROW;

/// The statements on a table, its names filled in. A row is *pending* until it is published, and *alive* unless it is dead.
#[derive(Debug)]
pub(super) struct Table {
    /// A page of pending rows that are alive, from the first: id and key. `?1` rows at most.
    pub(super) first_page: String,
    /// The same, after the id `?2`.
    pub(super) next_page: String,
    /// The first pending row of the key `?1`: id, and whether it is alive.
    pub(super) head: String,
    /// The row of the id `?1`, if it is pending and alive: size, key, topic, headers, payload.
    pub(super) row: String,
    /// Marks the row `?1` as published at `?2`.
    pub(super) publish: String,
    /// Marks the row `?1` as dead with the reason `?2`.
    pub(super) bury: String,
    /// Whether there are dead rows in the side table that are not pending any more, and what forgets them.
    pub(super) tidy: Option<[String; 2]>,
    pub(super) times: Times,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Milliseconds,
    Text,
    /// Just that it is so.
    Flag,
}

/// What is beside the user's table.
pub(super) const SIDE_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS work_outbox_leases(
        outbox     TEXT NOT NULL PRIMARY KEY COLLATE NOCASE,
        name       TEXT NOT NULL,
        owner      TEXT NOT NULL,
        fence      INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS work_outbox_dead(
        outbox  TEXT NOT NULL COLLATE NOCASE,
        id      TEXT NOT NULL,
        reason  TEXT NOT NULL,
        died_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
        PRIMARY KEY (outbox, id)
    ) STRICT, WITHOUT ROWID;";

impl Table {
    pub(super) fn new(names: &Names, dead_rows: DeadRows, integer_times: bool) -> Self {
        let (table, id, payload) = (quoted(&names.table), quoted(&names.id), quoted(&names.payload));
        let optional =
            |name: &Option<String>| name.as_ref().map_or("NULL".into(), |name| format!("t.{}", quoted(name)));
        let (key, topic, headers) = (optional(&names.key), optional(&names.topic), optional(&names.headers));
        let published = quoted(names.published.column());
        let (pending, times) = match names.published {
            Published::Flag(_) => (format!("t.{published} = 0"), Times::Flag),
            Published::At(_) if integer_times => (format!("t.{published} IS NULL"), Times::Milliseconds),
            Published::At(_) => (format!("t.{published} IS NULL"), Times::Text),
        };
        let outbox = names.table.replace('\'', "''");
        let alive = names.error.as_ref().map_or_else(
            || {
                let dead = format!("d.outbox = '{outbox}' AND d.id = CAST(t.{id} AS TEXT)");
                format!("NOT EXISTS (SELECT 1 FROM work_outbox_dead AS d WHERE {dead})")
            },
            |error| format!("t.{} IS NULL", quoted(error)),
        );
        let page = format!("SELECT t.{id}, {key} FROM {table} AS t WHERE {pending} AND {alive}");
        let deliverable = match dead_rows {
            DeadRows::HoldTheirKey => pending.clone(),
            DeadRows::FreeTheirKey => format!("{pending} AND {alive}"),
        };
        let size = [&format!("t.{payload}"), &key, &topic, &headers];
        let size = size.map(|column| format!("coalesce(octet_length({column}), 0)")).join(" + ");
        let gone = format!(
            "FROM work_outbox_dead AS d WHERE d.outbox = '{outbox}' AND NOT EXISTS \
             (SELECT 1 FROM {table} AS t WHERE t.{id} = d.id AND {pending})"
        );
        let tidy = [format!("SELECT EXISTS (SELECT 1 {gone})"), format!("DELETE {gone}")];
        Self {
            first_page: format!("{page} ORDER BY t.{id} LIMIT ?1"),
            next_page: format!("{page} AND t.{id} > ?2 ORDER BY t.{id} LIMIT ?1"),
            head: format!(
                "SELECT t.{id}, {alive} FROM {table} AS t WHERE {deliverable} AND {key} = ?1 ORDER BY t.{id} LIMIT 1"
            ),
            // What is too large is not read at all.
            row: format!(
                "SELECT {size}, {key}, {topic}, {headers}, CASE WHEN {size} <= {MAX_ROW} THEN t.{payload} END \
                 FROM {table} AS t WHERE t.{id} = ?1 AND {pending} AND {alive}"
            ),
            publish: format!("UPDATE {table} AS t SET {published} = ?2 WHERE t.{id} = ?1 AND {pending}"),
            bury: bury(&table, &id, &pending, &outbox, names.error.as_deref()),
            tidy: names.error.is_none().then_some(tidy),
            times,
        }
    }
}

fn bury(table: &str, id: &str, pending: &str, outbox: &str, error: Option<&str>) -> String {
    match error.map(quoted) {
        Some(error) => format!("UPDATE {table} AS t SET {error} = ?2 WHERE t.{id} = ?1 AND {pending}"),
        None => format!(
            "INSERT OR REPLACE INTO work_outbox_dead(outbox, id, reason) \
             SELECT '{outbox}', CAST(t.{id} AS TEXT), ?2 FROM {table} AS t WHERE t.{id} = ?1 AND {pending}"
        ),
    }
}

/// A name as SQL writes it, whatever signs it has.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn names(published: Published, error: Option<&str>) -> Names {
        Names {
            table: "outbox".into(),
            id: "id".into(),
            payload: "payload".into(),
            published,
            key: Some("key".into()),
            topic: None,
            headers: None,
            error: error.map(Into::into),
        }
    }

    /// A table with ten thousand published rows, and what SQLite does for a statement.
    fn plan(table: &str, published: &str, sql: &str) -> String {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SIDE_TABLES).unwrap();
        connection.execute_batch(table).unwrap();
        let rows = format!(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10000) \
             INSERT INTO outbox(id, key, payload, published) SELECT n, n % 7, '1', CASE WHEN n < 9990 THEN {published} END FROM n"
        );
        connection.execute_batch(&rows.replace("CASE WHEN n < 9990 THEN 1 END", "n < 9990")).unwrap();
        let explain = |connection: &Connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let none = vec![rusqlite::types::Null; statement.parameter_count()];
            let lines = statement.query_map(rusqlite::params_from_iter(none), |row| row.get::<_, String>(3)).unwrap();
            lines.map(Result::unwrap).collect::<Vec<_>>().join("\n")
        };
        let fresh = explain(&connection);
        connection.execute_batch("ANALYZE").unwrap();
        assert_eq!(explain(&connection), fresh, "statistics change nothing");
        fresh
    }

    #[test]
    fn with_the_recommended_indexes_no_look_reads_published_rows() {
        let at = |column: &str| Published::At(column.into());
        for (id, error, published) in [
            ("id INTEGER PRIMARY KEY AUTOINCREMENT", None, at("published")),
            ("id TEXT NOT NULL PRIMARY KEY", None, at("published")),
            ("id INTEGER PRIMARY KEY", Some("error"), at("published")),
            ("id INTEGER PRIMARY KEY", None, Published::Flag("published".into())),
        ] {
            let (rule, value) = match published {
                Published::At(_) => ("published IS NULL", "'now'"),
                Published::Flag(_) => ("published = 0", "1"),
            };
            let both = error.map_or(rule.into(), |error| format!("{rule} AND {error} IS NULL"));
            let ddl = format!(
                "CREATE TABLE outbox({id}, key TEXT, payload TEXT NOT NULL, published, error TEXT);
                 CREATE INDEX outbox_pending ON outbox(id) WHERE {both};
                 CREATE INDEX outbox_pending_key ON outbox(key, id) WHERE {rule};"
            );
            for dead_rows in [DeadRows::HoldTheirKey, DeadRows::FreeTheirKey] {
                let table = Table::new(&names(published.clone(), error), dead_rows, false);
                for (sql, expected) in [
                    (&table.first_page, "SCAN t USING INDEX outbox_pending"),
                    (&table.next_page, "SEARCH t USING INDEX outbox_pending (id>?)"),
                    (&table.head, "SEARCH t USING INDEX outbox_pending_key (key=?)"),
                    (&table.row, "SEARCH t USING"),
                ] {
                    let plan = plan(&ddl, value, sql);
                    assert!(plan.starts_with(expected), "{sql}\n{plan}");
                    assert!(!plan.contains("TEMP B-TREE") && !plan.contains("\nSCAN"), "{sql}\n{plan}");
                    assert!(error.is_some() || !plan.contains("SEARCH d") || plan.contains("id=?"), "{plan}");
                }
                let tidy = table.tidy.map(|[needed, _]| plan(&ddl, value, &needed)).unwrap_or_default();
                assert!(!tidy.contains("SCAN t"), "{tidy}");
            }
        }
    }
}
