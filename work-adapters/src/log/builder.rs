use std::fmt;

use tracing_subscriber::fmt::MakeWriter;
use work_core::{Clock, Status};

use super::sink::Sink;
use super::{AggregateLog, Predicate, Summary};

/// What an [`AggregateLog`] writes, and where.
pub struct AggregateLogBuilder {
    pub(super) max_bytes: usize,
    pub(super) silent: Vec<Status>,
    pub(super) silent_if: Vec<Predicate>,
    pub(super) sink: Sink,
    pub(super) clock: Clock,
}

/// The most bytes that a line has, unless it is said otherwise.
pub const DEFAULT_MAX_BYTES: usize = 100_000;

/// The least that [`AggregateLogBuilder::max_bytes`] takes: a summary always fits.
pub const MIN_MAX_BYTES: usize = 4_096;

impl AggregateLogBuilder {
    pub(super) fn new() -> Self {
        Self {
            max_bytes: DEFAULT_MAX_BYTES,
            silent: Vec::new(),
            silent_if: Vec::new(),
            sink: Sink::new(std::io::stdout),
            clock: Clock::system(),
        }
    }

    /// Where lines go, by default to stdout. A function that returns a writer, a `Mutex` of one, and an `Arc` of a file
    /// are sinks too. Lines are written one after the other.
    #[must_use]
    pub fn writer(mut self, sink: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> Self {
        self.sink = Sink::new(sink);
        self
    }

    /// The most bytes that a line has, with the line break, and that the entries of an execution take in memory. By
    /// default [`DEFAULT_MAX_BYTES`], and at least [`MIN_MAX_BYTES`].
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes.max(MIN_MAX_BYTES);
        self
    }

    /// Writes nothing for executions that end with this status. May be said several times.
    #[must_use]
    pub fn silent(mut self, status: Status) -> Self {
        self.silent.push(status);
        self
    }

    /// Writes nothing for executions of which this is true. May be said several times. One that panics counts as false.
    #[must_use]
    pub fn silent_if(mut self, silent: impl Fn(&Summary) -> bool + Send + Sync + 'static) -> Self {
        self.silent_if.push(Box::new(silent));
        self
    }

    /// The clock of all times, by default that of the machine.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The log.
    #[must_use]
    pub fn build(self) -> AggregateLog {
        AggregateLog::from_builder(self)
    }
}

impl fmt::Debug for AggregateLogBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateLogBuilder")
            .field("max_bytes", &self.max_bytes)
            .field("silent", &self.silent)
            .finish_non_exhaustive()
    }
}
