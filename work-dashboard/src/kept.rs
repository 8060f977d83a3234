//! Numbers that are exact, and expensive where there are many jobs: then they are read beside the pages, which show the last ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;
use work_core::StoreError;
use work_core::store::{Counts, Inspect, JobFilter, QueueInfo};

/// From so many jobs on, a page does not wait until they are counted.
const MANY: u64 = 20_000;

/// Counting them goes on for a hundredth of the time at most.
const SHARE: u32 = 100;

/// And begins so often at most.
const PAUSE: Duration = Duration::from_secs(10);

/// The last numbers, and how long it took to read them.
pub(crate) struct Kept<T> {
    last: Mutex<Option<Last<T>>>,
    reading: AtomicBool,
}

struct Last<T> {
    at: Instant,
    took: Duration,
    value: Arc<T>,
}

/// What is counted, and how many jobs that were.
pub(crate) trait Counted: Sized + Send + Sync + 'static {
    fn jobs(&self) -> u64;
    fn read(store: Arc<dyn Inspect>) -> BoxFuture<'static, Result<Self, StoreError>>;
}

impl Counted for Counts {
    fn jobs(&self) -> u64 {
        self.total()
    }

    fn read(store: Arc<dyn Inspect>) -> BoxFuture<'static, Result<Self, StoreError>> {
        Box::pin(async move { store.counts(JobFilter::all()).await })
    }
}

impl Counted for Vec<QueueInfo> {
    fn jobs(&self) -> u64 {
        self.iter().map(|queue| queue.counts.total()).sum()
    }

    fn read(store: Arc<dyn Inspect>) -> BoxFuture<'static, Result<Self, StoreError>> {
        Box::pin(async move { store.queues().await })
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { last: Mutex::new(None), reading: AtomicBool::new(false) }
    }
}

impl<T: Counted> Kept<T> {
    /// As they are now, or if there are many jobs, as they were lately. Whoever comes first waits.
    pub(crate) async fn get(self: &Arc<Self>, store: &Arc<dyn Inspect>) -> Result<Arc<T>, StoreError> {
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.value.jobs() > MANY) {
            if last.at.elapsed() > PAUSE.max(last.took * SHARE) && !self.reading.swap(true, Ordering::AcqRel) {
                tokio::spawn(Arc::clone(self).read_again(T::read(Arc::clone(store))));
            }
            return Ok(Arc::clone(&last.value));
        }
        let read = timed(T::read(Arc::clone(store))).await?;
        let value = Arc::clone(&read.value);
        *last = Some(read);
        Ok(value)
    }

    /// The next look sees what was just done.
    pub(crate) async fn forget(&self) {
        *self.last.lock().await = None;
    }

    async fn read_again(self: Arc<Self>, reading: BoxFuture<'static, Result<T, StoreError>>) {
        let read = timed(reading).await;
        // After a failure whoever comes next hears of it.
        *self.last.lock().await = read.ok();
        self.reading.store(false, Ordering::Release);
    }
}

async fn timed<T>(reading: BoxFuture<'static, Result<T, StoreError>>) -> Result<Last<T>, StoreError> {
    let start = Instant::now();
    let value = Arc::new(reading.await?);
    Ok(Last { at: Instant::now(), took: start.elapsed(), value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use work_core::Job;
    use work_core::store::{MemoryStore, NewJob};

    fn job() -> NewJob {
        Job::new("k", ()).into_stored(1 << 20).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn few_jobs_are_counted_for_each_look_and_many_beside_the_looks() {
        let store: Arc<dyn Inspect> = Arc::new(MemoryStore::new());
        let kept = Arc::new(Kept::<Counts>::default());
        for jobs in 1..4 {
            store.insert(vec![job()]).await.unwrap();
            assert_eq!(kept.get(&store).await.unwrap().total(), jobs);
        }
        store.insert((0..MANY).map(|_| job()).collect()).await.unwrap();
        assert_eq!(kept.get(&store).await.unwrap().total(), MANY + 3);
        store.insert(vec![job()]).await.unwrap();
        assert_eq!(kept.get(&store).await.unwrap().total(), MANY + 3, "the last number");
        tokio::time::sleep(PAUSE + Duration::from_secs(1)).await;
        assert_eq!(kept.get(&store).await.unwrap().total(), MANY + 3, "nobody waits");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(kept.get(&store).await.unwrap().total(), MANY + 4, "it was counted beside");
        store.insert(vec![job()]).await.unwrap();
        kept.forget().await;
        assert_eq!(kept.get(&store).await.unwrap().total(), MANY + 5, "after an action");
    }
}
