//! Stores in a PostgreSQL database.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::{Client, NoTls};
use work_core::Clock;
use work_core::JobId;
use work_core::store::Inspect;
use work_postgres::PostgresStore;

use super::{Cleanup, Tables, Temporary};
use crate::doctor::Check;
use crate::error::CliError;
use crate::redact::redact_url;
use crate::time::rough;

pub(crate) const VERSION: i64 = PostgresStore::SCHEMA_VERSION;

/// How long the server may take for one answer.
const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) async fn open(url: &str, schema: &str) -> Result<Arc<dyn Inspect>, CliError> {
    let store = PostgresStore::builder(url).schema(schema).connect().await;
    Ok(Arc::new(store.map_err(|error| CliError::unusable(error.to_string()))?))
}

/// How the tables are; nothing is changed.
pub(crate) async fn tables(url: &str, schema: &str) -> Result<Tables, CliError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if schema.is_empty() || schema.len() > 48 || !schema.chars().all(plain) {
        return Err(CliError::usage(format!("--schema {schema:?} is no name of a schema; use 1 to 48 of a-z 0-9 _")));
    }
    let client = connect(url).await?;
    let there = "SELECT to_regclass(quote_ident($1) || '.work_schema') IS NOT NULL";
    let there = in_time(url, client.query_one(there, &[&schema])).await?;
    if !there.try_get::<_, bool>(0).unwrap_or_default() {
        return Ok(Tables::Foreign);
    }
    let version = format!("SELECT max(version)::bigint FROM \"{schema}\".work_schema");
    let row = in_time(url, client.query_one(&version, &[])).await?;
    Ok(row.try_get::<_, Option<i64>>(0).ok().flatten().map_or(Tables::Foreign, Tables::Version))
}

async fn connect(url: &str) -> Result<Client, CliError> {
    let (client, connection) = in_time(url, tokio_postgres::connect(url, NoTls)).await?;
    // Ends with the client.
    tokio::spawn(connection);
    Ok(client)
}

async fn in_time<A>(url: &str, answer: impl Future<Output = Result<A, tokio_postgres::Error>>) -> Result<A, CliError> {
    let place = redact_url(url);
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let ask = "is the server up, and are user, password and database right?";
            Err(CliError::unusable(format!("{place}: {}; {ask}", in_full(&error))))
        }
        Err(_) => Err(CliError::unusable(format!("{place}: no answer within {}; is the server up?", rough(DEADLINE)))),
    }
}

/// The error with its causes, which its own text leaves out.
fn in_full(error: &tokio_postgres::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

pub(crate) async fn examine(url: &str) -> Result<Vec<Check>, CliError> {
    let client = connect(url).await?;
    let version = setting(url, &client, "server_version").await?;
    let mut checks = vec![Check::ok("server", format!("PostgreSQL {version}"))];
    for (name, lost) in [
        ("synchronous_commit", "jobs that were accepted may be lost when the server dies"),
        ("fsync", "the database may be damaged when the power fails"),
        ("full_page_writes", "the database may be damaged when the power fails"),
    ] {
        let found = setting(url, &client, name).await?;
        checks.push(if found == "off" {
            Check::fail("durability", format!("{name} is off: {lost}"), format!("set {name} = on"))
        } else {
            Check::ok("durability", format!("{name} is {found}"))
        });
    }
    checks.push(clock(url, &client).await?);
    Ok(checks)
}

async fn setting(url: &str, client: &Client, name: &str) -> Result<String, CliError> {
    let row = in_time(url, client.query_one("SELECT current_setting($1)", &[&name])).await?;
    Ok(row.try_get(0).unwrap_or_default())
}

/// The server's clock decides what is due, so it is compared with the one here, half a round trip ago.
async fn clock(url: &str, client: &Client) -> Result<Check, CliError> {
    let machine = Clock::system();
    let before = machine.now();
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let row = in_time(url, client.query_one(now, &[])).await?;
    let here = before + (machine.now() - before) / 2;
    let server = row.try_get(0).ok().and_then(DateTime::<Utc>::from_timestamp_millis).unwrap_or(here);
    let apart = (server - here).abs();
    let text = format!("the clocks of server and machine are {} apart", rough(apart.to_std().unwrap_or_default()));
    Ok(if apart < TimeDelta::seconds(5) {
        Check::ok("clock skew", text)
    } else {
        Check::warn("clock skew", text, "set both by NTP: the server's decides what is due")
    })
}

/// A schema of its own in the same database.
pub(crate) async fn temporary(url: &str) -> Result<Temporary, CliError> {
    let unique = JobId::new().as_uuid().simple().to_string();
    let schema = format!("work_bench_{}", &unique[unique.len() - 12..]);
    let store = open(url, &schema).await?;
    let place = format!("{}, schema {schema}", redact_url(url));
    Ok(Temporary { store, place, cleanup: Cleanup::Schema { url: url.to_owned(), schema } })
}

pub(crate) async fn drop_schema(url: &str, schema: &str) -> Result<(), CliError> {
    let client = connect(url).await?;
    in_time(url, client.batch_execute(&format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE"))).await
}
