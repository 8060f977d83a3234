use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower_service::Service as _;

use crate::Dashboard;

/// Why a dashboard does not listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Everybody in the network could act on the jobs.
    #[error("{address} can be reached from other machines; set a token, or listen on 127.0.0.1")]
    Open {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// Another program listens there.
    #[error("{address} is in use by another program; choose another port, or 0 for any that is free")]
    InUse {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The system refused.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system refused connections for a minute.
    #[error("cannot go on listening: {0}")]
    Accept(io::Error),
}

/// A dashboard that has its port, and answers once it [runs](Self::run).
#[derive(Debug)]
#[must_use = "it answers only while it runs"]
pub struct Bound {
    listener: TcpListener,
    dashboard: Dashboard,
    address: SocketAddr,
}

impl Dashboard {
    /// Listens on an address and answers, until the future is dropped.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub async fn serve(&self, address: SocketAddr) -> Result<(), ServeError> {
        self.bind(address).await?.run().await
    }

    /// Takes an address, so that one knows the port before it answers.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use work_core::store::MemoryStore;
    /// # use work_dashboard::{Dashboard, ServeError};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let dashboard = Dashboard::builder(Arc::new(MemoryStore::new())).build()?;
    /// assert!(dashboard.bind("127.0.0.1:0".parse()?).await?.address().port() > 0);
    /// let refused = dashboard.bind("0.0.0.0:0".parse()?).await;
    /// assert!(matches!(refused, Err(ServeError::Open { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ServeError`] if there is no token and other machines could reach it, or if the system refuses the address.
    pub async fn bind(&self, address: SocketAddr) -> Result<Bound, ServeError> {
        if !address.ip().is_loopback() && !self.is_locked() {
            return Err(ServeError::Open { address });
        }
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ServeError::InUse { address },
            _ => ServeError::Listen { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Bound { listener, dashboard: self.clone(), address })
    }
}

impl Bound {
    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers, until the future is dropped: HTTP/1, at most 1000 connections at once, and a connection that says nothing
    /// for 10 s is closed.
    ///
    /// # Errors
    ///
    /// [`ServeError::Accept`] if the system refuses connections for a minute.
    pub async fn run(self) -> Result<(), ServeError> {
        self.run_until(std::future::pending()).await
    }

    /// Answers until `shutdown` resolves. Then nobody new is let in, and what was asked for may be answered for 3 s.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks all connections off at once.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let router = self.dashboard.router();
        let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (close, closing) = watch::channel(());
        // They end with this.
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let (stream, permit) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = self.accept(&free) => accepted?,
            };
            while connections.try_join_next().is_some() {}
            connections.spawn(answer(stream, router.clone(), closing.clone(), permit));
        }
        drop((self.listener, close));
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE, all).await;
        Ok(())
    }

    /// The next connection. Whoever comes while all are taken waits in the queue of the system.
    async fn accept(&self, free: &Arc<Semaphore>) -> Result<(TcpStream, Option<OwnedSemaphorePermit>), ServeError> {
        let permit = Arc::clone(free).acquire_owned().await.ok();
        let mut failures = 0;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Ok((stream, permit)),
                // Such as too many open files, which passes.
                Err(_) if failures < MAX_FAILURES => {
                    failures += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(ServeError::Accept(error)),
            }
        }
    }
}

/// Connections that are open at once.
const MAX_CONNECTIONS: usize = 1000;

/// How long a connection may take to say what it wants, at first and after each answer.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Times that the system may refuse a connection, one after the other, and how long is waited after each.
const MAX_FAILURES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);

/// How long answers that were asked for may take when nobody new is let in any more.
const GRACE: Duration = Duration::from_secs(3);

async fn answer(
    stream: TcpStream,
    router: Router,
    mut closing: watch::Receiver<()>,
    _permit: Option<OwnedSemaphorePermit>,
) {
    let service = service_fn(move |request: Request<Incoming>| router.clone().call(request.map(Body::new)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        // The sender is gone.
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // What goes wrong with one connection is the matter of whoever opened it.
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection broke off");
    }
}
