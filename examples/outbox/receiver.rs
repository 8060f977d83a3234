use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use rusqlite::Connection;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// The argument that makes this program the receiver.
pub(crate) const COMMAND: &str = "receiver";

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS requests(n INTEGER PRIMARY KEY, event INTEGER NOT NULL, status INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS arrived(
        n INTEGER PRIMARY KEY, event INTEGER NOT NULL UNIQUE, account TEXT NOT NULL, payload TEXT NOT NULL);";

/// The receiver, in a process of its own.
pub(crate) struct Receiver {
    process: Child,
    address: SocketAddr,
}

impl Receiver {
    /// On this port, or on any if it is 0. Returns once it listens.
    pub(crate) async fn start(database: &Path, port: u16) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(COMMAND).arg(database).arg(port.to_string()).kill_on_drop(true);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("a pipe")?).read_line(&mut line).await?;
        Ok(Self { process, address: line.trim().parse().context("the receiver says where it listens")? })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives it no chance to finish anything.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.process.kill().await?)
    }
}

/// The program of the receiver. Ends with the program that started it, which holds its standard input.
pub(crate) async fn main(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let (database, port) = (arguments.next().context("a database")?, arguments.next().context("a port")?);
    let connection = Connection::open(database)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch(TABLES)?;
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    println!("{}", listener.local_addr()?);
    let app = axum::Router::new().route("/events", post(receive)).with_state(Arc::new(Mutex::new(connection)));
    let mut input = tokio::io::stdin();
    tokio::select! {
        served = axum::serve(listener, app) => Ok(served?),
        _ = input.read_u8() => Ok(()),
    }
}

async fn receive(State(connection): State<Arc<Mutex<Connection>>>, headers: HeaderMap, body: String) -> StatusCode {
    let note = move || note(&connection.lock().unwrap_or_else(PoisonError::into_inner), &headers, &body);
    match tokio::task::spawn_blocking(note).await {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            eprintln!("the receiver fails: {error:#}");
            StatusCode::SERVICE_UNAVAILABLE
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Keeps an event, unless it has it. One request in five fails, half of those after the event is kept: who sent it cannot
/// know, and sends it again.
fn note(connection: &Connection, headers: &HeaderMap, body: &str) -> anyhow::Result<StatusCode> {
    let header = |name: &str| headers.get(name).context("a header is missing").and_then(|value| Ok(value.to_str()?));
    let event: i64 = header("event-id")?.parse()?;
    let transaction = connection.unchecked_transaction()?;
    let requests: i64 = transaction.query_row("SELECT count(*) FROM requests", [], |row| row.get(0))?;
    let (fails, keeps) = (requests % 5 == 3, requests % 10 != 3);
    if keeps {
        let insert = "INSERT OR IGNORE INTO arrived(event, account, payload) VALUES (?1, ?2, ?3)";
        transaction.execute(insert, (event, header("event-account")?, body))?;
    }
    let status = if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::NO_CONTENT };
    let insert = "INSERT INTO requests(event, status) VALUES (?1, ?2)";
    transaction.execute(insert, (event, status.as_u16()))?;
    transaction.commit()?;
    Ok(status)
}
