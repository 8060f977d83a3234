//! A network that can be made bad: everything that goes through this may be cut, held up, or lost.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of bytes. A connection that was there while some were lost is of no more use, also when it is fine again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fine,
    /// Each piece comes later.
    Slow(Duration),
    /// Nothing comes until it is over, and then all of it.
    Frozen,
    /// What the server says is lost.
    RepliesLost,
    /// What the client says is lost.
    RequestsLost,
}

#[derive(Debug, Clone, Copy)]
struct Sky {
    weather: Weather,
    /// Connections of an earlier number are cut.
    cuts: u32,
    /// What connections of an earlier number say is lost, that of the server and that of the client.
    losses: [u32; 2],
}

/// Ends with the runtime.
pub(crate) struct Proxy {
    address: SocketAddr,
    sky: watch::Sender<Sky>,
}

impl Proxy {
    pub(crate) async fn start(server: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sky, seen) = watch::channel(Sky { weather: Weather::Fine, cuts: 0, losses: [0; 2] });
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), seen.clone()));
            }
        });
        Self { address, sky }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.sky.send_modify(|sky| {
            sky.weather = weather;
            sky.losses[0] += u32::from(weather == Weather::RepliesLost);
            sky.losses[1] += u32::from(weather == Weather::RequestsLost);
        });
    }

    /// Ends all connections that there are.
    pub(crate) fn cut(&self) {
        self.sky.send_modify(|sky| sky.cuts += 1);
    }
}

async fn pass(client: TcpStream, server: String, sky: watch::Receiver<Sky>) {
    let cuts = sky.borrow().cuts;
    let Ok(server) = TcpStream::connect(&server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut cut = sky.clone();
    tokio::select! {
        () = pump(&mut from_client, &mut to_server, Weather::RequestsLost, sky.clone()) => {}
        () = pump(&mut from_server, &mut to_client, Weather::RepliesLost, sky.clone()) => {}
        _ = cut.wait_for(|sky| sky.cuts != cuts) => {}
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    lost_in: Weather,
    mut sky: watch::Receiver<Sky>,
) {
    let place = usize::from(lost_in == Weather::RequestsLost);
    let (mut bytes, before) = (vec![0; 64 * 1024], sky.borrow().losses[place]);
    let mut lost = false;
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
        let Ok(now) = sky.wait_for(|sky| sky.weather != Weather::Frozen).await.map(|sky| *sky) else { return };
        if let Weather::Slow(delay) = now.weather {
            tokio::time::sleep(delay).await;
        }
        lost |= now.weather == lost_in || now.losses[place] != before;
        if !lost && to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
