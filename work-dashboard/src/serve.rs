use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

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
    /// The system took the listener away.
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

    /// Answers, until the future is dropped.
    ///
    /// # Errors
    ///
    /// [`ServeError`] if the system takes the listener away.
    pub async fn run(self) -> Result<(), ServeError> {
        axum::serve(self.listener, self.dashboard.router()).await.map_err(ServeError::Accept)
    }
}
