//! What is given against what the database has.

use std::fmt::Debug;
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::types::Type;
use work_core::store::BoxFuture;

use super::builder::{Names, PostgresOutboxBuilder};
use super::error::OutboxError;
use super::table::Table;
use crate::call::Session;

type Result<T, E = OutboxError> = std::result::Result<T, E>;

/// What needs no server.
pub(super) fn options(given: &PostgresOutboxBuilder) -> Result<()> {
    let hour = Duration::from_secs(60 * 60);
    let (lease, period) = (given.lease, given.poll_every);
    within("in_flight", given.in_flight, (1..=10_000).contains(&given.in_flight), "1 to 10000")?;
    within("lease", lease, (Duration::from_millis(100)..=hour).contains(&lease), "100 ms to 1 h")?;
    within("poll_every", period, (Duration::from_millis(10)..=hour).contains(&period), "10 ms to 1 h")?;
    within("dead_after", given.dead_after.unwrap_or(1), given.dead_after != Some(0), "1 or more")?;
    is_name("table", &given.names.table)?;
    given.names.schema.iter().try_for_each(|schema| is_name("schema", schema))?;
    given.names.columns().try_for_each(|(role, column, _)| is_name(role, column))
}

fn within(option: &'static str, given: impl Debug, fits: bool, accepted: &'static str) -> Result<()> {
    if fits { Ok(()) } else { Err(OutboxError::OutOfRange { option, given: format!("{given:?}"), accepted }) }
}

fn is_name(role: &'static str, given: &str) -> Result<()> {
    let fits = (1..=63).contains(&given.len()) && !given.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(OutboxError::BadName { role, given: work_core::cut(given) }) }
}

/// What a column must be.
#[derive(Debug, Clone, Copy)]
struct Accepts {
    types: &'static [&'static str],
    text: &'static str,
    /// It is written, so it may have no other use, and must be able to be `NULL` or not.
    written: Option<Nulls>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nulls {
    Needed,
    Refused,
}

const TEXTS: &[&str] = &["text", "varchar"];
const NAMES: &[&str] = &["int2", "int4", "int8", "text", "varchar", "uuid"];
const JSON: &[&str] = &["json", "jsonb", "text", "varchar"];

const ID: Accepts = Accepts { types: NAMES, text: "smallint, integer, bigint, text, varchar or uuid", written: None };
const PAYLOAD: Accepts = Accepts { types: JSON, text: "json, jsonb, text or varchar", written: None };
const TOPIC: Accepts = Accepts { types: TEXTS, text: "text or varchar", written: None };
const TIME: Accepts = Accepts { types: &["timestamptz"], text: "timestamptz", written: Some(Nulls::Needed) };
const COUNT: Accepts = Accepts { types: &["int4", "int8"], text: "integer or bigint", written: Some(Nulls::Refused) };
const ERROR: Accepts = Accepts { types: &["text"], text: "text", written: Some(Nulls::Needed) };

impl Names {
    /// Every column and what it is for.
    fn columns(&self) -> impl Iterator<Item = (&'static str, &str, Accepts)> {
        let optional = [("key", &self.key, ID), ("topic", &self.topic, TOPIC), ("headers", &self.headers, PAYLOAD)];
        let required = [
            ("id", self.id.as_str(), ID),
            ("payload", &self.payload, PAYLOAD),
            ("published_at", &self.published_at, TIME),
            ("due_at", &self.due_at, TIME),
            ("attempts", &self.attempts, COUNT),
            ("error", &self.error, ERROR),
        ];
        let optional = optional.into_iter().filter_map(|(role, name, accepts)| Some((role, name.as_deref()?, accepts)));
        required.into_iter().chain(optional)
    }
}

/// What the database says of a table.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Its schema, and what it is; `None`: there is none of this name.
    found: Option<(String, String)>,
    /// The tables that there are.
    known: String,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// As the catalogue names it.
    kind: String,
    /// As people write it.
    declared: String,
    not_null: bool,
    generated: bool,
    unique: bool,
}

const TABLE: &str = "SELECT c.oid, n.nspname::text, CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table'
        WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence'
        ELSE 'thing' END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = $1 AND c.relkind NOT IN ('i', 'I', 't') AND (n.nspname = $2 OR $2 IS NULL AND pg_table_is_visible(c.oid))";

