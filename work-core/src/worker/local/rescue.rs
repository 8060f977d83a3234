use std::time::Duration;

use super::LocalWorker;
use crate::worker::Stopped;
use crate::{Job, JobId, Kind, Outcome, Parts, Queue, Status};

/// Where a job was when it was [rescued](LocalWorker::rescue).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rescued {
    /// Not due yet.
    Delayed,
    /// Due, but without a slot.
    Waiting,
    /// Running: it was told to stop, and may have done some of its work.
    Running,
}

impl LocalWorker {
    /// Hands every job that has not ended to `sink`, each exactly once, and forgets it: to keep them somewhere else before
    /// the process ends, or to start afresh. The worker goes on, and is empty.
    ///
    /// Running jobs are cancelled. They come with their args if the worker was built with
    /// [`keep_args`](super::LocalWorkerBuilder::keep_args), otherwise with id and kind only. Handles of rescued jobs see
    /// 499. A job that ends in the same moment is either handed out or has ended, never both.
    ///
    /// ```
    /// use std::time::Duration;
    /// use work_core::{Job, LocalWorker, Rescued, Router, Worker};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let worker = LocalWorker::new(Router::new().route("later", async || {}));
    /// drop(worker.perform_in(Job::new("later", 7), Duration::from_secs(60)).await?);
    /// let mut saved = Vec::new();
    /// worker.rescue(|job, was| saved.push((job, was)));
    /// assert_eq!(saved[0].0.take_args::<u32>()?, 7);
    /// assert_eq!(saved[0].1, Rescued::Delayed);
    /// assert!(worker.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn rescue(&self, mut sink: impl FnMut(Job, Rescued)) {
        let (entries, running) = self.pool.with(|mut pool| {
            let mut entries: Vec<_> =
                pool.book.take_all_delayed().into_iter().map(|entry| (entry, Rescued::Delayed)).collect();
            for (entry, _) in pool.waiting.drain(..) {
                pool.book.leave(&entry.context, entry.key());
                entries.push((entry, Rescued::Waiting));
            }
            let mut running = Vec::new();
            let mut tags: Vec<_> = pool.tags().map(|tag| (tag.context.clone(), tag.take_copy(), tag.key())).collect();
            for (context, copy, key) in &mut tags {
                if pool.book.leave(context, key.as_deref()) {
                    running.push((context.clone(), copy.take()));
                }
            }
            pool.book.counts.rescued += (entries.len() + running.len()) as u64;
            (entries, running)
        });
        for (context, copy) in running {
            context.cancel();
            if let Some(job) = copy.map(|job| *job).or_else(|| bare(context.job_id()?, context.kind()?)) {
                sink(job, Rescued::Running);
            }
        }
        for (entry, was) in entries {
            entry.promise.keep(Outcome::new(Status::CANCELLED));
            sink(entry.job, was);
        }
    }

    pub(super) async fn drain(&self, grace: Option<Duration>) -> Stopped {
        let mut stopped = Stopped::default();
        let engine = self.engine();
        engine.stopping.cancel();
        engine.recurring.close();
        // What was received and not accepted yet comes in first.
        let recurring = engine.recurring.wait();
        let idle = async {
            recurring.await;
            stopped.unstarted.extend(self.close());
            self.pool.at_most(0).await;
        };
        match grace {
            None => idle.await,
            Some(grace) => {
                if tokio::time::timeout(grace, idle).await.is_err() {
                    self.cut_off(&mut stopped).await;
                }
            }
        }
        stopped
    }

    /// Accepts nothing more, and drops what is not due.
    fn close(&self) -> Vec<(JobId, Kind)> {
        let delayed = self.pool.with(|pool| {
            pool.book.stopping = true;
            let delayed = pool.book.take_all_delayed();
            pool.book.counts.dropped += delayed.len() as u64;
            delayed
        });
        self.engine().earlier.notify_one();
        delayed.into_iter().map(|entry| (entry.job.id(), entry.job.kind().clone())).collect()
    }

    async fn cut_off(&self, stopped: &mut Stopped) {
        /// How long jobs that were told to stop have to get to their next await.
        const CANCEL_GRACE: Duration = Duration::from_millis(500);
        stopped.unstarted.extend(self.close());
        let waiting = self.pool.with(|pool| {
            let waiting: Vec<_> = pool.waiting.drain(..).collect();
            for (entry, _) in &waiting {
                pool.book.leave(&entry.context, entry.key());
            }
            pool.book.counts.dropped += waiting.len() as u64;
            for (id, kind, context) in pool.book.actives() {
                context.cancel();
                stopped.interrupted.push((id, kind));
            }
            waiting
        });
        stopped.unstarted.extend(waiting.into_iter().map(|(entry, _)| (entry.job.id(), entry.job.kind().clone())));
        let _ = tokio::time::timeout(CANCEL_GRACE, self.pool.at_most(0)).await;
    }
}

fn bare(id: JobId, kind: &Kind) -> Option<Job> {
    Some(Job::of(Parts::new(id, kind.clone(), Queue::DEFAULT), crate::args::Payload::Taken))
}
