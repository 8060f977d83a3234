use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::figure::BoxError;

/// A folder for one database, on the disk that builds are on: a file system in memory has nothing to flush.
pub(crate) struct Place(TempDir);

/// How long a database may take to close.
const PATIENCE: Duration = Duration::from_secs(30);

impl Place {
    pub(crate) fn new() -> Result<Self, BoxError> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        fs::create_dir_all(&target)?;
        Ok(Self(tempfile::tempdir_in(target)?))
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("jobs.db")
    }

    /// Waits until the database is closed, which may happen on a thread of its own and writes a lot: the next run must
    /// not pay for it. SQLite removes the log when the last connection is gone.
    pub(crate) fn closed(self) -> Result<(), BoxError> {
        let (log, start) = (self.0.path().join("jobs.db-wal"), Instant::now());
        while log.try_exists()? {
            if start.elapsed() > PATIENCE {
                return Err(format!("{} is still open", self.file().display()).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(self.0.close()?)
    }
}
