use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use work_core::{Clock, DEFAULT_MAX_ARGS, JobId};

use crate::SqliteStore;
use crate::error::OpenError;
use crate::migrate::{check, migrate};

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Also a power cut: `synchronous=FULL`.
    #[default]
    PowerLoss,
    /// The death of any process, but not of the machine: `synchronous=NORMAL`. The last commits may be lost with the power.
    ProcessDeath,
}

/// Settings of an [`SqliteStore`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct SqliteStoreBuilder {
    pub(crate) path: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) clock: Clock,
    pub(crate) max_args: usize,
}

impl SqliteStoreBuilder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, durability: Durability::default(), clock: Clock::system(), max_args: DEFAULT_MAX_ARGS }
    }

    /// What a commit survives; by default a power cut.
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// What says "now": when jobs are due, and when leases end. By default this machine's clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How many bytes the arguments of a job may have; by default 1 MiB. Larger ones that came by `INSERT` are dead letters.
    pub const fn max_args(mut self, bytes: usize) -> Self {
        self.max_args = bytes;
        self
    }

    /// Opens the file, which is made if it is not there, and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong with the path, the file or its settings; nothing was changed then.
    pub async fn open(self) -> Result<SqliteStore, OpenError> {
        SqliteStore::start(self).await
    }
}

/// The first SQLite without the bug that can damage a database in WAL mode.
const MIN_SQLITE: i32 = 3_051_003;

/// How long a statement waits for the write lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the connection that writes: checks the path, makes the file, sets and verifies what durability rests on.
///
/// Two processes may do so at once. The change to WAL does not wait for another one's lock as statements do, so it is
/// tried again for as long.
pub(crate) fn writer(settings: &SqliteStoreBuilder) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < MIN_SQLITE {
        return Err(OpenError::OldSqlite { found: rusqlite::version() });
    }
    make_file(&settings.path)?;
    writer_again(settings)
}

/// Opens the connection that writes once more. A file that is gone by now is not made anew: its jobs would be gone with it.
pub(crate) fn writer_again(settings: &SqliteStoreBuilder) -> Result<Connection, OpenError> {
    let start = Instant::now();
    loop {
        match open_writer(settings) {
            Err(OpenError::Locked { .. }) if start.elapsed() < BUSY_TIMEOUT => thread::sleep(Duration::from_millis(5)),
            Err(OpenError::NoAccess { path, .. }) if is_read_only(&path) => return Err(OpenError::ReadOnly { path }),
            opened => return opened,
        }
    }
}

fn open_writer(settings: &SqliteStoreBuilder) -> Result<Connection, OpenError> {
    let path = &settings.path;
    let mut connection = connect(path)?;
    // Before the first setting: a file that is refused is left as it was.
    check(&connection, path)?;
    set_up(&connection, settings)?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Opens a connection that only reads. The file is there, and in WAL mode.
pub(crate) fn reader(settings: &SqliteStoreBuilder) -> Result<Connection, OpenError> {
    let connection = connect(&settings.path)?;
    let read_only = connection.pragma_update(None, "query_only", true);
    read_only.map_err(|error| OpenError::from_sqlite(settings.path.clone(), error))?;
    Ok(connection)
}

/// Opens a connection to a file of any program, which is there.
pub(crate) fn existing(path: &Path) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < MIN_SQLITE {
        return Err(OpenError::OldSqlite { found: rusqlite::version() });
    }
    check_path(path)?;
    let connection = connect(path)?;
    match connection.is_readonly("main") {
        Ok(false) => Ok(connection),
        Ok(true) => Err(OpenError::ReadOnly { path: path.to_owned() }),
        Err(error) => Err(OpenError::from_sqlite(path.to_owned(), error)),
    }
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    // Without URI names: a path is a path, whatever signs it has.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(64);
        // Otherwise a statement on a partial index is planned anew for each value that is bound to it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    };
    open().map_err(|error| OpenError::from_sqlite(path.to_owned(), error))
}

/// Whether nothing can be made beside the file, which SQLite has to: it only says that it cannot open something.
fn is_read_only(path: &Path) -> bool {
    let probe = path.with_file_name(format!(".{}", JobId::new()));
    match std::fs::create_dir(&probe) {
        Ok(()) => std::fs::remove_dir(&probe).is_err(),
        Err(error) => matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied),
    }
}

/// Held while a file is made: closing it would take the locks of another thread that uses it already.
static MAKING: Mutex<()> = Mutex::new(());

/// Makes an empty file that only its owner can read, if there is none.
fn make_file(path: &Path) -> Result<(), OpenError> {
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    check_path(path)?;
    let path_buf = path.to_owned();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
            Err(OpenError::ReadOnly { path: path_buf })
        }
        Err(error) if error.kind() == ErrorKind::StorageFull => Err(OpenError::DiskFull { path: path_buf }),
        Err(error) => Err(OpenError::other(path_buf, error)),
    }
}

/// Refuses what is no path of a file in a folder.
fn check_path(path: &Path) -> Result<(), OpenError> {
    let path_buf = path.to_owned();
    if path.as_os_str() == ":memory:" || path.as_os_str().is_empty() {
        return Err(OpenError::InMemory { path: path_buf });
    }
    if path.is_dir() {
        return Err(OpenError::IsFolder { path: path_buf });
    }
    if path.exists() && !path.is_file() {
        return Err(OpenError::NoFile { path: path_buf });
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
        return Err(OpenError::NoFolder { path: path_buf, parent: parent.to_owned() });
    }
    Ok(())
}

fn set_up(connection: &Connection, settings: &SqliteStoreBuilder) -> Result<(), OpenError> {
    let path = &settings.path;
    let from_sqlite = |error| OpenError::from_sqlite(path.clone(), error);
    if connection.is_readonly("main").map_err(from_sqlite)? {
        return Err(OpenError::ReadOnly { path: path.clone() });
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(from_sqlite)?;
    if mode != "wal" {
        return Err(OpenError::NotDurable { path: path.clone(), setting: "journal_mode", found: mode, needed: "wal" });
    }
    let (name, needed) = match settings.durability {
        Durability::PowerLoss => ("FULL", "2"),
        Durability::ProcessDeath => ("NORMAL", "1"),
    };
    connection.pragma_update(None, "synchronous", name).map_err(from_sqlite)?;
    let found: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).map_err(from_sqlite)?;
    if found.to_string() != needed {
        let found = found.to_string();
        return Err(OpenError::NotDurable { path: path.clone(), setting: "synchronous", found, needed });
    }
    // Without these, macOS answers before the disk has written.
    let to_the_disk = settings.durability == Durability::PowerLoss;
    connection.pragma_update(None, "fullfsync", to_the_disk).map_err(from_sqlite)?;
    connection.pragma_update(None, "checkpoint_fullfsync", to_the_disk).map_err(from_sqlite)?;
    // A WAL that once grew large gives its space back.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024).map_err(from_sqlite)?;
    connection.pragma_update(None, "cache_size", -16_000).map_err(from_sqlite)
}
