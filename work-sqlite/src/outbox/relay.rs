//! The thread of an outbox: it takes the lease, delivers rows, and writes what became of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::mpsc;
use work_core::source::{Delivery, Meaning};
use work_core::{JobId, Status};

use super::builder::SqliteOutboxBuilder;
use super::connect;
use super::error::OutboxError;
use super::inbox::Inbox;
use super::keys::{Key, Keys, Value};
use super::lease::Lease;
use super::row::OutboxRow;
use super::scan::Scan;
use super::settle::{self, Verdict};
use super::table::Table;
use crate::watch::Watch;

/// How often a relay that is to end tries to write what it knows.
const LAST_TRIES: u32 = 5;

pub(super) struct Relay {
    pub(super) settings: SqliteOutboxBuilder,
    pub(super) inbox: Arc<Inbox>,
    pub(super) rows: mpsc::Sender<Delivery<OutboxRow>>,
    /// `None` after a failure: then it is opened again.
    connection: Option<Connection>,
    pub(super) table: Table,
    pub(super) lease: Lease,
    /// What tells the rows of this file from those of others.
    pub(super) name: String,
    pub(super) keys: Keys,
    pub(super) scan: Scan,
    /// Rows that are delivered and not settled, by the number of the delivery. `None`: of a lease that is lost.
    pub(super) flights: HashMap<u64, Option<(Key, Value)>>,
    pub(super) deliveries: u64,
    pub(super) verdicts: Vec<Verdict>,
    closed: bool,
    /// Failures of the file, one after the other.
    failures: u32,
    not_before: Instant,
    renew_at: Instant,
    poll_at: Instant,
    /// SQLite's number of the commits of other connections.
    version: Option<i64>,
}

impl Relay {
    pub(super) fn open(
        settings: SqliteOutboxBuilder,
        inbox: Arc<Inbox>,
        rows: mpsc::Sender<Delivery<OutboxRow>>,
    ) -> Result<Self, OutboxError> {
        let (connection, table) = connect::open(&settings)?;
        let (outbox, owner) = (settings.names.table.clone(), JobId::new().to_string());
        let now = Instant::now();
        Ok(Self {
            lease: Lease { outbox, owner, time: settings.lease, fence: None },
            settings,
            inbox,
            rows,
            connection: Some(connection),
            table,
            name: String::new(),
            keys: Keys::default(),
            scan: Scan::new(),
            flights: HashMap::new(),
            deliveries: 0,
            verdicts: Vec::new(),
            closed: false,
            failures: 0,
            not_before: now,
            renew_at: now,
            poll_at: now,
            version: None,
        })
    }

    /// Ends once the source is dropped and what it delivered is settled.
    pub(super) fn run(mut self) {
        loop {
            let mail = self.inbox.wait(self.next_turn(), self.closed);
            self.closed = mail.closed;
            for (delivery, status) in mail.settled {
                self.settled(delivery, status);
            }
            if mail.woken {
                self.scan.wake();
            }
            if Instant::now() >= self.not_before {
                match self.turn() {
                    Ok(()) => self.failures = 0,
                    Err(error) => self.failed(&error),
                }
            }
            if self.closed && self.is_done() {
                break;
            }
        }
        if let (Some(connection), Some(_)) = (&self.connection, self.lease.fence) {
            let _ = self.lease.give_back(connection);
        }
    }

    fn is_done(&self) -> bool {
        // A relay without the lease has nothing to write.
        self.flights.values().all(Option::is_none) && (self.verdicts.is_empty() || self.failures >= LAST_TRIES)
    }

    fn next_turn(&self) -> Instant {
        let now = Instant::now();
        if now < self.not_before {
            return self.not_before;
        }
        if !self.verdicts.is_empty() {
            return now;
        }
        let mut next = now + Watch::PERIOD;
        if self.lease.fence.is_some() && self.has_room() {
            next = [self.keys.due(), self.scan.due()].into_iter().flatten().fold(next, Instant::min);
        }
        next
    }

    fn failed(&mut self, error: &OutboxError) {
        self.failures = self.failures.saturating_add(1);
        // 20 ms to 5 s, so that a file that is locked or full is asked now and then.
        let wait = Duration::from_millis(10) * (1 << self.failures.min(9));
        self.not_before = Instant::now() + wait.min(Duration::from_secs(5));
        // What the connection believes after a failure is not to be trusted.
        self.connection = None;
        let path = self.settings.path.display();
        tracing::warn!(%path, outbox = %self.lease.outbox, %error, "the outbox cannot be used; it is tried again");
    }

