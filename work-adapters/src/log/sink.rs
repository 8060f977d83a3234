use std::borrow::Cow;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

type WriteLine = Box<dyn Fn(&[u8]) -> (usize, io::Result<()>) + Send + Sync>;

/// Writes lines one after the other, and counts those that it could not write.
pub(super) struct Sink {
    /// How many bytes of a line were written, and whether that was all.
    write: WriteLine,
    /// True if the last line was written in part. The lock keeps lines apart.
    torn: Mutex<bool>,
    written: AtomicU64,
    dropped: AtomicU64,
}

impl Sink {
    pub(super) fn new(sink: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> Self {
        Self {
            write: Box::new(move |line| write(&mut sink.make_writer(), line)),
            torn: Mutex::new(false),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Writes a line that ends with its line break.
    pub(super) fn line(&self, line: &str) {
        let mut torn = self.torn.lock().unwrap_or_else(PoisonError::into_inner);
        // What is left of a torn line must not spoil this one.
        let line = if *torn { Cow::Owned(format!("\n{line}")) } else { Cow::Borrowed(line) };
        match self.guarded(line.as_bytes()) {
            (_, Ok(())) => {
                *torn = false;
                self.written.fetch_add(1, Ordering::Relaxed);
            }
            (bytes, Err(_)) => {
                *torn |= bytes > 0;
                self.count_dropped();
            }
        }
    }

    /// A line was not even made.
    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A sink that panics is one that fails.
    fn guarded(&self, line: &[u8]) -> (usize, io::Result<()>) {
        let result = catch_unwind(AssertUnwindSafe(|| (self.write)(line)));
        result.unwrap_or_else(|_| (0, Err(io::Error::other("the sink panicked"))))
    }
}

fn write(sink: &mut impl Write, line: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < line.len() {
        match sink.write(&line[done..]) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, sink.flush())
}
