use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::figure::BoxError;

/// What is written to the log of a database. A reader keeps the log from being started over, so that it holds all of it.
pub(super) struct Wal {
    file: PathBuf,
    start: Log,
    _reader: Connection,
}

/// What one log holds.
struct Log {
    /// Tells it from the log before.
    salts: Vec<u8>,
    frames: u64,
    commits: u64,
    frame: u64,
}

/// What was written.
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) commits: u64,
}

const HEADER: usize = 32;

const FRAME_HEADER: usize = 24;

impl Wal {
    /// From now on. There has to be something in the log already, or the reader needs none of it.
    pub(super) fn watch(database: &Path) -> Result<Self, BoxError> {
        let reader = Connection::open(database)?;
        reader.execute_batch("BEGIN")?;
        reader.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let file = database.with_extension("db-wal");
        Ok(Self { start: Log::read(&file)?, file, _reader: reader })
    }

    /// Until now.
    pub(super) fn written(self) -> Result<Written, BoxError> {
        let (start, end) = (self.start, Log::read(&self.file)?);
        if start.salts != end.salts || end.frames <= start.frames {
            return Err("the log was started over".into());
        }
        Ok(Written { bytes: (end.frames - start.frames) * end.frame, commits: end.commits - start.commits })
    }
}

impl Log {
    fn read(file: &Path) -> Result<Self, BoxError> {
        let log = fs::read(file)?;
        let (header, frames) = log.split_at_checked(HEADER).ok_or("the log has no header")?;
        let frame = FRAME_HEADER + usize::try_from(number(header, 8)?)?;
        let salts = header.get(16..24).ok_or("the log has no salts")?;
        // What follows is of the log before.
        let ours = frames.chunks_exact(frame).take_while(|frame| frame.get(8..16) == Some(salts));
        let mut read = Self { salts: salts.to_vec(), frames: 0, commits: 0, frame: frame as u64 };
        for frame in ours {
            read.frames += 1;
            // The size of the database, in the last frame of a transaction only.
            read.commits += u64::from(number(frame, 4)? > 0);
        }
        Ok(read)
    }
}

fn number(bytes: &[u8], at: usize) -> Result<u32, BoxError> {
    let number = bytes.get(at..at + 4).ok_or("the log ends in a number")?;
    Ok(u32::from_be_bytes(number.try_into()?))
}