    /// Everything that can be done now.
    fn turn(&mut self) -> Result<(), OutboxError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let (connection, table) = connect::open(&self.settings)?;
                (self.table, self.version) = (table, None);
                self.scan.wake();
                connection
            }
        };
        self.turn_on(&connection).map_err(|error| super::check::sqlite(&connection, error))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn turn_on(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.look(connection)?;
        let now = Instant::now();
        let (holds, is_due) = (self.lease.fence.is_some(), now >= self.renew_at);
        let writes = !self.verdicts.is_empty() || (holds && is_due);
        // Who only waits for the lease of another relay writes nothing.
        if writes || (!holds && is_due && !self.closed && !self.lease.is_taken(connection, self.now())?) {
            self.write(connection)?;
        }
        if self.lease.fence.is_some() && !self.closed { self.deliver(connection) } else { Ok(()) }
    }

    /// Whether other connections have committed, or it is time to look anyway.
    fn look(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let found = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        let now = Instant::now();
        if self.version.replace(found) != Some(found) || now >= self.poll_at {
            self.poll_at = now + self.settings.poll_every.mul_f64(1.0 + chance() / 2.0);
            self.scan.wake();
        }
        Ok(())
    }

    /// One transaction: the lease, and what became of rows if it still is ours.
    fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let began = Instant::now();
        let transaction = connect::immediate(connection)?;
        let fence = self.lease.take(&transaction, self.now())?;
        let is_new = fence != self.lease.fence;
        if fence.is_some() && !is_new {
            settle::write(&transaction, &self.table, &self.verdicts, &self.settings.clock)?;
        }
        if fence.is_some() && is_new {
            self.name = self.lease.name(&transaction)?;
        }
        connect::commit(&transaction)?;
        // Who has no lease looks for its end all the time, which costs no write.
        self.renew_at = if fence.is_some() { began + self.settings.lease / 3 } else { began };
        if is_new {
            self.begin_lease(fence);
        }
        for Verdict { key, row, dead } in self.verdicts.drain(..) {
            if let Some(reason) = dead {
                let id = super::row::show(&row);
                tracing::error!(outbox = %self.lease.outbox, %id, %reason, "a row of the outbox is dead");
            }
            self.keys.done(key);
        }
        Ok(())
    }

    /// Another lease, or none: what was under way is another relay's by now, or was.
    fn begin_lease(&mut self, fence: Option<i64>) {
        match fence {
            Some(fence) => tracing::info!(outbox = %self.lease.outbox, fence, "this relay works"),
            None => tracing::warn!(outbox = %self.lease.outbox, "another relay has taken over"),
        }
        self.lease.fence = fence;
        self.verdicts.clear();
        self.keys.clear();
        self.scan = Scan::new();
        self.flights.values_mut().for_each(|flight| *flight = None);
    }

    pub(super) fn has_room(&self) -> bool {
        self.flights.len() < self.settings.in_flight
    }

    fn settled(&mut self, delivery: u64, status: Option<Status>) {
        let Some(Some((key, row))) = self.flights.remove(&delivery) else {
            return;
        };
        let meaning = Meaning::of(status);
        let dead = match meaning {
            Meaning::Published => None,
            Meaning::Dead => status.map(|status| format!("{status:?}")),
            Meaning::Failed | Meaning::NotNow => {
                let (tries, failures) = self.keys.fail(&key, meaning == Meaning::Failed);
                if meaning == Meaning::NotNow || self.settings.dead_after.is_none_or(|most| failures < most) {
                    let wait = self.settings.backoff.delay(tries);
                    return self.keys.wait(key, Instant::now() + wait);
                }
                status.map(|status| format!("{status:?} after {failures} failures"))
            }
        };
        self.verdicts.push(Verdict { key, row, dead });
    }

    fn now(&self) -> i64 {
        self.settings.clock.now().timestamp_millis()
    }
}

/// From 0 up to 1, so that relays that started together do not look together.
fn chance() -> f64 {
    (RandomState::new().hash_one(0_u8) % 1_000) as f64 / 1_000.0
}
