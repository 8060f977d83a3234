//! How many jobs of a queue start in a time.

use std::time::Duration;

use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use work_core::Queue;
use work_core::limit::{Rate, Shape};
use work_core::store::BoxFuture;

use crate::call::{Param, Session};

/// Answers the rate that stands.
pub(crate) fn declare<'c>(
    session: &'c Session,
    (queue, rate): &'c (Queue, Rate),
) -> BoxFuture<'c, Result<Rate, Error>> {
    Box::pin(async move {
        let rows = ask(session, &session.shared.sql.declare_rate, queue, Some(rate)).await?;
        Ok(rows.first().map(self::rate).transpose()?.flatten().unwrap_or_else(|| rate.clone()))
    })
}

/// Answers the rate before.
pub(crate) fn set<'c>(
    session: &'c Session,
    (queue, rate): &'c (Queue, Option<Rate>),
) -> BoxFuture<'c, Result<Option<Rate>, Error>> {
    Box::pin(async move {
        let rows = ask(session, &session.shared.sql.rate_queue, queue, rate.as_ref()).await?;
        Ok(rows.first().map(self::rate).transpose()?.flatten())
    })
}

async fn ask(session: &Session, sql: &str, queue: &Queue, rate: Option<&Rate>) -> Result<Vec<Row>, Error> {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let (shape, count) = (rate.map(|rate| rate.shape().name()), rate.map(|rate| number(rate.count())));
    let per = rate.map(|rate| i64::try_from(rate.per().as_nanos()).unwrap_or(i64::MAX));
    let burst = rate.map(|rate| number(rate.max_burst()));
    let name = rate.and_then(Rate::name).map(Queue::as_str);
    let params: [Param<'_>; 6] = [
        (&queue.as_str(), Type::TEXT),
        (&shape, Type::TEXT),
        (&count, Type::INT4),
        (&per, Type::INT8),
        (&burst, Type::INT4),
        (&name, Type::TEXT),
    ];
    session.query(sql, &params).await
}

/// Of a row of `rates`. One that is no rate, which nothing of ours writes, is none.
pub(crate) fn rate(row: &Row) -> Result<Option<Rate>, Error> {
    let (shape, count, burst): (&str, i32, i32) = (row.try_get("shape")?, row.try_get("count")?, row.try_get("burst")?);
    let (per, name): (i64, Option<String>) = (row.try_get("per_ns")?, row.try_get("name")?);
    let per = Duration::from_nanos(per.unsigned_abs());
    let make = |shape| Rate::from_parts(shape, count.unsigned_abs(), per, burst.unsigned_abs(), name.map(Queue::from));
    Ok(Shape::of(shape).and_then(|shape| make(shape).ok()))
}

/// All rates, with their queues.
pub(crate) async fn all(session: &Session) -> Result<Vec<(Queue, Rate)>, Error> {
    let sql = session.shared.sql.schema.in_sql("SELECT * FROM work.rates");
    let mut found = Vec::new();
    for row in session.query_anew(&sql, &[]).await? {
        let queue = Queue::from(row.try_get::<_, String>("queue")?);
        found.extend(rate(&row)?.map(|rate| (queue, rate)));
    }
    Ok(found)
}
