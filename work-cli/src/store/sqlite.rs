//! Stores in an SQLite file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use work_core::store::Inspect;
use work_sqlite::SqliteStore;

use super::{Cleanup, Tables, Temporary};
use crate::doctor::Check;
use crate::error::CliError;

pub(crate) const VERSION: i64 = SqliteStore::SCHEMA_VERSION;

pub(crate) async fn open(path: &Path) -> Result<Arc<dyn Inspect>, CliError> {
    let store = SqliteStore::open(path).await.map_err(|error| CliError::unusable(error.to_string()))?;
    Ok(Arc::new(store))
}

/// How the tables are. A file that is no database is for [`open`] to explain, which leaves it as it is.
pub(crate) async fn tables(path: &Path) -> Result<Tables, CliError> {
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(Tables::Missing),
        Err(error) => return Err(CliError::unusable(format!("{}: {error}", path.display()))),
    }
    let found = blocking(path, |path| version(&look_into(path)?)).await?;
    match found {
        Ok(found) => Ok(found),
        Err(_) => open(path).await.map(|_| Tables::Version(VERSION)),
    }
}

fn version(connection: &Connection) -> rusqlite::Result<Tables> {
    let table = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'work_schema'";
    if connection.query_row(table, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(Tables::Foreign);
    }
    let version: Option<i64> = connection.query_row("SELECT max(version) FROM work_schema", [], |row| row.get(0))?;
    Ok(version.map_or(Tables::Foreign, Tables::Version))
}

fn look_into(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

async fn blocking<A: Send + 'static>(
    path: &Path,
    look: impl FnOnce(&Path) -> A + Send + 'static,
) -> Result<A, CliError> {
    let path = path.to_owned();
    let looked = tokio::task::spawn_blocking(move || look(&path)).await;
    looked.map_err(|error| CliError::failed(error.to_string()))
}

pub(crate) async fn examine(path: &Path) -> Result<Vec<Check>, CliError> {
    let found = blocking(path, |path| look_into(path).and_then(|connection| settings(&connection))).await?;
    let mut checks = found.unwrap_or_else(|error| {
        vec![Check::fail("settings", format!("cannot be read: {error}"), "see that this user may read the file")]
    });
    checks.extend(file_mode(path));
    checks.push(wal(path));
    Ok(checks)
}

fn settings(connection: &Connection) -> rusqlite::Result<Vec<Check>> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let durable = if mode == "wal" {
        let how = "journal_mode is wal; each program sets synchronous=FULL unless it asks for less";
        Check::ok("durability", how)
    } else {
        let mend = "stop what changed it and run `work migrate`, which sets it again";
        Check::fail("durability", format!("journal_mode is {mode}, and must be wal"), mend)
    };
    let mut lines = Vec::new();
    connection.pragma_query(None, "integrity_check", |row| {
        lines.push(row.get::<_, String>(0)?);
        Ok(())
    })?;
    let whole = if lines == ["ok"] {
        Check::ok("integrity", "the database is whole")
    } else {
        let first = lines.first().map_or("no answer", String::as_str);
        let mend = "stop the workers, and restore the file from a copy";
        Check::fail("integrity", format!("the database is damaged: {first}"), mend)
    };
    let library = Check::ok("library", format!("SQLite {}", rusqlite::version()));
    Ok(vec![durable, whole, library])
}

#[cfg(unix)]
fn file_mode(path: &Path) -> Option<Check> {
    use std::os::unix::fs::MetadataExt;
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    Some(if mode & 0o007 == 0 {
        Check::ok("access", format!("the file has mode {mode:03o}"))
    } else {
        let mend = format!("chmod o-rwx {}", path.display());
        Check::warn("access", format!("every user of this machine can reach the file: mode {mode:03o}"), mend)
    })
}

#[cfg(not(unix))]
fn file_mode(_: &Path) -> Option<Check> {
    None
}

/// A log that cannot be taken over into the file grows, and slows down who reads.
fn wal(path: &Path) -> Check {
    const LARGE: u64 = 256 * 1024 * 1024;
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let size = std::fs::metadata(PathBuf::from(name)).map_or(0, |meta| meta.len());
    let text = format!("the write-ahead log has {} MiB", size / 1024 / 1024);
    if size < LARGE {
        return Check::ok("wal", text);
    }
    Check::warn("wal", text, "end what reads the file for long: it keeps the log from being taken over")
}

/// In the folder of the store, since that is the disk to measure.
pub(crate) async fn temporary(path: &Path, folder: Option<&Path>) -> Result<Temporary, CliError> {
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = folder.or(beside).unwrap_or_else(|| Path::new("."));
    let folder = tempfile::Builder::new().prefix("work-bench-").tempdir_in(parent).map_err(|error| {
        CliError::unusable(format!("{}: no folder can be made there: {error}; give another --folder", parent.display()))
    })?;
    let file = folder.path().join("jobs.db");
    let store = open(&file).await?;
    Ok(Temporary { store, place: format!("sqlite:{}", file.display()), cleanup: Cleanup::Folder(folder) })
}
