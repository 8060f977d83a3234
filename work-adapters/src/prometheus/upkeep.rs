use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;

/// How often a recorder is tended.
const EVERY: Duration = Duration::from_secs(5);

/// Tends a recorder until this is dropped. A thread, since a recorder may live outside of any runtime.
pub(super) struct Upkeep {
    /// Never sent on: its end is the sign.
    _alive: SyncSender<()>,
}

impl Upkeep {
    pub(super) fn start(handle: PrometheusHandle) -> Self {
        let (alive, ended) = sync_channel(0);
        let tend = move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                handle.run_upkeep();
            }
        };
        if let Err(error) = std::thread::Builder::new().name("work-metrics".into()).spawn(tend) {
            tracing::warn!(%error, "no thread for the metrics: what is measured takes memory until it is fetched");
        }
        Self { _alive: alive }
    }
}
