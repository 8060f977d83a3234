//! The task of an outbox: it takes rows, hands them over, and writes what became of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use work_core::source::{Delivery, Meaning};
use work_core::{Backoff, Status, StoreError, Unique};

use super::builder::PostgresOutboxBuilder;
use super::inbox::Inbox;
use super::row::OutboxRow;
use super::statements::{self, Taken, Verdict};
use super::table::Table;
use crate::error::Failure;
use crate::store::Shared;
use crate::thread::IoThread;

/// How often a relay that is to end tries to write what it knows.
const LAST_TRIES: u32 = 5;

/// The first pause after rows were found; it doubles up to `poll_every`.
const SOON: Duration = Duration::from_millis(50);

/// After what somebody else has locked.
const LOCKED: Duration = Duration::from_millis(200);

/// Looks that find less than there is room for, or that take longer than `SLOW`, take a fifth of the time at most.
const REST: u32 = 4;
const SLOW: Duration = Duration::from_millis(50);

/// Keys that are remembered as ready. Those that are forgotten are found by a look.
const MAX_READY: usize = 10_000;

pub(super) struct Relay {
    settings: PostgresOutboxBuilder,
    table: Arc<Table>,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    rows: mpsc::Sender<Delivery<OutboxRow>>,
    /// Rows that are delivered and not settled, by the number of the delivery.
    flights: HashMap<u64, Flight>,
    deliveries: u64,
    verdicts: Vec<Verdict>,
    closed: bool,
    /// Failures of the server, one after the other.
    failures: u32,
    not_before: Instant,
    extend_at: Instant,
    look_at: Instant,
    /// No look before, whatever happens.
    rested_at: Instant,
    idle: Duration,
    /// Keys whose next row may be delivered.
    ready: VecDeque<String>,
}

/// A row that we have taken. A later attempt is another taking, perhaps of another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) id: String,
    pub(super) attempt: i64,
    pub(super) key: Option<String>,
}

