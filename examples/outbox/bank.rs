use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

/// Accounts that deposits are made on.
pub(crate) const ACCOUNTS: i64 = 25;

/// Deposits that are tried.
const DEPOSITS: i64 = 1_000;

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE accounts(name TEXT PRIMARY KEY, balance INTEGER NOT NULL, deposits INTEGER NOT NULL);
    CREATE TABLE events(
        id           INTEGER PRIMARY KEY AUTOINCREMENT,
        account      TEXT NOT NULL,
        topic        TEXT NOT NULL,
        payload      TEXT NOT NULL,
        published_at TEXT
    );
    CREATE INDEX events_pending ON events(id) WHERE published_at IS NULL;
    CREATE INDEX events_pending_account ON events(account, id) WHERE published_at IS NULL;";

/// A program that knows nothing of jobs.
pub(crate) struct Bank {
    connection: Connection,
}

/// What it did.
#[derive(Debug, Default)]
pub(crate) struct Deposits {
    pub(crate) committed: i64,
    pub(crate) rolled_back: i64,
}

impl Bank {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(30))?;
        connection.execute_batch(TABLES)?;
        for n in 0..ACCOUNTS {
            connection.execute("INSERT INTO accounts VALUES (?1, 0, 0)", [name(n)])?;
        }
        Ok(Self { connection })
    }

    /// Each is one transaction: the account and the event change together, or not at all.
    pub(crate) fn deposits(mut self) -> anyhow::Result<Deposits> {
        let mut done = Deposits::default();
        for n in 0..DEPOSITS {
            let (account, amount) = (name(n * 7 % ACCOUNTS), 1 + n % 90);
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (balance, deposits): (i64, i64) = transaction.query_row(
                "UPDATE accounts SET balance = balance + ?2, deposits = deposits + 1 WHERE name = ?1
                 RETURNING balance, deposits",
                (&account, amount),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let event = serde_json::json!({"deposit": deposits, "amount": amount, "balance": balance});
            let insert = "INSERT INTO events(account, topic, payload) VALUES (?1, 'deposited', ?2)";
            transaction.execute(insert, (&account, event.to_string()))?;
            // One in ten finds out at the end that it may not be.
            if n % 10 == 9 {
                transaction.rollback()?;
                done.rolled_back += 1;
            } else {
                transaction.commit()?;
                done.committed += 1;
            }
        }
        Ok(done)
    }
}

fn name(n: i64) -> String {
    format!("account {n}")
}

/// Waits until no event is pending.
pub(crate) async fn all_published(path: &Path) -> anyhow::Result<()> {
    let connection = Connection::open(path)?;
    let pending = "SELECT count(*) FROM events WHERE published_at IS NULL";
    while connection.query_row(pending, [], |row| row.get::<_, i64>(0))? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
