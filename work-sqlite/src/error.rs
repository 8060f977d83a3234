use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use work_core::{StoreError, StoreFault};

/// Why a file cannot be opened as a store. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder that the file should be in does not exist.
    #[error("{}: the folder {} does not exist; create it first", file(path), file(parent))]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// The folder.
        parent: PathBuf,
    },
    /// The path is a folder.
    #[error("{}: this is a folder; give the path of a file", file(path))]
    IsFolder {
        /// The path.
        path: PathBuf,
    },
    /// The path is a device, a pipe or a socket.
    #[error("{}: this is no file that keeps anything; give the path of a file", file(path))]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// A store in memory is not durable.
    #[error(
        "{}: SQLite in memory keeps nothing; use `work_core::store::MemoryStore`, or the path of a file",
        file(path)
    )]
    InMemory {
        /// The path that was given.
        path: PathBuf,
    },
    /// The file is no SQLite database.
    #[error("{}: this is not an SQLite database; give another path, or move the file away", file(path))]
    NotSqlite {
        /// The file.
        path: PathBuf,
    },
    /// The database has a table `jobs` that is not ours.
    #[error("{}: this database has a table `jobs` of another program; give another path", file(path))]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of this software has changed the tables.
    #[error(
        "{}: the schema has version {found}, and this program knows versions up to {known}; run a newer program",
        file(path)
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// Somebody has removed a part of the tables.
    #[error(
        "{}: the schema lacks `{missing}`; restore the database from a copy, or create what is missing again",
        file(path)
    )]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// A table, an index, or a column of a table.
        missing: String,
    },
    /// The file or its disk cannot be written.
    #[error("{}: read-only; make the file and its folder writable", file(path))]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file, or one beside it, cannot be opened: usually a matter of permissions.
    #[error(
        "{}: cannot be opened; this user must be able to read and write the file and its folder ({source})",
        file(path)
    )]
    NoAccess {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk is full.
    #[error("{}: the disk is full; free some space", file(path))]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the write lock.
    #[error("{}: another process has locked the database for more than 5 s; end it, or wait", file(path))]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("{}: the database is damaged; restore it from a copy", file(path))]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A setting that durability rests on could not be had.
    #[error("{}: {setting} is {found:?} and must be {needed:?} for the durability that was asked for", file(path))]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// The setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        needed: &'static str,
    },
    /// The SQLite library has a bug that can damage a database in WAL mode.
    #[error("SQLite {found} can damage databases in WAL mode; build with 3.51.3 or newer")]
    OldSqlite {
        /// The version of the library.
        found: &'static str,
    },
    /// Anything else.
    #[error("{}: {source}", file(path))]
    Other {
        /// The file.
        path: PathBuf,
        /// What SQLite or the system says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    pub(crate) fn other(path: PathBuf, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other { path, source: source.into() }
    }

    pub(crate) fn from_sqlite(path: PathBuf, error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotSqlite { path },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::NoAccess { path, source: error.into() },
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path },
            _ => Self::other(path, error),
        }
    }
}

/// A path, as messages show it.
fn file(path: &Path) -> String {
    work_core::brief(&path.display())
}

/// Where in a transaction an error came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the first request of it ran.
    Begin,
    /// Before the commit: everything was rolled back.
    Run,
    /// In the commit itself.
    Commit,
}

/// A transaction that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) phase: Phase,
    pub(crate) error: rusqlite::Error,
    /// Which request of it failed, if it failed in one.
    pub(crate) at: usize,
}

impl Failed {
    pub(crate) const fn new(phase: Phase, error: rusqlite::Error) -> Self {
        Self { phase, error, at: 0 }
    }
}

/// An error that is not SQLite's own, in the form of one.
pub(crate) fn failure(code: std::ffi::c_int, text: &impl ToString) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(text.to_string()))
}

/// What a failed transaction means to who asked for it.
pub(crate) fn store_error(error: &rusqlite::Error, phase: Phase) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::rejected("the disk is full", text).because(StoreFault::Full),
        Some(ErrorCode::ReadOnly) => StoreError::rejected("the database is read-only", text),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::rejected("the database is locked by another process", text).because(StoreFault::Busy)
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::rejected("the database is damaged", text)
        }
        Some(ErrorCode::SystemIoFailure) if phase == Phase::Commit => {
            StoreError::unknown("the disk failed during the commit", text).because(StoreFault::Unavailable)
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            StoreError::rejected("the database refused", text).because(StoreFault::Unavailable)
        }
        _ => StoreError::rejected("the database refused", text),
    }
}
