use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use uuid::Uuid;
use work_core::store::{Inserted, NewJob};
use work_core::{Queue, QueueFull, StoreError};

use crate::capacity::that_fit;
use crate::error::Failure;
use crate::hand_over::insert_and_lease;
use crate::insert::{self, insert};
use crate::store::Shared;

/// Puts jobs of many callers into one request: whatever arrives while the requests before are under way. Each caller is
/// answered after the commit.
#[derive(Debug, Clone)]
pub(crate) struct Inserter(mpsc::Sender<Insert>);

/// The jobs of one caller, all or none of them.
#[derive(Debug)]
struct Insert {
    jobs: Vec<NewJob>,
    reply: oneshot::Sender<Result<Vec<Inserted>, Failure>>,
}

/// The end of the queue that the task reads.
#[derive(Debug)]
pub(crate) struct Inserts(mpsc::Receiver<Insert>);

/// Callers that may wait in line; more wait before it.
const LINE: usize = 4_096;

/// Requests at a time: while one commits, the next one is written.
const LANES: usize = 2;

/// Jobs and bytes that are put together, at most.
const TOGETHER: usize = 2_000;
const TOGETHER_BYTES: usize = 4 * 1024 * 1024;

impl Inserter {
    pub(crate) fn new() -> (Self, Inserts) {
        let (sender, receiver) = mpsc::channel(LINE);
        (Self(sender), Inserts(receiver))
    }

    pub(crate) async fn insert(&self, jobs: Vec<NewJob>) -> Result<Vec<Inserted>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Insert { jobs, reply }).await.map_err(|_| StoreError::closed())?;
        let answer =
            answer.await.map_err(|error| StoreError::unknown("the store was closed during `insert`", error))?;
        Ok(answer?)
    }
}

impl Inserts {
    pub(crate) async fn run(mut self, shared: Arc<Shared>) {
        let lanes = Arc::new(Semaphore::new(LANES));
        let mut next = None;
        loop {
            let Ok(lane) = lanes.clone().acquire_owned().await else { return };
            let first = match next.take() {
                Some(insert) => insert,
                None => match self.0.recv().await {
                    Some(insert) => insert,
                    None => return,
                },
            };
            let (group, left) = self.group(first);
            next = left;
            let shared = shared.clone();
            tokio::spawn(async move {
                serve(&shared, group).await;
                drop(lane);
            });
        }
    }

    /// What waits, up to the first that does not fit.
    fn group(&mut self, first: Insert) -> (Vec<Insert>, Option<Insert>) {
        let weigh = |insert: &Insert| {
            let bytes: usize = insert.jobs.iter().map(|job| job.args.len()).sum();
            (insert.jobs.len(), bytes)
        };
        let (mut rows, mut bytes) = weigh(&first);
        let mut group = vec![first];
        while let Ok(insert) = self.0.try_recv() {
            let more = weigh(&insert);
            (rows, bytes) = (rows + more.0, bytes + more.1);
            if rows > TOGETHER || bytes > TOGETHER_BYTES {
                return (group, Some(insert));
            }
            group.push(insert);
        }
        (group, None)
    }
}

async fn serve(shared: &Arc<Shared>, mut group: Vec<Insert>) {
    let sizes: Vec<usize> = group.iter().map(|insert| insert.jobs.len()).collect();
    let jobs: Vec<NewJob> = group.iter_mut().flat_map(|insert| std::mem::take(&mut insert.jobs)).collect();
    let (answer, jobs, handed) = keep(shared, jobs).await;
    match answer {
        Ok(answers) => {
            shared.inserted(&jobs, &answers, handed.as_deref());
            let mut answers = answers.into_iter();
            for (insert, size) in group.into_iter().zip(sizes) {
                let _ = insert.reply.send(Ok(answers.by_ref().take(size).collect()));
            }
        }
        // One that the database refuses must not take others with it.
        Err(failure) if group.len() > 1 && failure.is_refusal() => {
            let mut jobs = jobs.into_iter();
            group.iter_mut().zip(sizes).for_each(|(insert, size)| insert.jobs = jobs.by_ref().take(size).collect());
            match failure.queue_full() {
                Some(full) => serve_what_fits(shared, group, full).await,
                None => serve_alone(shared, group).await,
            }
        }
        Err(failure) => group.into_iter().for_each(|insert| drop(insert.reply.send(Err(failure.clone())))),
    }
}

