use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::arrivals::Arrivals;

/// Tells who waits for jobs when another process may have written some.
#[derive(Debug)]
pub(crate) struct Watch {
    /// SQLite's number of the commits of other connections.
    version: Option<i64>,
    looked: Instant,
    /// When somebody is told without a reason.
    told_at: Instant,
}

impl Watch {
    /// How often to look, while somebody waits.
    pub(crate) const PERIOD: Duration = Duration::from_millis(50);

    /// From the present state of the file on.
    pub(crate) fn new(connection: &Connection) -> Self {
        let now = Instant::now();
        Self { version: version(connection).ok(), looked: now, told_at: now + in_a_while() }
    }

    /// Looks, if it is time to. A version that is older than the wait wakes once too often, and never once too seldom.
    pub(crate) fn look(&mut self, connection: Option<&Connection>, arrivals: &Arrivals) {
        let now = Instant::now();
        if now.duration_since(self.looked) < Self::PERIOD {
            return;
        }
        self.looked = now;
        let found = connection.and_then(|connection| version(connection).ok());
        let changed = found.is_some() && found != self.version;
        self.version = found.or(self.version);
        if changed || now >= self.told_at {
            self.told_at = now + in_a_while();
            arrivals.wake();
        }
    }

    /// Nobody waits.
    pub(crate) fn rest(&mut self) {
        self.told_at = Instant::now() + in_a_while();
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// Half a second to a second, so that processes that started together do not look together.
fn in_a_while() -> Duration {
    let chance = RandomState::new().hash_one(0_u8) % 500;
    Duration::from_millis(500 + chance)
}
