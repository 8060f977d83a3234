use std::collections::BTreeMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::value::RawValue;
use work_core::store::{MAX_JSON_DEPTH, json_depth};

use super::keys::Value;
use super::row::{MAX_ROW, OutboxId, OutboxRow};
use super::table::Table;

/// The longest text id, in bytes: it is a part of a job's unique key.
const MAX_ID: usize = 256;

/// The deepest payload: with the row around it, what the arguments of a job may have.
const MAX_DEPTH: usize = MAX_JSON_DEPTH - 1;

/// Reads a row: as it is delivered, or why it cannot be. `None`: it is not to be delivered any more.
pub(super) fn fetch(
    connection: &Connection,
    table: &Table,
    id: &Value,
) -> rusqlite::Result<Option<Result<OutboxRow, String>>> {
    let mut statement = connection.prepare_cached(&table.row)?;
    statement.query_row([id], |row| decode(id, row)).optional()
}

fn decode(id: &Value, row: &Row<'_>) -> rusqlite::Result<Result<OutboxRow, String>> {
    let size = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
    if size > MAX_ROW {
        return Ok(Err(format!("the row has {size} bytes; at most {MAX_ROW} are accepted")));
    }
    Ok(build(id, row.get_ref(1)?, row.get_ref(2)?, row.get_ref(3)?, row.get_ref(4)?))
}

fn build(
    id: &Value,
    key: ValueRef<'_>,
    topic: ValueRef<'_>,
    headers: ValueRef<'_>,
    payload: ValueRef<'_>,
) -> Result<OutboxRow, String> {
    let headers = match bytes(headers) {
        Some(json) => {
            serde_json::from_slice(json).map_err(|error| format!("the headers are no object of texts: {error}"))?
        }
        None => BTreeMap::new(),
    };
    Ok(OutboxRow {
        id: read_id(id)?,
        key: text("key", key)?,
        topic: text("topic", topic)?,
        headers,
        payload: json(payload)?,
    })
}

fn read_id(id: &Value) -> Result<OutboxId, String> {
    let id = match id {
        Value::Integer(id) => return Ok(OutboxId::Integer(*id)),
        Value::Text(id) => std::str::from_utf8(id).ok(),
        Value::Null | Value::Real(_) | Value::Blob(_) => None,
    };
    let fits = id.filter(|id| (1..=MAX_ID).contains(&id.len()) && !id.contains('\0'));
    let id = fits.ok_or_else(|| format!("the id is neither an integer nor a text of 1 to {MAX_ID} bytes"))?;
    Ok(OutboxId::Text(id.to_owned()))
}

fn text(role: &str, value: ValueRef<'_>) -> Result<Option<String>, String> {
    let text = match value {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => value.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            std::str::from_utf8(bytes).map_err(|_| format!("the {role} is not UTF-8"))?.to_owned()
        }
    };
    Ok(Some(text))
}

fn json(value: ValueRef<'_>) -> Result<Box<RawValue>, String> {
    let text = match value {
        ValueRef::Null => return Err("the payload is NULL; write 'null' if that is meant".into()),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => value.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            std::str::from_utf8(bytes).map_err(|_| "the payload is not UTF-8".to_owned())?.to_owned()
        }
    };
    let depth = json_depth(text.as_bytes());
    if depth > MAX_DEPTH {
        return Err(format!("the payload is nested {depth} deep; at most {MAX_DEPTH} levels are accepted"));
    }
    RawValue::from_string(text).map_err(|error| format!("the payload is not JSON: {error}"))
}

fn bytes(value: ValueRef<'_>) -> Option<&[u8]> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes),
        ValueRef::Null => None,
        // Numbers are no object; neither is this.
        ValueRef::Integer(_) | ValueRef::Real(_) => Some(b"0"),
    }
}
