use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Runs items on at most `concurrency` loops, each in a tokio task of its own; what finds no free loop waits in order.
///
/// A loop takes the next waiting item itself when it is done with one, so a backlog costs no task per item, and with
/// nothing waiting it ends, so an idle pool costs nothing.
pub(crate) struct Pool<E: Execute>(Arc<Shared<E>>);

/// What a pool does with an item.
pub(crate) trait Execute: Send + Sync + 'static {
    type Item: Send + 'static;
    /// What can reach an item while it runs.
    type Tag: Send + 'static;

    /// The tag of an item.
    fn tag(item: &Self::Item) -> Self::Tag;

    /// Runs one item in the slot of this number. Must not panic.
    fn execute(&self, pool: &Pool<Self>, item: Self::Item, slot: u32) -> impl Future<Output = ()> + Send
    where
        Self: Sized;
}

struct Shared<E: Execute> {
    execute: E,
    state: Mutex<State<E>>,
    /// Told when the number of items falls to `State::low_water`.
    low: Notify,
}

struct State<E: Execute> {
    waiting: VecDeque<E::Item>,
    concurrency: usize,
    /// Slots that ran before and are free; the last one freed is the first one taken.
    free: Vec<u32>,
    /// What runs in each slot that was ever taken.
    slots: Vec<Option<E::Tag>>,
    running: usize,
    started: u64,
    /// Wake `low` once so few items are left; `None` if nobody waits.
    low_water: Option<usize>,
}

impl<E: Execute> State<E> {
    fn items(&self) -> usize {
        self.waiting.len() + self.running
    }

    /// The number of a free slot, now taken for this item.
    fn take_slot(&mut self, item: &E::Item) -> Option<u32> {
        if self.running >= self.concurrency {
            return None;
        }
        self.running += 1;
        self.started += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[slot as usize] = Some(E::tag(item));
        Some(slot)
    }

    fn free_slot(&mut self, slot: u32) {
        self.running -= 1;
        self.slots[slot as usize] = None;
        self.free.push(slot);
    }
}

impl<E: Execute> Pool<E> {
    pub(crate) fn new(execute: E, concurrency: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            concurrency,
            free: Vec::new(),
            slots: Vec::new(),
            running: 0,
            started: 0,
            low_water: None,
        };
        Self(Arc::new(Shared { execute, state: Mutex::new(state), low: Notify::new() }))
    }

    pub(crate) fn executor(&self) -> &E {
        &self.0.execute
    }

    /// Takes an item, unless `capacity` items are there already: then it comes back.
    pub(crate) fn submit(&self, item: E::Item, capacity: usize) -> Result<(), E::Item> {
        let mut state = self.0.lock();
        if state.items() >= capacity {
            return Err(item);
        }
        match state.take_slot(&item) {
            None => state.waiting.push_back(item),
            Some(slot) => {
                drop(state);
                tokio::spawn(self.clone().work(item, slot));
            }
        }
        Ok(())
    }

    /// Takes all of a batch.
    pub(crate) fn submit_all(&self, items: impl IntoIterator<Item = E::Item>) {
        let mut state = self.0.lock();
        for item in items {
            match state.take_slot(&item) {
                None => state.waiting.push_back(item),
                Some(slot) => drop(tokio::spawn(self.clone().work(item, slot))),
            }
        }
    }

    /// Items that were ever started.
    pub(crate) fn started(&self) -> u64 {
        self.0.lock().started
    }

    /// Items that wait or run.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().items()
    }

    async fn work(self, first: E::Item, slot: u32) {
        let mut busy = Slot { pool: &self.0, slot, taken: true };
        let mut next = Some(first);
        while let Some(item) = next {
            self.0.execute.execute(&self, item, slot).await;
            // Other tasks of this thread get their turn, however long the backlog is.
            tokio::task::coop::consume_budget().await;
            next = busy.advance();
        }
    }

    /// Looks at what runs and then at what waits, until `look` finds what it seeks.
    pub(crate) fn find<T>(
        &self,
        running: impl Fn(&E::Tag) -> Option<T>,
        waiting: impl Fn(&E::Item) -> Option<T>,
    ) -> Option<T> {
        let state = self.0.lock();
        let found = state.slots.iter().flatten().find_map(running);
        found.or_else(|| state.waiting.iter().find_map(waiting))
    }

    /// Takes out everything that waits.
    pub(crate) fn take_waiting(&self) -> Vec<E::Item> {
        let mut state = self.0.lock();
        let waiting = state.waiting.drain(..).collect();
        self.0.signal(&mut state);
        waiting
    }

    /// Waits until at most `items` wait or run.
    pub(crate) async fn at_most(&self, items: usize) {
        loop {
            let mut notified = std::pin::pin!(self.0.low.notified());
            notified.as_mut().enable();
            {
                let mut state = self.0.lock();
                if state.items() <= items {
                    return;
                }
                // Several may wait: the highest mark wakes them all, and each looks for itself.
                state.low_water = Some(state.low_water.map_or(items, |mark| mark.max(items)));
            }
            notified.await;
        }
    }
}

impl<E: Execute> Shared<E> {
    /// A panic while the lock is held cannot leave the counts half changed.
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, state: &mut State<E>) {
        if state.low_water.is_some_and(|mark| state.items() <= mark) {
            state.low_water = None;
            self.low.notify_waiters();
        }
    }
}

/// A taken slot. If its loop is dropped before it is done, the slot is given back.
struct Slot<'p, E: Execute> {
    pool: &'p Arc<Shared<E>>,
    slot: u32,
    taken: bool,
}

impl<E: Execute> Slot<'_, E> {
    /// The next item, or none and the slot is free.
    fn advance(&mut self) -> Option<E::Item> {
        let mut state = self.pool.lock();
        let next = state.waiting.pop_front();
        match &next {
            Some(item) => {
                state.started += 1;
                state.slots[self.slot as usize] = Some(E::tag(item));
            }
            None => {
                self.taken = false;
                state.free_slot(self.slot);
            }
        }
        self.pool.signal(&mut state);
        next
    }
}

impl<E: Execute> Drop for Slot<'_, E> {
    fn drop(&mut self) {
        if self.taken {
            let mut state = self.pool.lock();
            state.free_slot(self.slot);
            self.pool.signal(&mut state);
        }
    }
}

impl<E: Execute> Clone for Pool<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
