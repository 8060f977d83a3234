use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant as Moment;

use futures_util::future::{Either, poll_immediate, select};
use tokio::sync::oneshot;
use tokio_postgres::{Error, Row};
use work_core::store::{BoxFuture, HandedOver, Inserted, Lease, Leased, NewJob, Settle, Settlement, Told, Want};
use work_core::{Queue, Status};

use crate::call::Session;
use crate::row::WIDTH;
use crate::store::Shared;
use crate::{insert, lease, settle};

/// Idle runners of this process. One of them gets a job in the transaction that inserts it.
#[derive(Debug, Default)]
pub(crate) struct Offers(Mutex<(u64, Vec<Offer>)>);

/// A runner that waits, and what it wants.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) want: Want,
    number: u64,
    reply: oneshot::Sender<HandedOver>,
}

impl Offers {
    /// Somebody who waits for jobs of this queue.
    pub(crate) fn take(&self, queue: &Queue) -> Option<Offer> {
        let mut locked = self.locked();
        let offers = &mut locked.1;
        let n = offers.iter().position(|offer| offer.want.queues.contains(queue))?;
        Some(offers.swap_remove(n))
    }

    fn make(&self, want: Want, reply: oneshot::Sender<HandedOver>) -> u64 {
        let mut locked = self.locked();
        locked.0 += 1;
        let number = locked.0;
        locked.1.push(Offer { want, number, reply });
        number
    }

    /// True if nobody took it.
    fn withdraw(&self, number: u64) -> bool {
        let offers = &mut self.locked().1;
        let found = offers.iter().position(|offer| offer.number == number);
        found.map(|n| offers.swap_remove(n)).is_some()
    }

    fn locked(&self) -> MutexGuard<'_, (u64, Vec<Offer>)> {
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

/// Waits for jobs until it is told to look for some.
pub(crate) async fn wait(shared: &Arc<Shared>, want: Want, mut told: Told<'_>) -> Option<HandedOver> {
    // What came before comes first.
    if poll_immediate(told.as_mut()).await.is_some() {
        return None;
    }
    let mut waiting = Waiting::new(shared, want);
    match select(&mut waiting.reply, told).await {
        Either::Left((Ok(handed), _)) => Some(handed),
        // The insert went another way, and tells of it otherwise.
        Either::Left((Err(_), told)) => {
            told.await;
            None
        }
        Either::Right(((), reply)) if !shared.offers.withdraw(waiting.number) => reply.await.ok(),
        Either::Right(_) => None,
    }
}

/// Withdraws its offer when it is dropped, and gives back what comes too late.
struct Waiting {
    shared: Arc<Shared>,
    number: u64,
    reply: oneshot::Receiver<HandedOver>,
}

impl Waiting {
    fn new(shared: &Arc<Shared>, want: Want) -> Self {
        let (reply, receiver) = oneshot::channel();
        let number = shared.offers.make(want, reply);
        Self { shared: shared.clone(), number, reply: receiver }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.offers.withdraw(self.number);
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