const TABLES: &str = "SELECT coalesce(string_agg(name, ', '), 'no tables') FROM (
    SELECT c.relname::text COLLATE \"C\" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND (n.nspname = $1 OR $1 IS NULL AND pg_table_is_visible(c.oid)) ORDER BY 1 LIMIT 50) AS t (name)";

/// A column is unique if there is a whole index of it alone.
const COLUMNS: &str = "SELECT a.attname::text, t.typname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        a.attgenerated <> '', EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid
            AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// Asks for the table.
pub(super) fn look<'c>(session: &'c Session, names: &'c Names) -> BoxFuture<'c, std::result::Result<Look, Error>> {
    Box::pin(async move {
        let found = session.query(TABLE, &[(&names.table, Type::TEXT), (&names.schema, Type::TEXT)]).await?;
        let Some(row) = found.first() else {
            let known = session.query(TABLES, &[(&names.schema, Type::TEXT)]).await?;
            let known = known.first().map_or(Ok(String::new()), |row| row.try_get(0))?;
            return Ok(Look { known, ..Look::default() });
        };
        let oid: u32 = row.try_get(0)?;
        let columns = session.query(COLUMNS, &[(&oid, Type::OID)]).await?;
        let columns = columns.iter().map(|row| {
            Ok(Column {
                name: row.try_get(0)?,
                kind: row.try_get(1)?,
                declared: row.try_get(2)?,
                not_null: row.try_get(3)?,
                generated: row.try_get(4)?,
                unique: row.try_get(5)?,
            })
        });
        let columns = columns.collect::<std::result::Result<_, Error>>()?;
        Ok(Look { found: Some((row.try_get(1)?, row.try_get(2)?)), known: String::new(), columns })
    })
}

/// The statements for what was found.
pub(super) fn table(given: &PostgresOutboxBuilder, look: Look) -> Result<Table> {
    let names = &given.names;
    let table = names.table.clone();
    let schema = match look.found {
        Some((schema, found)) if found == "table" => schema,
        Some((_, found)) => return Err(OutboxError::NotATable { given: table, found }),
        None => return Err(OutboxError::NoTable { given: table, known: look.known }),
    };
    for (role, given, accepts) in names.columns() {
        accept(find(&look.columns, names, role, given)?, role, accepts)?;
    }
    written_columns_are_their_own(names)?;
    let id = find(&look.columns, names, "id", &names.id)?;
    refuse(!id.not_null, "id", id, "nullable", "one that is NOT NULL")?;
    refuse(!id.unique, "id", id, "not unique", "the primary key, or one with a UNIQUE index")?;
    let key = names.key.as_ref().map(|key| find(&look.columns, names, "key", key)).transpose()?;
    Ok(Table::new(names, &schema, &id.kind, key.map_or("text", |key| &key.kind), given.dead_rows))
}

fn find<'c>(columns: &'c [Column], names: &Names, role: &'static str, given: &str) -> Result<&'c Column> {
    columns.iter().find(|column| column.name == given).ok_or_else(|| {
        let known = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        OutboxError::NoColumn { table: names.table.clone(), role, given: given.into(), known }
    })
}

fn accept(column: &Column, role: &'static str, accepts: Accepts) -> Result<()> {
    refuse(!accepts.types.contains(&column.kind.as_str()), role, column, &column.declared, accepts.text)?;
    let Some(nulls) = accepts.written else {
        return Ok(());
    };
    refuse(column.generated, role, column, "generated", "one that can be written")?;
    refuse(column.not_null && nulls == Nulls::Needed, role, column, "NOT NULL", "one that can be NULL")?;
    refuse(!column.not_null && nulls == Nulls::Refused, role, column, "nullable", "NOT NULL DEFAULT 0")
}

/// What is written must not be what is read.
fn written_columns_are_their_own(names: &Names) -> Result<()> {
    for (role, given, _) in names.columns().filter(|(_, _, accepts)| accepts.written.is_some()) {
        if let Some((other, ..)) = names.columns().find(|(other, column, _)| *other != role && *column == given) {
            return Err(OutboxError::SameColumn { given: given.into(), role, other });
        }
    }
    Ok(())
}

fn refuse(refused: bool, role: &'static str, column: &Column, found: &str, accepted: &'static str) -> Result<()> {
    if !refused {
        return Ok(());
    }
    Err(OutboxError::BadColumn { role, given: column.name.clone(), found: found.into(), accepted })
}
