//! A state that calls a real server over HTTP, which takes 200 requests in each second and answers 429 to the others.
//!
//! `WORK_LONG=1` makes it a minute from a bad start, and prints the rate of each second.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use work_core::limit::{Adaptive, Adapts};
use work_core::store::MemoryStore;
use work_core::{BoxError, Classify, State, Status};
use work_workflow::{Engine, Item, Next, Step, Workflow};

const CEILING: u32 = 200;

/// What the server did.
#[derive(Default)]
struct Served {
    /// The present second, and the requests in it.
    window: Mutex<(u64, u32)>,
    accepted: AtomicU32,
    refused: AtomicU32,
}

async fn serve(listener: TcpListener, served: Arc<Served>) {
    let start = Instant::now();
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, served.clone(), start));
    }
}

async fn connection(mut stream: TcpStream, served: Arc<Served>, start: Instant) -> std::io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        if stream.read(&mut buffer).await? == 0 {
            return Ok(());
        }
        let second = start.elapsed().as_secs();
        let taken = {
            let mut window = served.window.lock().unwrap();
            *window = if window.0 == second { (second, window.1 + 1) } else { (second, 1) };
            window.1
        };
        let (count, answer) = if taken <= CEILING {
            (&served.accepted, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        } else {
            (&served.refused, "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n")
        };
        count.fetch_add(1, Ordering::Relaxed);
        stream.write_all(answer.as_bytes()).await?;
    }
}

work_workflow::states! {
    enum Call: u32 { Call = "call", Done = "done" }
}

/// Connections that are free.
#[derive(Clone)]
struct Client {
    server: SocketAddr,
    free: Arc<Mutex<Vec<TcpStream>>>,
}

impl Client {
    async fn get(&self) -> std::io::Result<u16> {
        let free = self.free.lock().unwrap().pop();
        let mut stream = match free {
            Some(stream) => stream,
            None => TcpStream::connect(self.server).await?,
        };
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        let mut buffer = [0; 256];
        let size = stream.read(&mut buffer).await?;
        let line = String::from_utf8_lossy(&buffer[..size]);
        let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        self.free.lock().unwrap().push(stream);
        code.ok_or_else(|| std::io::Error::other("no status"))
    }
}

async fn call(Item(n): Item<Call>, State(client): State<Client>) -> Result<Next<Call>, BoxError> {
    match client.get().await? {
        200 => Ok(Next::to(Call::Done, n)),
        code => Err(format!("the server answered {code}")).status(Status::new(code)?)?,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_that_takes_200_a_second_is_used_well_and_seldom_refuses() {
    let long = std::env::var_os("WORK_LONG").is_some();
    let (seconds, start, least) = if long { (60, 20.0, 0.85) } else { (12, 100.0, 0.7) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client { server: listener.local_addr().unwrap(), free: Arc::default() };
    let served = Arc::new(Served::default());
    tokio::spawn(serve(listener, served.clone()));

    let limit = Arc::new(Adaptive::new(start, 1.0, 10_000.0).unwrap());
    let workflow = Workflow::builder("call")
        .start(Call::Call)
        .state(Call::Call, Step::new(call).to([Call::Done]).concurrency(50).adaptive(limit.clone()))
        .terminal(Call::Done)
        .build(client)
        .unwrap();
    let engine = Engine::new(MemoryStore::new(), workflow);
    let run = engine.create("r", &()).await.unwrap();
    run.add_all(Call::Call, 0..seconds * 2 * CEILING).await.unwrap();
    let watch = async {
        for second in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if long {
                println!("{second} {:.0}", limit.rate());
            }
        }
    };
    engine.run_until(watch).await.unwrap();

    let count = |count: &AtomicU32| f64::from(count.load(Ordering::Relaxed));
    let (accepted, refused) = (count(&served.accepted), count(&served.refused));
    let (used, share) = (accepted / f64::from(seconds * CEILING), refused / (accepted + refused));
    println!("in {seconds} s from {start}: used {used:.3}, refused {share:.4}");
    assert!(used >= least && share <= 0.03, "used {used}, refused {share}");
}