async fn serve_alone(shared: &Arc<Shared>, group: Vec<Insert>) {
    for Insert { jobs, reply } in group {
        let answer = shared.perform("insert", &jobs, self::insert).await;
        if let Ok(answers) = &answer {
            shared.inserted(&jobs, answers, None);
        }
        let _ = reply.send(answer);
    }
}

/// Refuses at once who does not fit any more, unless some of the jobs may be there already: a queue that is full has many
/// callers, and each look at it counts its jobs.
async fn serve_what_fits(shared: &Arc<Shared>, group: Vec<Insert>, full: &QueueFull) {
    let all = group.len();
    let fit = that_fit(full, group.iter().map(|insert| of_queue(&insert.jobs, &full.queue)));
    let (fitting, others): (Vec<_>, Vec<_>) = group.into_iter().zip(fit).partition(|(_, fits)| *fits);
    // Those that fit come before them.
    let depth = full.depth + fitting.iter().map(|(insert, _)| of_queue(&insert.jobs, &full.queue)).sum::<u64>();
    let fitting: Vec<Insert> = fitting.into_iter().map(|(insert, _)| insert).collect();
    match fitting.len() {
        0 => {}
        // Others were quicker.
        n if n == all => serve_alone(shared, fitting).await,
        _ => Box::pin(serve(shared, fitting)).await,
    }
    let ids: Vec<Uuid> =
        others.iter().flat_map(|(insert, _)| &insert.jobs).map(|job| *job.parts.id.as_uuid()).collect();
    let known = shared.perform("insert", &ids, insert::known).await;
    let is_new = |job: &NewJob| {
        let known = known.as_ref().is_ok_and(|known| !known.contains(job.parts.id.as_uuid()));
        known && job.parts.unique.is_none()
    };
    let (refused, unsure): (Vec<Insert>, Vec<Insert>) =
        others.into_iter().map(|(insert, _)| insert).partition(|insert| insert.jobs.iter().all(is_new));
    for Insert { jobs, reply } in refused {
        let given = of_queue(&jobs, &full.queue);
        let _ = reply.send(Err(QueueFull::new(full.queue.clone(), full.capacity, depth, given).into()));
    }
    serve_alone(shared, unsure).await;
}

fn of_queue(jobs: &[NewJob], queue: &Queue) -> u64 {
    jobs.iter().filter(|job| job.parts.queue == *queue).count() as u64
}

/// Inserts; if a runner waits for one of these jobs, it has it afterwards. Answers also the queues of which there is
/// nothing more to tell.
async fn keep(
    shared: &Arc<Shared>,
    jobs: Vec<NewJob>,
) -> (Result<Vec<Inserted>, Failure>, Vec<NewJob>, Option<Vec<Queue>>) {
    let due = jobs.iter().find(|job| job.parts.scheduled_at.is_none());
    let offer = due.filter(|_| insert::fits_one(&jobs)).and_then(|job| shared.offers.take(&job.parts.queue));
    let Some(offer) = offer else {
        return (shared.perform("insert", &jobs, insert).await, jobs, None);
    };
    let input = (jobs, offer.want.clone());
    let answer = shared.perform("insert", &input, insert_and_lease).await;
    let (jobs, want) = input;
    match answer {
        Ok((answers, handed)) => {
            let all = handed.leased.jobs.len() < want.limit;
            offer.hand_over(shared, handed);
            (Ok(answers), jobs, all.then_some(want.queues))
        }
        Err(failure) => (Err(failure), jobs, None),
    }
}
