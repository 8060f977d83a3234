//! Which rows a relay delivers, and in which order.

use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};
use work_core::Unique;
use work_core::source::Delivery;

use super::builder::DeadRows;
use super::fetch::fetch;
use super::keys::{Key, Value};
use super::relay::Relay;
use super::row::OutboxRow;
use super::settle::Verdict;

impl Relay {
    /// Delivers rows until there is no room, or no row that may be delivered.
    pub(super) fn deliver(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.scan.begin(Instant::now()) {
            self.tidy(connection)?;
        }
        // One snapshot: the head of a key, and then that row.
        let snapshot = connection.unchecked_transaction()?;
        let (mut more_keys, mut more_rows) = (true, true);
        // By turns, so that neither keys with many rows nor new keys take all of the room.
        while self.has_room() && self.verdicts.len() < self.settings.in_flight && (more_keys || more_rows) {
            more_keys = self.deliver_ready(&snapshot)?;
            more_rows = self.has_room() && self.deliver_scanned(&snapshot)?;
        }
        snapshot.finish()
    }

    /// Forgets dead rows that somebody has published or deleted, so that a new row with such an id is not taken for dead.
    fn tidy(&self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some([is_needed, delete]) = &self.table.tidy
            && connection.prepare_cached(is_needed)?.query_row([], |row| row.get(0))?
        {
            connection.execute(delete, [])?;
        }
        Ok(())
    }

    /// The next row of a key whose last one is done with. False if there is no such key.
    fn deliver_ready(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let Some(key) = self.keys.ready(Instant::now()) else {
            return Ok(false);
        };
        match self.deliver_head(connection, &key) {
            Ok(true) => {}
            Ok(false) => self.keys.forget(&key),
            Err(error) => {
                self.keys.again(key);
                return Err(error);
            }
        }
        Ok(true)
    }

    /// False if there is nothing of the key to be delivered.
    fn deliver_head(&mut self, connection: &Connection, key: &Key) -> rusqlite::Result<bool> {
        match self.head(connection, key)? {
            Some(row) => self.deliver_row(connection, key, &row),
            None => Ok(false),
        }
    }

    /// The next row of the look, or rather the first row of its key. False if there is none.
    fn deliver_scanned(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let Some((row, key)) = self.scan.next(connection, &self.table)? else {
            return Ok(false);
        };
        if self.keys.is_known(&key) || self.scan.is_held(&key) {
            return Ok(true);
        }
        if self.keys.is_full() {
            self.scan.put_back((row, key));
            return Ok(false);
        }
        self.deliver_head(connection, &key)?;
        Ok(true)
    }

    /// The row of the key that comes first, unless it is dead and holds the key.
    fn head(&mut self, connection: &Connection, key: &Key) -> rusqlite::Result<Option<Value>> {
        let value = match key {
            Key::Alone(row) => return Ok(Some(row.clone())),
            Key::Of(value) => value,
        };
        let mut statement = connection.prepare_cached(&self.table.head)?;
        let head = statement.query_row([value], |row| Ok((row.get(0)?, row.get::<_, bool>(1)?))).optional()?;
        let Some((row, is_alive)) = head else {
            return Ok(None);
        };
        if !is_alive && self.settings.dead_rows == DeadRows::HoldTheirKey {
            self.scan.hold(key.clone());
            return Ok(None);
        }
        Ok(Some(row))
    }

    /// False if it is not there to be delivered any more.
    fn deliver_row(&mut self, connection: &Connection, key: &Key, id: &Value) -> rusqlite::Result<bool> {
        let Some(row) = fetch(connection, &self.table, id)? else {
            return Ok(false);
        };
        self.keys.deliver(key, id);
        match row {
            Ok(row) => self.send(row, key.clone(), id.clone()),
            Err(reason) => self.verdicts.push(Verdict { key: key.clone(), row: id.clone(), dead: Some(reason) }),
        }
        Ok(true)
    }

    fn send(&mut self, row: OutboxRow, key: Key, id: Value) {
        self.deliveries += 1;
        let unique = Unique::new(format!("outbox:{}:{}", self.name, row.id()));
        let (inbox, number) = (self.inbox.clone(), self.deliveries);
        let delivery = Delivery::new(row).unique(unique).on_settled(move |status| inbox.settle(number, status));
        self.flights.insert(self.deliveries, Some((key, id)));
        // There is room for all that are in flight. If nobody receives any more, the receipt says so.
        drop(self.rows.try_send(delivery));
    }
}
