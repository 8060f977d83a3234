//! A network that delivers a request, and takes its answer away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of the connection whose answer was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It ends.
    Cut = 1,
    /// It stays, and nothing comes any more.
    Silence = 2,
}

/// How the server says that it has committed, and waits for the next request.
const READY: &[u8] = b"Z\0\0\0\x05I";

struct State {
    /// Requests with this in them are meant.
    mark: &'static [u8],
    /// What is to become of the next one; 0 is nothing.
    armed: AtomicU8,
    swallowed: AtomicUsize,
    open: AtomicUsize,
}

/// Ends with the runtime.
pub(crate) struct Swallow {
    address: SocketAddr,
    state: Arc<State>,
}

impl Swallow {
    pub(crate) async fn start(server: String, mark: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let [swallowed, open] = [AtomicUsize::default(), AtomicUsize::default()];
        let state = Arc::new(State { mark: mark.as_bytes(), armed: AtomicU8::default(), swallowed, open });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, shared) = (server.clone(), shared.clone());
                shared.open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    pass(client, server, shared.clone()).await;
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the answer to the next request with the mark.
    pub(crate) fn next(&self, then: Then) {
        self.state.armed.store(then as u8, Ordering::SeqCst);
    }

    /// No request has come since.
    pub(crate) fn is_armed(&self) -> bool {
        self.state.armed.load(Ordering::SeqCst) != 0
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// How many answers were taken. The server has done what was asked, each time.
    pub(crate) fn swallowed(&self) -> usize {
        self.state.swallowed.load(Ordering::SeqCst)
    }
}

/// Until either side ends.
async fn pass(mut client: TcpStream, server: String, state: Arc<State>) {
    let Ok(mut server) = TcpStream::connect(&server).await else { return };
    let (mut asked, mut said) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            count = client.read(&mut asked) => {
                let Ok(count @ 1..) = count else { return };
                let marked = asked[..count].windows(state.mark.len()).any(|part| part == state.mark);
                let then = if marked { state.armed.swap(0, Ordering::SeqCst) } else { 0 };
                if server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
                if then != 0 {
                    return swallow(client, server, then, &state).await;
                }
            }
            count = server.read(&mut said) => {
                let Ok(count @ 1..) = count else { return };
                if client.write_all(&said[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Reads the answer to its end, and keeps it.
async fn swallow(mut client: TcpStream, mut server: TcpStream, then: u8, state: &State) {
    let (mut answer, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    while !answer.ends_with(READY) {
        let Ok(count @ 1..) = server.read(&mut piece).await else { return };
        answer.extend_from_slice(&piece[..count]);
    }
    state.swallowed.fetch_add(1, Ordering::SeqCst);
    if then == Then::Silence as u8 {
        // Until the client gives up.
        while client.read(&mut piece).await.is_ok_and(|count| count > 0) {}
    }
}
