use super::builder::{DeadRows, Names};

/// The statements on a table, its names filled in. A row is *pending* until it is published, and *alive* unless it is dead.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Schema and table.
    pub(super) name: String,
    pub(super) ids: Ids,
    /// Takes at most `$1` rows for `$2` microseconds: id, attempt, size, key, topic, headers, payload.
    pub(super) take: String,
    /// The same, of the first rows of the keys `$3` alone: what follows a row costs no look at all the others.
    pub(super) take_heads: Option<String>,
    /// Extends what is still ours of the rows `$1` of the attempts `$2` by `$3` microseconds.
    pub(super) extend: String,
    /// Writes what became of the rows `$1` of the attempts `$2`: whether they are published, why they are dead, and after
    /// how many microseconds they are due again. Answers those that somebody else has locked.
    pub(super) settle: String,
}

/// How ids are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    Integers,
    Texts,
}

impl Table {
    pub(super) fn new(names: &Names, schema: &str, id_type: &str, key_type: &str, dead_rows: DeadRows) -> Self {
        let table = format!("{}.{}", quoted(schema), quoted(&names.table));
        let [id, payload, published, due, attempts, error] =
            [&names.id, &names.payload, &names.published_at, &names.due_at, &names.attempts, &names.error]
                .map(|name| quoted(name));
        let optional =
            |name: &Option<String>| name.as_ref().map_or("NULL".into(), |name| format!("t.{}::text", quoted(name)));
        let (key, topic, headers) = (optional(&names.key), optional(&names.topic), optional(&names.headers));
        let body = format!("t.{payload}::text");
        let size = [&body, &key, &topic, &headers].map(|part| format!("coalesce(octet_length({part}), 0)")).join(" + ");
        let first =
            names.key.as_ref().map_or_else(String::new, |key| first_of_its_key(&table, &id, key, names, dead_rows));
        let after = |n: &str| format!("now() + {n} * interval '1 microsecond'");
        // Rows that others have locked are passed over, in every statement: nobody waits for anybody.
        let ours = format!(
            "FROM unnest($1, $2) AS d (id, attempt) JOIN {table} AS t ON t.{id} = d.id::{id_type}
             WHERE t.{attempts} = d.attempt AND t.{published} IS NULL FOR UPDATE OF t SKIP LOCKED"
        );
        let free = format!("t.{published} IS NULL AND t.{error} IS NULL AND (t.{due} IS NULL OR t.{due} <= now())");
        let take = |rows: &str| {
            format!(
                "WITH taken AS (UPDATE {table} AS t
                     SET {attempts} = least(t.{attempts}, 2147483646) + 1, {due} = {until}
                     WHERE t.{id} = ANY (ARRAY({rows} LIMIT $1 FOR UPDATE OF t SKIP LOCKED))
                     RETURNING t.{id} AS id, t.{attempts}::int8, {size}, {key}, {topic}, {headers}, {body})
                 SELECT t.id::text, t.attempts, t.size, t.key, t.topic, t.headers, CASE WHEN t.size <= {max} THEN t.body END
                 FROM taken AS t (id, attempts, size, key, topic, headers, body) ORDER BY t.id",
                until = after("$2"),
                max = super::row::MAX_ROW,
            )
        };
        let heads = names.key.as_ref().map(|key| {
            let alive = and_alive(names, dead_rows);
            take(&format!(
                // As an array, which no plan can turn into a look at all rows.
                "SELECT t.{id} FROM {table} AS t WHERE {free} AND t.{id} = ANY (ARRAY(SELECT (SELECT p.{id} FROM {table} AS p
                     WHERE p.{key} = k.key::{key_type} AND p.{published} IS NULL{alive} ORDER BY p.{id} LIMIT 1)
                     FROM unnest($3) AS k (key)))",
                key = quoted(key),
            ))
        });
        let take = take(&format!("SELECT t.{id} FROM {table} AS t WHERE {free}{first} ORDER BY t.{id}"));
        let extend =
            format!("UPDATE {table} AS t SET {due} = {} WHERE t.{id} = ANY (ARRAY(SELECT t.{id} {ours}))", after("$3"));
        let settle = format!(
            "WITH ours AS MATERIALIZED (SELECT t.{id} AS id, d.attempt {ours}),
             written AS (UPDATE {table} AS t SET {published} = CASE WHEN d.done THEN now() END,
                     {error} = d.reason, {due} = CASE WHEN NOT d.done AND d.reason IS NULL THEN {again} END
                 FROM unnest($1, $2, $3, $4, $5) AS d (id, attempt, done, reason, wait)
                 JOIN ours ON ours.id = d.id::{id_type} AND ours.attempt = d.attempt
                 WHERE t.{id} = ours.id RETURNING t.{id} AS id)
             SELECT d.id FROM unnest($1, $2) AS d (id, attempt) JOIN {table} AS t ON t.{id} = d.id::{id_type}
             WHERE t.{attempts} = d.attempt AND t.{published} IS NULL
                 AND NOT EXISTS (SELECT FROM written AS w WHERE w.id = t.{id})",
            again = after("d.wait"),
        );
        let ids = if id_type.starts_with("int") { Ids::Integers } else { Ids::Texts };
        Self { name: format!("{schema}.{}", names.table), ids, take, take_heads: heads, extend, settle }
    }
}

/// That no row of the same key with a smaller id is pending. What is taken by nobody else is not enough: the first row of a
/// key keeps the others waiting until its publication is committed, whoever has it.
fn first_of_its_key(table: &str, id: &str, key: &str, names: &Names, dead_rows: DeadRows) -> String {
    let (key, published) = (quoted(key), quoted(&names.published_at));
    let alive = and_alive(names, dead_rows);
    format!(
        " AND (t.{key} IS NULL OR NOT EXISTS (SELECT FROM {table} AS p
            WHERE p.{key} = t.{key} AND p.{id} < t.{id} AND p.{published} IS NULL{alive}))"
    )
}

/// Which rows hold their key.
fn and_alive(names: &Names, dead_rows: DeadRows) -> String {
    match dead_rows {
        DeadRows::HoldTheirKey => String::new(),
        DeadRows::FreeTheirKey => format!(" AND p.{} IS NULL", quoted(&names.error)),
    }
}

/// A name as SQL writes it, whatever signs it has.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
