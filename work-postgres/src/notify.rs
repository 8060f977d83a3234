use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::Notify;
use tokio_postgres::Error;
use tokio_postgres::types::Type;
use work_core::store::BoxFuture;

use crate::call::{Param, Session};
use crate::store::Shared;

/// Tells other processes of new jobs, after the commit, and at most once per queue in a few milliseconds: each
/// notification takes a lock that the whole database shares.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    pending: Mutex<BTreeSet<String>>,
    /// Told of queues that others should hear of now.
    some: Notify,
    /// Told of queues for which somebody waits here.
    later: Notify,
}

/// So often at most.
const EVERY: Duration = Duration::from_millis(5);

/// Queues that are told of at a time; of more than that, others hear by looking.
const MANY: usize = 1_000;

impl Notifier {
    /// Somebody who waits `here` is on the way already: others are told a moment later, so as not to be in the way.
    pub(crate) fn tell(&self, queue: &str, here: bool) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() < MANY && !pending.contains(queue) {
            pending.insert(queue.to_owned());
            if here { self.later.notify_one() } else { self.some.notify_one() }
        }
    }

    pub(crate) async fn run(shared: Arc<Shared>) {
        let notifier = &shared.notifier;
        loop {
            if let Either::Right(_) = select(pin!(notifier.some.notified()), pin!(notifier.later.notified())).await {
                tokio::time::sleep(EVERY).await;
            }
            let pending = std::mem::take(&mut *notifier.pending.lock().unwrap_or_else(PoisonError::into_inner));
            let queues: Vec<String> = pending.into_iter().collect();
            if !queues.is_empty()
                && let Err(failure) = shared.perform("notify", &queues, send).await
            {
                tracing::debug!(?failure, "others were not told of new jobs, they will find them by looking");
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Without waiting for the disk: after a crash nobody is left to be told.
const SEND: &str = "WITH fast AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    SELECT pg_notify($1, $2 || ':' || queue) FROM fast, unnest($3) AS queue";

/// Sends one notification for each queue; an empty name is only for ourselves.
pub(crate) fn send<'c>(session: &'c Session, queues: &'c Vec<String>) -> BoxFuture<'c, Result<(), Error>> {
    Box::pin(async move {
        let channel = session.shared.sql.schema.channel();
        let params: [Param<'_>; 3] =
            [(&channel, Type::TEXT), (&session.shared.instance, Type::TEXT), (queues, Type::TEXT_ARRAY)];
        session.query(SEND, &params).await.map(drop)
    })
}
