use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Connection, Error, NoTls, Socket};
use work_core::Backoff;

use crate::notify;
use crate::store::Shared;

/// Hears of jobs of other processes, and knows whether it really does: behind a transaction pooler `LISTEN` succeeds, and
/// nothing ever comes.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    /// Our own notifications come back to us.
    works: AtomicBool,
    echo: Notify,
}

/// How often one is sent to ourselves.
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// How long it may take to come back.
const PROBE_FOR: Duration = Duration::from_secs(5);

/// How long the server may take to let us in, and to accept that we listen.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// After a probe that did not come back: a pooler stays a pooler.
const DEAF_FOR: Duration = Duration::from_secs(60);

/// How often who waits is told to look, while notifications arrive and while they do not.
const LOOK: Duration = Duration::from_millis(750);
const LOOK_WHEN_DEAF: Duration = Duration::from_millis(150);

impl Listener {
    /// Listens for as long as the store lives.
    pub(crate) async fn run(shared: Arc<Shared>) {
        let backoff = Backoff::exponential(Duration::from_millis(100), 2.0).cap(Duration::from_secs(5)).jitter(0.5);
        let (mut failures, mut warned) = (0, false);
        loop {
            let ended = listen(&shared, &mut failures, &mut warned).await;
            shared.listener.works.store(false, Ordering::Relaxed);
            failures += 1;
            let delay = match &ended {
                Ended::Deaf => DEAF_FOR,
                Ended::Closed | Ended::Silent | Ended::Failed(_) => backoff.delay(failures),
            };
            if !std::mem::replace(&mut warned, true) {
                tracing::warn!(reason = %ended, "no notifications of new jobs: looking for them instead");
            }
            tokio::time::sleep(delay).await;
        }
    }

    /// Tells who waits to look, now and then, since a notification may be lost.
    pub(crate) async fn look(shared: Arc<Shared>) {
        loop {
            let works = shared.listener.works.load(Ordering::Relaxed);
            let period = if works { LOOK } else { LOOK_WHEN_DEAF };
            // With a third of chance, so that processes that started together do not look together.
            tokio::time::sleep(Backoff::constant(period).jitter(0.33).delay(1)).await;
            if shared.arrivals.has_waiters() {
                shared.arrivals.wake_all();
            }
        }
    }

    fn heard(shared: &Shared, payload: &str) {
        match payload.split_once(':') {
            // Whoever waits here was told when it was sent.
            Some((instance, _)) if instance == shared.instance => shared.listener.echo.notify_waiters(),
            Some((_, queue)) => drop(shared.arrivals.wake(queue)),
            None => shared.arrivals.wake_all(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("they do not arrive; is there a transaction pooler in between?")]
    Deaf,
    #[error("the connection was closed")]
    Closed,
    #[error("the server did not answer within {ANSWER_WITHIN:?}")]
    Silent,
    #[error("{}", crate::error::in_full(.0))]
    Failed(Error),
}

/// Listens until it fails.
async fn listen(shared: &Arc<Shared>, failures: &mut u32, warned: &mut bool) -> Ended {
    let (client, connection) = match timeout(ANSWER_WITHIN, shared.pool.manager().config.connect(NoTls)).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return Ended::Failed(error),
        Err(_) => return Ended::Silent,
    };
    let hear = async {
        let sql = format!("LISTEN \"{}\"", shared.sql.schema.channel());
        match timeout(ANSWER_WITHIN, client.batch_execute(&sql)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Ended::Failed(error),
            Err(_) => return Ended::Silent,
        }
        // What arrived while nobody listened was heard by nobody.
        shared.arrivals.wake_all();
        while probe(shared).await {
            *failures = 0;
            shared.listener.works.store(true, Ordering::Relaxed);
            if std::mem::take(warned) {
                tracing::info!("notifications of new jobs arrive again");
            }
            tokio::time::sleep(Backoff::constant(PROBE_EVERY).jitter(0.33).delay(1)).await;
        }
        Ended::Deaf
    };
    match select(pin!(read(connection, shared)), pin!(hear)).await {
        Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
    }
}

/// Sends a notification to ourselves, and answers whether it came. That it cannot be sent says nothing about those that
/// can.
async fn probe(shared: &Arc<Shared>) -> bool {
    let echo = shared.listener.echo.notified();
    match shared.perform("notify", &vec![String::new()], notify::send).await {
        Ok(()) => timeout(PROBE_FOR, echo).await.is_ok(),
        Err(_) => true,
    }
}

async fn read(mut connection: Connection<Socket, NoTlsStream>, shared: &Shared) -> Ended {
    loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(told))) => Listener::heard(shared, told.payload()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Ended::Failed(error),
            None => return Ended::Closed,
        }
    }
}
