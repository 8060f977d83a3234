use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use work_core::ArgsError;

/// The largest row that is delivered, in bytes of all its columns together: what fits into the arguments of a job.
pub const MAX_ROW: usize = 1_000_000;

/// A row of an outbox table: the arguments of its job.
///
/// As JSON it is `{"id": 7, "key": "Ann", "topic": null, "headers": {}, "payload": …}`.
///
/// ```
/// use work_postgres::outbox::{OutboxId, OutboxRow};
///
/// let row: OutboxRow = serde_json::from_str(r#"{"id": 7, "key": "Ann", "payload": {"opened": 5}}"#)?;
/// assert_eq!(row.id(), &OutboxId::Integer(7));
/// assert_eq!(row.key(), Some("Ann"));
/// assert_eq!(row.payload_json(), r#"{"opened": 5}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutboxRow {
    pub(super) id: OutboxId,
    #[serde(default)]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) topic: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) payload: Box<RawValue>,
}

/// What identifies a row, the same at each of its deliveries: a receiver knows duplicates by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OutboxId {
    /// Of an integer column.
    Integer(i64),
    /// Of a text column.
    Text(String),
}

impl OutboxRow {
    /// What identifies it.
    #[must_use]
    pub const fn id(&self) -> &OutboxId {
        &self.id
    }

    /// Its key as text: rows of one key come in order.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What it is about, if there is a [topic column](super::PostgresOutboxBuilder::topic).
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// Its headers, if there is a [headers column](super::PostgresOutboxBuilder::headers).
    #[must_use]
    pub const fn headers(&self) -> &BTreeMap<String, String> {
        &self.headers
    }

    /// The payload, as JSON.
    #[must_use]
    pub fn payload_json(&self) -> &str {
        self.payload.get()
    }

    /// The payload as a value of type `T`.
    ///
    /// # Errors
    ///
    /// [`ArgsError::Decode`] if it is of another shape, which is 400: the row is dead.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        let decoded = serde_json::from_str(self.payload.get());
        decoded.map_err(|source| ArgsError::Decode { type_name: std::any::type_name::<T>(), source })
    }
}

impl fmt::Display for OutboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(id) => fmt::Display::fmt(id, f),
            Self::Text(id) => f.write_str(id),
        }
    }
}