impl Relay {
    pub(super) fn new(
        settings: PostgresOutboxBuilder,
        table: Table,
        shared: Arc<Shared>,
        inbox: Arc<Inbox>,
        rows: mpsc::Sender<Delivery<OutboxRow>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            extend_at: now + settings.lease / 3,
            settings,
            table: Arc::new(table),
            shared,
            inbox,
            rows,
            flights: HashMap::new(),
            deliveries: 0,
            verdicts: Vec::new(),
            closed: false,
            failures: 0,
            not_before: now,
            look_at: now,
            rested_at: now,
            idle: SOON,
            ready: VecDeque::new(),
        }
    }

    /// Ends once the source is dropped and what it delivered is settled.
    pub(super) async fn run(mut self, _thread: IoThread) {
        loop {
            let mail = self.inbox.wait(self.next_turn()).await;
            self.closed = mail.closed;
            for (delivery, status) in mail.settled {
                self.settled(delivery, status);
            }
            if mail.woken {
                self.look_at = self.rested_at;
            }
            if Instant::now() >= self.not_before {
                match self.turn().await {
                    Ok(()) => self.failures = 0,
                    Err(failure) => self.failed(failure),
                }
            }
            let is_written = self.verdicts.is_empty() || self.failures >= LAST_TRIES;
            if self.closed && self.flights.is_empty() && is_written {
                break;
            }
        }
    }

    fn next_turn(&self) -> Instant {
        let mut next = self.extend_at;
        if !self.closed && self.room() > 0 {
            next = if self.ready.is_empty() { next.min(self.look_at) } else { Instant::now() };
        }
        if !self.verdicts.is_empty() {
            next = Instant::now();
        }
        next.max(self.not_before)
    }

    fn failed(&mut self, failure: Failure) {
        self.failures = self.failures.saturating_add(1);
        let backoff = Backoff::exponential(Duration::from_millis(20), 2.0).cap(Duration::from_secs(5)).jitter(0.5);
        self.not_before = Instant::now() + backoff.delay(self.failures);
        let (server, outbox, error) = (&self.shared.server, &self.table.name, StoreError::from(failure));
        tracing::warn!(%server, %outbox, %error, "the outbox cannot be used; it is tried again");
    }

    /// Everything that can be done now.
    async fn turn(&mut self) -> Result<(), Failure> {
        // First, since a lease may have run low while the server was away.
        if Instant::now() >= self.extend_at {
            self.extend().await?;
        }
        if !self.verdicts.is_empty() {
            self.write().await?;
        }
        // The oldest rows first, and what there is room for then.
        if !self.closed && self.room() > 0 && Instant::now() >= self.look_at {
            self.take().await?;
        }
        if !self.closed && self.room() > 0 && !self.ready.is_empty() { self.take_heads().await } else { Ok(()) }
    }

    fn room(&self) -> usize {
        self.settings.in_flight.saturating_sub(self.flights.len() + self.verdicts.len())
    }

    async fn extend(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let flights: Vec<Flight> =
            self.flights.values().cloned().chain(self.verdicts.iter().map(|verdict| verdict.flight.clone())).collect();
        if !flights.is_empty() {
            let input = (self.table.clone(), flights, micros(self.settings.lease));
            self.shared.perform("extend the leases of an outbox", &input, statements::extend).await?;
        }
        self.extend_at = began + self.settings.lease / 3;
        Ok(())
    }

    /// What became of rows, in one transaction. That of a row that another process has taken meanwhile is passed over.
    async fn write(&mut self) -> Result<(), Failure> {
        let input = (self.table.clone(), std::mem::take(&mut self.verdicts));
        let written = self.shared.perform("mark the rows of an outbox", &input, statements::settle).await;
        let (_, verdicts) = input;
        let locked = match written {
            Ok(locked) => locked,
            Err(failure) => {
                self.verdicts = verdicts;
                return Err(failure);
            }
        };
        let now = Instant::now();
        for mut verdict in verdicts {
            if locked.contains(&verdict.flight.id) {
                self.verdicts.push(verdict);
                continue;
            }
            if verdict.is_final() && self.ready.len() < MAX_READY {
                self.ready.extend(verdict.flight.key.take());
            }
            if let Some(reason) = verdict.dead {
                tracing::error!(outbox = %self.table.name, id = %verdict.flight.id, %reason, "a row of the outbox is dead");
            }
        }
        if !self.verdicts.is_empty() {
            self.not_before = now + LOCKED;
        }
        Ok(())
    }

    /// Takes as many rows as there is room for.
    async fn take(&mut self) -> Result<(), Failure> {
        let (began, room) = (Instant::now(), self.room());
        let input = (self.table.clone(), room, micros(self.settings.lease));
        let taken = self.shared.perform("take the rows of an outbox", &input, statements::take).await?;
        let (now, is_full) = (Instant::now(), taken.len() == room);
        let spent = now - began;
        self.rested_at = if is_full && spent < SLOW { now } else { now + spent * REST };
        self.idle = if taken.is_empty() { (self.idle * 2).min(self.settings.poll_every) } else { SOON };
        let idle = Backoff::constant(self.idle.min(self.settings.poll_every)).jitter(0.33).delay(1);
        self.look_at = if is_full { self.rested_at } else { self.rested_at.max(now + idle) };
        self.deliver(taken);
        Ok(())
    }

    /// Takes the rows behind those that are done with.
    async fn take_heads(&mut self) -> Result<(), Failure> {
        let count = self.room().min(self.ready.len());
        let keys: Vec<String> = self.ready.drain(..count).collect();
        // If it fails, the next look finds them.
        let input = (self.table.clone(), keys, micros(self.settings.lease));
        let taken = self.shared.perform("take the rows of an outbox", &input, statements::take_heads).await?;
        self.deliver(taken);
        Ok(())
    }

    fn deliver(&mut self, taken: Vec<Taken>) {
        for Taken { flight, row } in taken {
            match row {
                Ok(row) => self.send(flight, row),
                Err(reason) => self.verdicts.push(Verdict::dead(flight, reason)),
            }
        }
    }

    fn send(&mut self, flight: Flight, row: OutboxRow) {
        self.deliveries += 1;
        let server: String = self.shared.server.chars().filter(char::is_ascii).take(100).collect();
        let unique = Unique::new(format!("outbox:{server}:{}:{}", self.table.name, row.id()));
        let (inbox, number) = (self.inbox.clone(), self.deliveries);
        let delivery = Delivery::new(row).unique(unique).on_settled(move |status| inbox.settle(number, status));
        self.flights.insert(self.deliveries, flight);
        // There is room for all that are in flight. If nobody receives any more, the receipt says so.
        drop(self.rows.try_send(delivery));
    }

    fn settled(&mut self, delivery: u64, status: Option<Status>) {
        let Some(flight) = self.flights.remove(&delivery) else {
            return;
        };
        let attempts = u32::try_from(flight.attempt).unwrap_or(u32::MAX);
        let meaning = Meaning::of(status);
        let said = || status.map_or_else(String::new, |status| format!("{status:?}"));
        let verdict = match meaning {
            Meaning::Published => Verdict::published(flight),
            Meaning::Dead => Verdict::dead(flight, said()),
            Meaning::Failed if self.settings.dead_after.is_some_and(|most| attempts >= most) => {
                let reason = format!("{} at attempt {attempts}", said());
                Verdict::dead(flight, reason)
            }
            // No job was made of it, and none will be here: it is free for others.
            Meaning::NotNow if status.is_none() && self.closed => Verdict::again(flight, 0),
            Meaning::Failed | Meaning::NotNow => {
                Verdict::again(flight, micros(self.settings.backoff.delay(attempts.max(1))))
            }
        };
        self.verdicts.push(verdict);
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
