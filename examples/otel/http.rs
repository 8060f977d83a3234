use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use work_adapters::health::{self, Checks};
use work_adapters::{Health, Prometheus, prometheus};

/// Serves `/metrics`, `/livez`, and `/ready`: 200 while the jobs go well, until `stop` fires.
pub(crate) async fn serve(
    listen: SocketAddr,
    metrics: Prometheus,
    health: Health,
    stop: CancellationToken,
) -> anyhow::Result<(SocketAddr, JoinHandle<std::io::Result<()>>)> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("{listen} is not to be had"))?;
    let address = listener.local_addr()?;
    let checks = Checks::new().add("jobs", health).until("stop", stop.clone());
    let app = health::routes(checks).merge(prometheus::routes(metrics));
    let server = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
    Ok((address, tokio::spawn(server.into_future())))
}
