use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant as Moment;

use tokio::sync::oneshot;
use tokio_postgres::{Error, Row};
use work_core::store::{BoxFuture, HandedOver, Inserted, Lease, Leased, NewJob, Settle, Settlement, Want};
use work_core::{Queue, Status};

use crate::call::Session;
use crate::row::WIDTH;
use crate::store::Shared;
use crate::{insert, lease, settle};

/// Idle runners of this process. One of them gets a job in the transaction that inserts it.
#[derive(Debug, Default)]
pub(crate) struct Offers(Mutex<Vec<Offer>>);

/// A runner that waits, and what it wants.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) want: Want,
    reply: oneshot::Sender<HandedOver>,
}

impl Offers {
    /// Somebody who waits for jobs of this queue.
    pub(crate) fn take(&self, queue: &Queue) -> Option<Offer> {
        let mut offers = self.locked();
        offers.retain(|offer| !offer.reply.is_closed());
        let n = offers.iter().position(|offer| offer.want.queues.contains(queue))?;
        Some(offers.swap_remove(n))
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Offer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offer {
    pub(crate) fn hand_over(self, shared: &Arc<Shared>, handed: HandedOver) {
        if let Err(handed) = self.reply.send(handed) {
            give_back(shared, handed.leased);
        }
    }
}

/// Waits for jobs, and gives back what comes too late.
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    reply: oneshot::Receiver<HandedOver>,
}

impl Waiting {
    pub(crate) fn new(shared: &Arc<Shared>, want: Want) -> Self {
        let (reply, receiver) = oneshot::channel();
        let mut offers = shared.offers.locked();
        offers.retain(|offer| !offer.reply.is_closed());
        offers.push(Offer { want, reply });
        Self { shared: shared.clone(), reply: receiver }
    }

    pub(crate) async fn handed(mut self) -> HandedOver {
        match (&mut self.reply).await {
            Ok(handed) => handed,
            // The insert went another way, and told of it otherwise.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.reply.close();
        if let Ok(handed) = self.reply.try_recv() {
            give_back(&self.shared, handed.leased);
        }
    }
}

fn give_back(shared: &Arc<Shared>, leased: Leased) {
    if leased.jobs.is_empty() {
        return;
    }
    let shared = shared.clone();
    shared.handle.clone().spawn(async move {
        let queues: Vec<Queue> = leased.jobs.iter().map(|lease| lease.job.parts.queue.clone()).collect();
        let done: Vec<Settle> = leased.jobs.iter().map(released).collect();
        if let Err(failure) = shared.perform("settle", &done, settle::settle).await {
            tracing::warn!(
                ?failure,
                jobs = done.len(),
                "jobs that nobody took could not be given back, their leases will end"
            );
        }
        shared.again_available(queues.iter().map(Queue::as_str));
    });
}

/// Gives an attempt back, and the place in the order.
fn released(lease: &Lease) -> Settle {
    let at = lease.job.parts.scheduled_at.unwrap_or(lease.created_at);
    let settlement = Settlement::Snooze { at };
    Settle { key: lease.key, status: Status::CANCELLED, settlement, error: None, then: Vec::new() }
}

/// Inserts, and leases for who waits, in one transaction and one round trip. The jobs are those of one request.
pub(crate) fn insert_and_lease<'c>(
    session: &'c Session,
    (jobs, want): &'c (Vec<NewJob>, Want),
) -> BoxFuture<'c, Result<(Vec<Inserted>, HandedOver), Error>> {
    Box::pin(async move {
        let asked = Moment::now();
        let rows = insert::and_lease(session, jobs, want).await?;
        let (inserted, leased): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_insert);
        let mut found = Leased::default();
        lease::read(session, want, &leased, &mut found).await?;
        Ok((insert::answers(jobs.iter(), &inserted, PLACE)?, HandedOver { asked, leased: found }))
    })
}

/// The column of the place of a job that was not inserted, after those of a lease.
pub(crate) const PLACE: usize = WIDTH + 3;

fn is_insert(row: &Row) -> bool {
    row.try_get::<_, Option<i64>>(PLACE).is_ok_and(|place| place.is_some())
}
