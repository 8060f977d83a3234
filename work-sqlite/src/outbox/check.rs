//! What is given against what the file has.

use std::fmt::Debug;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::builder::{Names, Published, SqliteOutboxBuilder};
use super::error::OutboxError;
use crate::OpenError;

type Result<T, E = OutboxError> = std::result::Result<T, E>;

/// What needs no file.
pub(super) fn options(given: &SqliteOutboxBuilder) -> Result<()> {
    const TIMES: &str = "100 ms to 1 h";
    let hour = Duration::from_secs(60 * 60);
    within("in_flight", given.in_flight, (1..=10_000).contains(&given.in_flight), "1 to 10000")?;
    within("lease", given.lease, (Duration::from_millis(100)..=hour).contains(&given.lease), TIMES)?;
    let period = given.poll_every;
    within("poll_every", period, (Duration::from_millis(10)..=hour).contains(&period), "10 ms to 1 h")?;
    within("dead_after", given.dead_after.unwrap_or(1), given.dead_after != Some(0), "1 or more")?;
    is_name("table", &given.names.table)?;
    given.names.columns().try_for_each(|(role, column)| is_name(role, column))
}

fn within(option: &'static str, given: impl Debug, fits: bool, accepted: &'static str) -> Result<()> {
    if fits { Ok(()) } else { Err(OutboxError::OutOfRange { option, given: format!("{given:?}"), accepted }) }
}

fn is_name(role: &'static str, given: &str) -> Result<()> {
    let fits = (1..=128).contains(&given.len()) && !given.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(OutboxError::BadName { role, given: work_core::cut(given) }) }
}

impl Names {
    /// Every column and what it is for.
    fn columns(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let optional = [("key", &self.key), ("topic", &self.topic), ("headers", &self.headers), ("error", &self.error)];
        let required = [("id", self.id.as_str()), ("payload", &self.payload), ("published", self.published.column())];
        required.into_iter().chain(optional.into_iter().filter_map(|(role, name)| Some((role, name.as_deref()?))))
    }
}

/// A column of the table.
struct Column {
    name: String,
    declared: String,
    not_null: bool,
    /// Its place in the primary key, from 1; 0 if it is not in it.
    in_key: i64,
    generated: bool,
}

/// Whether times are written as integers.
pub(super) fn table(connection: &Connection, names: &Names) -> Result<bool> {
    is_table(connection, &names.table)?;
    let columns = columns(connection, &names.table).map_err(|error| sqlite(connection, error))?;
    for (role, given) in names.columns() {
        find(&columns, names, role, given)?;
    }
    written_columns_are_their_own(names)?;
    let id = find(&columns, names, "id", &names.id)?;
    is_id(connection, &columns, names, id)?;
    let published = find(&columns, names, "published", names.published.column())?;
    for column in names.error.iter().map(|error| find(&columns, names, "error", error)).chain([Ok(published)]) {
        let column = column?;
        refuse(column.generated, "written", column, "generated", "one that can be written")?;
    }
    if let Some(error) = &names.error {
        let error = find(&columns, names, "error", error)?;
        refuse(error.not_null, "error", error, "NOT NULL", "one that can be NULL")?;
    }
    match names.published {
        Published::Flag(_) => refuse(!published.not_null, "published", published, "nullable", "NOT NULL DEFAULT 0")?,
        Published::At(_) => refuse(published.not_null, "published", published, "NOT NULL", "one that can be NULL")?,
    }
    Ok(published.declared.contains("INT"))
}

fn is_table(connection: &Connection, given: &str) -> Result<()> {
    let sql = "SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')";
    let found = connection.query_row(sql, [given], |row| row.get::<_, String>(0)).optional();
    match found.map_err(|error| sqlite(connection, error))? {
        Some(found) if found == "table" => Ok(()),
        Some(found) => Err(OutboxError::NotATable { given: given.into(), found }),
        None => {
            let known = "SELECT coalesce(group_concat(name, ', ' ORDER BY name), 'no tables') FROM sqlite_schema \
                         WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
            let known = connection.query_row(known, [], |row| row.get(0)).map_err(|error| sqlite(connection, error))?;
            Err(OutboxError::NoTable { given: given.into(), known })
        }
    }
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let mut statement = connection.prepare("SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1)")?;
    let columns = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            declared: row.get::<_, String>(1)?.to_ascii_uppercase(),
            not_null: row.get(2)?,
            in_key: row.get(3)?,
            generated: row.get::<_, i64>(4)? != 0,
        })
    });
    columns?.collect()
}

fn find<'c>(columns: &'c [Column], names: &Names, role: &'static str, given: &str) -> Result<&'c Column> {
    let found = columns.iter().find(|column| column.name.eq_ignore_ascii_case(given));
    found.ok_or_else(|| {
        let known = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        OutboxError::NoColumn { table: names.table.clone(), role, given: given.into(), known }
    })
}

/// What is written must not be what is read.
fn written_columns_are_their_own(names: &Names) -> Result<()> {
    let written = [("published", Some(names.published.column())), ("error", names.error.as_deref())];
    for (role, given) in written.into_iter().filter_map(|(role, given)| Some((role, given?))) {
        let same = |(other, column): &(_, &str)| *other != role && column.eq_ignore_ascii_case(given);
        if let Some((other, _)) = names.columns().find(same) {
            return Err(OutboxError::SameColumn { given: given.into(), role, other });
        }
    }
    Ok(())
}

fn is_id(connection: &Connection, columns: &[Column], names: &Names, id: &Column) -> Result<()> {
    let known = ["INT", "CHAR", "CLOB", "TEXT"].iter().any(|kind| id.declared.contains(kind));
    let found = if id.declared.is_empty() { "without a type" } else { &id.declared };
    refuse(!known, "id", id, found, "INTEGER or TEXT")?;
    let alone = id.in_key == 1 && columns.iter().filter(|column| column.in_key > 0).count() == 1;
    let never_null = id.not_null || (alone && id.declared == "INTEGER");
    refuse(!never_null, "id", id, "nullable", "INTEGER PRIMARY KEY, or one that is NOT NULL")?;
    // A whole index of that one column.
    let sql = "SELECT count(*) FROM pragma_index_list(?1) AS i WHERE i.\"unique\" AND NOT i.partial AND \
               (SELECT group_concat(name) FROM pragma_index_info(i.name)) = ?2 COLLATE NOCASE";
    let unique = connection.query_row(sql, [&names.table, &id.name], |row| row.get::<_, i64>(0));
    let unique = unique.map_err(|error| sqlite(connection, error))? > 0;
    refuse(!alone && !unique, "id", id, "not unique", "the primary key, or one with a UNIQUE index")
}

fn refuse(refused: bool, role: &'static str, column: &Column, found: &str, accepted: &'static str) -> Result<()> {
    if !refused {
        return Ok(());
    }
    Err(OutboxError::BadColumn { role, given: column.name.clone(), found: found.into(), accepted })
}

/// An error of SQLite, with the file it came from.
pub(super) fn sqlite(connection: &Connection, error: rusqlite::Error) -> OutboxError {
    OpenError::from_sqlite(connection.path().unwrap_or_default().into(), error).into()
}
