//! One line of JSON for each execution: how it went, and everything that was logged inside.
//!
//! ```json
//! {"summary":{"trace_id":"0af7651916cd43dd8448eb211c80319c","job_id":"0199…","kind":"greet","queue":"default","attempt":1,
//! "status":200,"status_name":"success","latency_ms":1.5,"time":"2026-03-29T01:00:00.000Z","worker":0,"comment":"vip"},
//! "entries":[{"time":"2026-03-29T01:00:00.000Z","level":"INFO","target":"app","message":"hello","fields":{"name":"ann"}}]}
//! ```
//!
//! (It is one line; here it is folded.) `trace_id` is that of the job's header `traceparent`, `comment` is the text that
//! was put under that key into the [`Context`](work_core::Context::set), `error` is the text of what went wrong; each is
//! left out where there is none. Where the line would be too long, `truncated` says how many entries were `left_out`, and
//! of how many the message was `cut`; those have `"truncated":true`.
//!
//! Two layers belong together: [`AggregateLog::subscriber_layer`] goes into the subscriber of the process and collects
//! events, [`LogLayer`] goes around handlers, says whose they are, and writes the line. Without the first, lines have no
//! entries.

mod buffer;
mod builder;
mod entry;
mod layer;
mod line;
mod sink;
mod subscriber;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use work_core::{Clock, Status};

pub use builder::{AggregateLogBuilder, DEFAULT_MAX_BYTES, MIN_MAX_BYTES};
pub use layer::{Log, LogLayer, ResponseFuture};
pub use line::Summary;
use sink::Sink;
pub use subscriber::SubscriberLayer;

/// Where the lines go, and which are written. See the [module](self).
///
/// By default every execution is written to stdout, with at most 100,000 bytes a line. A line is one `write`. If that
/// fails, or panics, the line is dropped and [counted](Self::dropped_lines), and the job does not notice; it does wait
/// for it, so a slow sink should be one that writes elsewhere, such as `tracing_appender::non_blocking`.
///
/// An event belongs to the innermost execution in whose span it happens: across awaits, and in spawned tasks that are
/// `in_current_span()`. What comes after the end is in no line. The span is called `log`, is of level ERROR and of the
/// target `work_adapters::log`: a filter must let that through, `app=debug,work_adapters::log=error` for example.
///
/// Cheap to clone; every clone is the same.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use tracing_subscriber::layer::SubscriberExt;
/// use work_adapters::{AggregateLog, LogLayer};
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// let log = AggregateLog::builder().writer(Arc::new(file.try_clone()?)).silent(Status::NO_RESPONSE).build();
/// let subscriber = tracing_subscriber::registry().with(log.subscriber_layer());
/// # let _guard =
/// tracing::subscriber::set_default(subscriber);
///
/// let greet = async || tracing::info!(name = "ann", "hello");
/// let worker = LocalWorker::new(Router::new().route("greet", greet).layer(LogLayer::new(log)));
/// worker.perform(Job::new("greet", ())).await?.outcome().await?;
///
/// # std::io::Seek::rewind(&mut &file)?;
/// let line: serde_json::Value = serde_json::from_reader(&file)?;
/// assert_eq!(line["summary"]["status"], 200);
/// assert_eq!(line["entries"][0]["message"], "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AggregateLog {
    shared: Arc<Shared>,
}

struct Shared {
    /// Which log this is: entries and spans of another are not its own.
    id: u64,
    max_bytes: usize,
    silent: Vec<Status>,
    silent_if: Vec<Predicate>,
    sink: Sink,
    clock: Clock,
}

type Predicate = Box<dyn Fn(&Summary) -> bool + Send + Sync>;

/// The target of the span, see [`AggregateLog`].
const TARGET: &str = "work_adapters::log";
/// The name of the span.
const SPAN: &str = "log";

impl AggregateLog {
    /// Every execution to stdout.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Another sink, or fewer lines.
    #[must_use]
    pub fn builder() -> AggregateLogBuilder {
        AggregateLogBuilder::new()
    }

    /// What collects the events, for the subscriber of the process. It may have a filter of its own.
    #[must_use]
    pub fn subscriber_layer(&self) -> SubscriberLayer {
        SubscriberLayer::new(self.shared.id, self.shared.clock.clone())
    }

    /// Lines that were written.
    #[must_use]
    pub fn written_lines(&self) -> u64 {
        self.shared.sink.written()
    }

    /// Lines that the sink did not take.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.shared.sink.dropped()
    }

    fn from_builder(builder: AggregateLogBuilder) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let AggregateLogBuilder { max_bytes, silent, silent_if, sink, clock } = builder;
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::new(Shared { id, max_bytes, silent, silent_if, sink, clock }) }
    }
}

impl Default for AggregateLog {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for AggregateLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateLog")
            .field("max_bytes", &self.shared.max_bytes)
            .field("silent", &self.shared.silent)
            .field("written_lines", &self.written_lines())
            .field("dropped_lines", &self.dropped_lines())
            .finish_non_exhaustive()
    }
}
