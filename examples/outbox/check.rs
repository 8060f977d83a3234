use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::Value;

/// What the receiver has, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) requests: i64,
    pub(crate) failed: i64,
    pub(crate) arrived: usize,
    pub(crate) duplicates: i64,
    pub(crate) wrong: Vec<String>,
}

/// An event: id, account, payload.
type Event = (i64, String, String);

/// Compares the events of the bank with those of the receiver, in the order in which it got them.
pub(crate) fn check(ours: &Connection, theirs: &Connection) -> anyhow::Result<Found> {
    let sent = events(ours, "SELECT id, account, payload FROM events ORDER BY id")?;
    let arrived = events(theirs, "SELECT event, account, payload FROM arrived ORDER BY n")?;
    let mut wrong = Vec::new();
    let (sent, got) = (by_account(&sent), by_account(&arrived));
    for (account, events) in &sent {
        if got.get(account) != Some(events) {
            wrong.push(format!("{account}: {} events were sent, and the receiver has others", events.len()));
        }
    }
    if let Some(account) = got.keys().find(|account| !sent.contains_key(*account)) {
        wrong.push(format!("{account}: the bank has no such account"));
    }
    for (account, balance) in balances(ours)? {
        let last = got.get(account.as_str()).and_then(|events| events.last());
        let told = last.and_then(|(_, payload)| serde_json::from_str::<Value>(payload).ok()?["balance"].as_i64());
        if told != Some(balance) {
            wrong.push(format!("{account} has {balance}, and the receiver was told of {told:?}"));
        }
    }
    let count = |sql: &str| theirs.query_row(sql, [], |row| row.get::<_, i64>(0));
    Ok(Found {
        requests: count("SELECT count(*) FROM requests")?,
        failed: count("SELECT count(*) FROM requests WHERE status >= 500")?,
        arrived: arrived.len(),
        // Of the requests that kept an event or found it kept, all but the first of each.
        duplicates: count(
            "SELECT count(*) FROM requests AS r
             WHERE r.n % 10 <> 4 AND EXISTS (SELECT 1 FROM requests WHERE event = r.event AND n < r.n AND n % 10 <> 4)",
        )?,
        wrong,
    })
}

fn events(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<Event>> {
    let mut statement = connection.prepare(sql)?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

fn balances(connection: &Connection) -> rusqlite::Result<Vec<(String, i64)>> {
    let mut statement = connection.prepare("SELECT name, balance FROM accounts")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The events of each account, in order: id and payload.
fn by_account(events: &[Event]) -> BTreeMap<&str, Vec<(i64, &str)>> {
    let mut accounts: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (id, account, payload) in events {
        accounts.entry(account).or_default().push((*id, payload.as_str()));
    }
    accounts
}
