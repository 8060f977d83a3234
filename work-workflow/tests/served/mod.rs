//! A server over HTTP on this machine, which takes 200 requests in each second and answers 429 to the others, and its client. The
//! benchmark of limits uses both too.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use work_core::limit::Adaptive;
use work_core::store::MemoryStore;
use work_core::{BoxError, Classify, State, Status};
use work_workflow::{Engine, Item, Next, Step, Workflow};

/// Requests a second that the server takes.
pub(crate) const CEILING: u32 = 200;

/// What the server did in each second: how many requests it took, and how many it refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct Served(Arc<Mutex<Vec<(u32, u32)>>>);

impl Served {
    /// The status of a request that comes in this second.
    fn answer(&self, second: usize) -> u16 {
        let mut seconds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seconds.len() <= second {
            seconds.resize(second + 1, (0, 0));
        }
        let (accepted, refused) = &mut seconds[second];
        let takes = *accepted < CEILING;
        *(if takes { accepted } else { refused }) += 1;
        if takes { 200 } else { 429 }
    }

    /// Second by second.
    pub(crate) fn seconds(&self) -> Vec<(u32, u32)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(listener: TcpListener, served: Served) {
    let start = Instant::now();
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, served.clone(), start));
    }
}

async fn connection(mut stream: TcpStream, served: Served, start: Instant) -> io::Result<()> {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await? > 0 {
        let second = usize::try_from(start.elapsed().as_secs()).unwrap_or(usize::MAX);
        let line = match served.answer(second) {
            200 => "200 OK",
            _ => "429 Too Many Requests",
        };
        stream.write_all(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
    }
    Ok(())
}

work_workflow::states! {
    /// What happens to a request.
    pub(crate) enum Call: u32 { Call = "call", Done = "done" }
}

/// Connections that are free.
#[derive(Debug, Clone)]
struct Client {
    server: SocketAddr,
    free: Arc<Mutex<Vec<TcpStream>>>,
}

impl Client {
    async fn get(&self) -> io::Result<u16> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut stream = match free {
            Some(stream) => stream,
            None => TcpStream::connect(self.server).await?,
        };
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        let mut buffer = [0; 256];
        let size = stream.read(&mut buffer).await?;
        let line = String::from_utf8_lossy(&buffer[..size]);
        let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        code.ok_or_else(|| io::Error::other("no status"))
    }
}

async fn call(Item(n): Item<Call>, State(client): State<Client>) -> Result<Next<Call>, BoxError> {
    match client.get().await? {
        200 => Ok(Next::to(Call::Done, n)),
        code => Err(format!("the server answered {code}")).status(Status::new(code)?)?,
    }
}

/// Calls the server for so many seconds, from this rate on, with more to do than it takes.
pub(crate) async fn called(start: f64, seconds: u32) -> Result<Vec<(u32, u32)>, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = Client { server: listener.local_addr()?, free: Arc::default() };
    let served = Served::default();
    let server = tokio::spawn(serve(listener, served.clone()));
    let limit = Adaptive::new(start, 1.0, 10_000.0)?;
    let workflow = Workflow::builder("call")
        .start(Call::Call)
        .state(Call::Call, Step::new(call).to([Call::Done]).concurrency(50).adaptive(limit))
        .terminal(Call::Done)
        .build(client)?;
    let engine = Engine::new(MemoryStore::new(), workflow);
    let run = engine.create("r", &()).await?;
    run.add_all(Call::Call, 0..seconds * 2 * CEILING).await?;
    engine.run_until(tokio::time::sleep(Duration::from_secs(seconds.into()))).await?;
    server.abort();
    Ok(served.seconds())
}
