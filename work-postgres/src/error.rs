use std::fmt;
use std::time::Duration;

use tokio_postgres::error::{Severity, SqlState};
use work_core::{QueueFull, StoreError, StoreFault};

use crate::capacity;

/// Why a database cannot be opened as a store. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL cannot be read. It is not repeated here, since it may hold a password.
    #[error("the URL of the database is wrong: {}; use postgres://user@host:5432/database", work_core::brief(.source))]
    InvalidUrl {
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The name of the schema is no name that needs no quotes.
    #[error("invalid schema name {given:?}; use 1 to 48 of a-z 0-9 _, starting with a letter or _, and not with pg_")]
    InvalidSchema {
        /// The name that was given.
        given: String,
    },
    /// A setting is out of its range.
    #[error("{setting} {given} is out of range; use {accepted}")]
    OutOfRange {
        /// Which setting.
        setting: &'static str,
        /// What was given.
        given: String,
        /// What is accepted.
        accepted: &'static str,
    },
    /// The server cannot be reached, or lets us not in.
    #[error("{server}: no connection; is the server up, and are user, password and database right? ({source})")]
    NoConnection {
        /// Host and database.
        server: String,
        /// What the system or the server says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The URL or the server asks for TLS.
    #[error(
        "{server}: TLS is needed, and this store does not speak it yet; connect through a local socket or a tunnel"
    )]
    NeedsTls {
        /// Host and database.
        server: String,
    },
    /// The server did not answer in time.
    #[error("{server}: no answer within {within:?}")]
    NoAnswer {
        /// Host and database.
        server: String,
        /// The deadline of a call.
        within: Duration,
    },
    /// The server is too old.
    #[error("{server}: PostgreSQL {found} is too old; use 15 or newer")]
    OldServer {
        /// Host and database.
        server: String,
        /// Its version.
        found: String,
    },
    /// The server is a replica, or the database is read-only.
    #[error("{server}: read-only; connect to the primary, and set default_transaction_read_only = off")]
    ReadOnly {
        /// Host and database.
        server: String,
    },
    /// The database keeps texts in an encoding that has not all characters.
    #[error("{server}: the encoding of the database is {found}; use one with UTF8")]
    NotUtf8 {
        /// Host and database.
        server: String,
        /// Its encoding.
        found: String,
    },
    /// Somebody has removed a table or an index.
    #[error(
        "{server}: the schema {schema:?} lacks `{missing}`; restore the database from a copy, or create what is missing again"
    )]
    Incomplete {
        /// Host and database.
        server: String,
        /// The schema.
        schema: String,
        /// The table or the index.
        missing: String,
    },
    /// The schema has a table `jobs` that is not ours.
    #[error("{server}: the schema {} has a table `jobs` of another program; use another schema", work_core::shown(.schema))]
    Foreign {
        /// Host and database.
        server: String,
        /// The schema.
        schema: String,
    },
    /// A newer version of this software has changed the tables.
    #[error(
        "{server}: the schema {} has version {found}, and this program knows versions up to {known}; run a newer program",
        work_core::shown(.schema)
    )]
    NewerSchema {
        /// Host and database.
        server: String,
        /// The schema.
        schema: String,
        /// The version in the database.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A setting that durability rests on is not what it must be.
    #[error("{server}: {setting} is {} and must be {needed:?} for the durability that was asked for", work_core::shown(.found))]
    NotDurable {
        /// Host and database.
        server: String,
        /// The setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        needed: &'static str,
    },
    /// Anything else.
    #[error("{server}: {source}")]
    Other {
        /// Host and database.
        server: String,
        /// What the server or the system says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a call failed, and whether its change may have been made all the same. It can be told to many.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: Kind,
    fault: Option<StoreFault>,
    message: String,
    source: String,
    full: Option<Box<QueueFull>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It never reached the database.
    Unsent,
    /// The database said no.
    Refused,
    /// Its answer was lost.
    Unknown,
}

impl Failure {
    pub(crate) fn unsent(message: impl Into<String>, source: impl fmt::Display) -> Self {
        Self {
            kind: Kind::Unsent,
            fault: Some(StoreFault::Unavailable),
            message: message.into(),
            source: source.to_string(),
            full: None,
        }
    }

    pub(crate) fn unknown(message: impl Into<String>, source: impl fmt::Display) -> Self {
        Self {
            kind: Kind::Unknown,
            fault: Some(StoreFault::Unavailable),
            message: message.into(),
            source: source.to_string(),
            full: None,
        }
    }

    /// What an error that came after the request was sent means: a server that says `ERROR` has rolled back. Of everything
    /// else nobody knows: even `FATAL` may come after the commit.
    pub(crate) fn of(call: &'static str, error: &tokio_postgres::Error) -> Self {
        let source = in_full(error);
        match refusal(error) {
            Some(code) => Self {
                kind: Kind::Refused,
                fault: fault(code),
                message: format!("the database refused `{call}`"),
                source,
                full: capacity::full(error).map(Box::new),
            },
            None => Self::unknown(format!("no answer to `{call}`"), source),
        }
    }

    /// The queue that had no room, if that is why.
    pub(crate) fn queue_full(&self) -> Option<&QueueFull> {
        self.full.as_deref()
    }

    /// True if the request itself may be what is wrong.
    pub(crate) fn is_refusal(&self) -> bool {
        self.kind == Kind::Refused
    }
}

impl From<QueueFull> for Failure {
    fn from(full: QueueFull) -> Self {
        let (message, source) = (String::new(), String::new());
        Self { kind: Kind::Refused, fault: None, message, source, full: Some(Box::new(full)) }
    }
}

impl From<Failure> for StoreError {
    fn from(Failure { kind, fault, message, source, full }: Failure) -> Self {
        let error = match (full, kind) {
            (Some(full), _) => return (*full).into(),
            (None, Kind::Unknown) => Self::unknown(message, source),
            (None, Kind::Unsent | Kind::Refused) => Self::rejected(message, source),
        };
        match fault {
            Some(fault) => error.because(fault),
            None => error,
        }
    }
}

/// What an operator can mend.
fn fault(code: &SqlState) -> Option<StoreFault> {
    match code {
        code if *code == SqlState::DISK_FULL => Some(StoreFault::Full),
        code if *code == SqlState::LOCK_NOT_AVAILABLE => Some(StoreFault::Busy),
        code if is_conflict(code) => Some(StoreFault::Busy),
        // Out of memory or of connections, or on its way down.
        code if code.code().starts_with("53") || code.code().starts_with("57P") => Some(StoreFault::Unavailable),
        _ => None,
    }
}

/// What the server rolled back only because somebody else was in the way.
pub(crate) fn is_conflict(code: &SqlState) -> bool {
    *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE
}

/// What the server said, if it said that it did nothing and goes on.
pub(crate) fn refusal(error: &tokio_postgres::Error) -> Option<&SqlState> {
    let said = error.as_db_error()?;
    // Errors that come from a server too old to send the severity apart are matched by their text.
    let goes_on = said.parsed_severity().map_or_else(|| said.severity() == "ERROR", |s| s == Severity::Error);
    goes_on.then(|| said.code())
}

/// The error with what the server said, which `Display` leaves out.
pub(crate) fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
