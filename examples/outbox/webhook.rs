use std::net::SocketAddr;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use work_core::{Args, State, Status};
use work_sqlite::outbox::OutboxRow;

/// Where events go.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    address: SocketAddr,
}

impl Webhook {
    pub(crate) const fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Posts on a connection of its own, and answers what the receiver did.
    async fn send(&self, row: &OutboxRow) -> anyhow::Result<u16> {
        let stream = TcpStream::connect(self.address).await.context("the receiver is away")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = hyper::Request::post("/events").header(HOST, self.address.to_string());
        let request = request
            .header(CONTENT_TYPE, "application/json")
            // By this the receiver knows duplicates.
            .header("event-id", row.id().to_string())
            .header("event-account", row.key().unwrap_or_default())
            .header("event-topic", row.topic().unwrap_or_default())
            .body(Full::new(Bytes::copy_from_slice(row.payload_json().as_bytes())))?;
        let response = sender.send_request(request).await.context("the receiver hung up")?;
        drop(sender);
        connection.abort();
        Ok(response.status().as_u16())
    }
}

/// The job: the status of the receiver is that of the job, and a receiver that is away is 500.
pub(crate) async fn post(State(webhook): State<Webhook>, Args(row): Args<OutboxRow>) -> anyhow::Result<Status> {
    Ok(Status::new(webhook.send(&row).await?)?)
}
