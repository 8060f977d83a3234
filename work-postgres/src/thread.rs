use std::io;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread with a runtime of its own, on which all connections live: handlers that block every thread of theirs cannot
/// keep leases from being extended, and a paused clock does not reach the deadlines here. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct IoThread {
    handle: Handle,
    /// Dropped with this: that is the sign to end.
    _alive: oneshot::Sender<()>,
}

impl IoThread {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("work-postgres".into()).spawn(move || {
            runtime.block_on(async {
                let _ = ended.await;
            });
            // What is being written may end, what waits is dropped.
            runtime.shutdown_timeout(Duration::from_millis(100));
        })?;
        Ok(Self { handle, _alive: alive })
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }
}
