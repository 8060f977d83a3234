//! The statements of a relay, run on a connection.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use work_core::store::{BoxFuture, MAX_JSON_DEPTH, json_depth};

use super::relay::Flight;
use super::row::{MAX_ROW, OutboxId, OutboxRow};
use super::table::{Ids, Table};
use crate::call::Session;

/// The longest text id, in bytes: it is a part of a job's unique key.
const MAX_ID: usize = 256;

/// The deepest payload: with the row around it, what the arguments of a job may have.
const MAX_DEPTH: usize = MAX_JSON_DEPTH - 1;

/// Longer waits are no timestamps any more.
const MAX_WAIT: i64 = 1_000 * 365 * 24 * 60 * 60 * 1_000_000;

/// A row that is ours for a while: as it is delivered, or why it cannot be.
pub(super) struct Taken {
    pub(super) flight: Flight,
    pub(super) row: Result<OutboxRow, String>,
}

/// What is to be written about a row.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) flight: Flight,
    /// Why it is dead.
    pub(super) dead: Option<String>,
    published: bool,
    wait: i64,
}

impl Verdict {
    /// Whether the row behind it may follow.
    pub(super) const fn is_final(&self) -> bool {
        self.published || self.dead.is_some()
    }

    pub(super) const fn published(flight: Flight) -> Self {
        Self { flight, dead: None, published: true, wait: 0 }
    }

    pub(super) const fn dead(flight: Flight, reason: String) -> Self {
        Self { flight, dead: Some(reason), published: false, wait: 0 }
    }

    /// Due again after so many microseconds.
    pub(super) fn again(flight: Flight, wait: i64) -> Self {
        Self { flight, dead: None, published: false, wait: wait.min(MAX_WAIT) }
    }
}

pub(super) type Take = (Arc<Table>, usize, i64);

pub(super) fn take<'c>(
    session: &'c Session,
    (table, limit, lease): &'c Take,
) -> BoxFuture<'c, Result<Vec<Taken>, Error>> {
    Box::pin(async move {
        let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
        let rows = session.query(&table.take, &[(&limit, Type::INT8), (lease, Type::INT8)]).await?;
        rows.iter().map(|row| read(table.ids, row)).collect()
    })
}

pub(super) type TakeHeads = (Arc<Table>, Vec<String>, i64);

pub(super) fn take_heads<'c>(
    session: &'c Session,
    (table, keys, lease): &'c TakeHeads,
) -> BoxFuture<'c, Result<Vec<Taken>, Error>> {
    Box::pin(async move {
        let Some(sql) = &table.take_heads else { return Ok(Vec::new()) };
        let limit = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        let rows = session.query(sql, &[(&limit, Type::INT8), (lease, Type::INT8), (keys, Type::TEXT_ARRAY)]).await?;
        rows.iter().map(|row| read(table.ids, row)).collect()
    })
}

pub(super) type Extend = (Arc<Table>, Vec<Flight>, i64);

pub(super) fn extend<'c>(
    session: &'c Session,
    (table, flights, lease): &'c Extend,
) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        let (ids, attempts): (Vec<&str>, Vec<i64>) =
            flights.iter().map(|flight| (flight.id.as_str(), flight.attempt)).unzip();
        let params = [(&ids as _, Type::TEXT_ARRAY), (&attempts as _, Type::INT8_ARRAY), (lease as _, Type::INT8)];
        session.query(&table.extend, &params).await.map(drop)
    })
}

pub(super) type Settle = (Arc<Table>, Vec<Verdict>);

/// Answers the ids of those that could not be written, since somebody has locked them.
pub(super) fn settle<'c>(
    session: &'c Session,
    (table, verdicts): &'c Settle,
) -> BoxFuture<'c, Result<HashSet<String>, Error>> {
    Box::pin(async move {
        let (ids, attempts): (Vec<&str>, Vec<i64>) =
            verdicts.iter().map(|verdict| (verdict.flight.id.as_str(), verdict.flight.attempt)).unzip();
        let (published, reasons): (Vec<bool>, Vec<Option<&str>>) =
            verdicts.iter().map(|verdict| (verdict.published, verdict.dead.as_deref())).unzip();
        let waits: Vec<i64> = verdicts.iter().map(|verdict| verdict.wait).collect();
        let params = [
            (&ids as _, Type::TEXT_ARRAY),
            (&attempts as _, Type::INT8_ARRAY),
            (&published as _, Type::BOOL_ARRAY),
            (&reasons as _, Type::TEXT_ARRAY),
            (&waits as _, Type::INT8_ARRAY),
        ];
        let locked = session.query(&table.settle, &params).await?;
        locked.iter().map(|row| row.try_get(0)).collect()
    })
}

fn read(ids: Ids, row: &Row) -> Result<Taken, Error> {
    let flight = Flight { id: row.try_get(0)?, attempt: row.try_get(1)?, key: row.try_get(3)? };
    let size = usize::try_from(row.try_get::<_, i32>(2)?).unwrap_or(usize::MAX);
    if size > MAX_ROW {
        let reason = format!("the row has {size} bytes; at most {MAX_ROW} are accepted");
        return Ok(Taken { flight, row: Err(reason) });
    }
    let built = build(ids, &flight, row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
    Ok(Taken { flight, row: built })
}

fn build(
    ids: Ids,
    Flight { id, key, .. }: &Flight,
    topic: Option<String>,
    headers: Option<&str>,
    payload: Option<String>,
) -> Result<OutboxRow, String> {
    let headers = match headers {
        Some(json) => {
            serde_json::from_str(json).map_err(|error| format!("the headers are no object of texts: {error}"))?
        }
        None => BTreeMap::new(),
    };
    let id = match ids {
        Ids::Integers => OutboxId::Integer(id.parse().map_err(|error| format!("the id is no integer: {error}"))?),
        Ids::Texts if (1..=MAX_ID).contains(&id.len()) => OutboxId::Text(id.to_owned()),
        Ids::Texts => return Err(format!("the id has {} bytes; 1 to {MAX_ID} are accepted", id.len())),
    };
    Ok(OutboxRow { id, key: key.clone(), topic, headers, payload: json(payload)? })
}

fn json(payload: Option<String>) -> Result<Box<RawValue>, String> {
    let text = payload.ok_or("the payload is NULL; write 'null' if that is meant")?;
    let depth = json_depth(text.as_bytes());
    if depth > MAX_DEPTH {
        return Err(format!("the payload is nested {depth} deep; at most {MAX_DEPTH} levels are accepted"));
    }
    RawValue::from_string(text).map_err(|error| format!("the payload is not JSON: {error}"))
}
