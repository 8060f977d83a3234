use std::collections::VecDeque;
use std::future::Future;

use super::sync::{Arc, Mutex, MutexGuard, Notify, PoisonError, at_once, consume_budget, spawn};

/// Runs items on at most `concurrency` loops, each in a tokio task of its own; what finds no free loop waits in order.
///
/// A loop takes the next waiting item itself when it is done with one, so a backlog costs no task per item, and with
/// nothing waiting it ends, so an idle pool costs nothing. Enough loops to keep every thread busy are started at once;
/// each further one is started by the one before it, when that gets its turn: by then short items may be done.
pub(crate) struct Pool<E: Execute>(Arc<Shared<E>>);

/// What a pool does with an item.
pub(crate) trait Execute: Send + Sync + Sized + 'static {
    type Item: Send + 'static;
    /// What can be seen of an item while it runs.
    type Tag: Send + 'static;
    /// What is known of all items, under the pool's lock.
    type Book: Send + 'static;
    /// What an execution came to.
    type End: Send;
    /// What a loop keeps from one item to the next.
    type Local: Default + Send;

    fn tag(item: &mut Self::Item) -> Self::Tag;

    /// Runs one item in the slot of this number. Must not panic.
    fn execute(&self, item: Self::Item, slot: u32, local: &mut Self::Local) -> impl Future<Output = Self::End> + Send;

    /// Notes an end while the slot is given back, in one step. `None`: the loop was dropped before the end.
    fn note(&self, _: &mut Self::Book, _: &Self::Tag, _: Option<&mut Self::End>) {}

    /// Tells whom it concerns, when the end is noted.
    fn tell(&self, _: &Pool<Self>, _: Self::End) {}

    /// What counts as load, given how many items wait or run.
    fn load(_: &Self::Book, items: usize) -> usize {
        items
    }
}

struct Shared<E: Execute> {
    execute: E,
    state: Mutex<State<E>>,
    /// Told when the load falls to `State::low_water`.
    low: Notify,
}

struct State<E: Execute> {
    book: E::Book,
    waiting: VecDeque<E::Item>,
    concurrency: usize,
    /// Slots that ran before and are free; the last one freed is the first one taken.
    free: Vec<u32>,
    /// What runs in each slot that was ever taken.
    slots: Vec<Option<E::Tag>>,
    running: usize,
    started: u64,
    /// Items start a loop of their own while fewer run.
    at_once: usize,
    /// A loop is about to start, and will see to the next one.
    starting: bool,
    /// Wake `low` once the load is so small; `None` if nobody waits.
    low_water: Option<usize>,
    /// Wake `low` once so few items wait.
    few_waiting: Option<usize>,
}

/// What a pool holds, under its lock.
pub(crate) struct View<'p, E: Execute> {
    pub(crate) book: &'p mut E::Book,
    pub(crate) waiting: &'p mut VecDeque<E::Item>,
    slots: &'p mut Vec<Option<E::Tag>>,
}

impl<E: Execute> View<'_, E> {
    /// The tags of what runs.
    pub(crate) fn tags(&mut self) -> impl Iterator<Item = &mut E::Tag> {
        self.slots.iter_mut().flatten()
    }
}

impl<E: Execute> State<E> {
    fn load(&self) -> usize {
        E::load(&self.book, self.waiting.len() + self.running)
    }

    fn view(&mut self) -> View<'_, E> {
        View { book: &mut self.book, waiting: &mut self.waiting, slots: &mut self.slots }
    }

    /// The number of a free slot, now taken for this item.
    fn take_slot(&mut self, item: &mut E::Item) -> Option<u32> {
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
    pub(crate) fn new(execute: E, book: E::Book, concurrency: usize) -> Self {
        let state = State {
            book,
            waiting: VecDeque::new(),
            concurrency,
            free: Vec::new(),
            slots: Vec::new(),
            running: 0,
            started: 0,
            at_once: at_once(),
            starting: false,
            low_water: None,
            few_waiting: None,
        };
        Self(Arc::new(Shared { execute, state: Mutex::new(state), low: Notify::new() }))
    }

    pub(crate) fn executor(&self) -> &E {
        &self.0.execute
    }

    /// Takes an item if `admit` has nothing against it; otherwise it comes back.
    pub(crate) fn submit<R>(
        &self,
        item: E::Item,
        admit: impl FnOnce(&mut E::Book, &E::Item, usize) -> Result<(), R>,
    ) -> Result<(), (E::Item, R)> {
        let mut state = self.0.lock();
        let load = state.load();
        if let Err(refused) = admit(&mut state.book, &item, load) {
            return Err((item, refused));
        }
        self.place(&mut state, item);
        Ok(())
    }

    /// Starts a loop for an item, or lets it wait for one.
    fn place(&self, state: &mut State<E>, mut item: E::Item) {
        if state.running < state.at_once
            && let Some(slot) = state.take_slot(&mut item)
        {
            spawn(self.clone().work(item, slot));
            return;
        }
        state.waiting.push_back(item);
        self.start_next(state);
    }

    /// Sees that a loop starts if something waits and there is a slot for it.
    fn start_next(&self, state: &mut State<E>) {
        if !state.starting && !state.waiting.is_empty() && state.running < state.concurrency {
            state.starting = true;
            spawn(Starter { pool: self.clone(), starts: true }.run());
        }
    }

    /// Takes all that `items` finds in the book.
    pub(crate) fn submit_all<I: IntoIterator<Item = E::Item>>(&self, items: impl FnOnce(&mut E::Book) -> I) {
        let mut state = self.0.lock();
        for item in items(&mut state.book) {
            self.place(&mut state, item);
        }
        self.0.signal(&mut state);
    }

    /// Looks at, or changes, what the pool holds.
    pub(crate) fn with<T>(&self, look: impl FnOnce(View<'_, E>) -> T) -> T {
        let mut state = self.0.lock();
        let answer = look(state.view());
        self.0.signal(&mut state);
        answer
    }

    /// Items that were ever started.
    pub(crate) fn started(&self) -> u64 {
        self.0.lock().started
    }

    /// How many items run at once at most.
    pub(crate) fn concurrency(&self) -> usize {
        self.0.lock().concurrency
    }

    /// Changes how many items run at once; those that run over it go on.
    pub(crate) fn set_concurrency(&self, concurrency: usize) {
        let mut state = self.0.lock();
        state.concurrency = concurrency;
        self.start_next(&mut state);
        // Who waits for room looks again: the mark may have moved.
        state.low_water = None;
        self.0.low.notify_waiters();
    }

    /// The load: what waits or runs, and whatever else the book counts.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().load()
    }

    async fn work(self, first: E::Item, slot: u32) {
        let mut busy = Slot { pool: &self.0, slot, taken: true };
        let mut local = E::Local::default();
        let mut next = Some(first);
        while let Some(item) = next {
            let mut end = self.0.execute.execute(item, slot, &mut local).await;
            next = busy.advance(&mut end);
            self.0.execute.tell(&self, end);
            // Other tasks of this thread get their turn, however long the backlog is.
            consume_budget().await;
        }
    }

    /// Takes out everything that waits.
    pub(crate) fn take_waiting(&self) -> Vec<E::Item> {
        self.with(|pool| pool.waiting.drain(..).collect())
    }

    /// Waits until the load is at most so much.
    pub(crate) async fn at_most(&self, load: usize) {
        self.at_most_of(|_| load).await;
    }

    /// Waits until the load is at most what this says of how many items run at once, which may change meanwhile.
    pub(crate) async fn at_most_of(&self, load_of: impl Fn(usize) -> usize) {
        loop {
            let mut notified = std::pin::pin!(self.0.low.notified());
            notified.as_mut().enable();
            {
                let mut state = self.0.lock();
                let load = load_of(state.concurrency);
                if state.load() <= load {
                    return;
                }
                // Several may wait: the highest mark wakes them all, and each looks for itself.
                state.low_water = Some(state.low_water.map_or(load, |mark| mark.max(load)));
            }
            notified.await;
        }
    }
}

/// A loop that is about to start.
struct Starter<E: Execute> {
    pool: Pool<E>,
    starts: bool,
}

impl<E: Execute> Starter<E> {
    async fn run(mut self) {
        let first = {
            let mut state = self.pool.0.lock();
            state.starting = false;
            self.starts = false;
            let first = if state.running < state.concurrency { state.waiting.pop_front() } else { None };
            let first = first.and_then(|mut item| state.take_slot(&mut item).map(|slot| (item, slot)));
            self.pool.start_next(&mut state);
            first
        };
        if let Some((item, slot)) = first {
            self.pool.clone().work(item, slot).await;
        }
    }
}

/// It may be dropped with its runtime before it ran.
impl<E: Execute> Drop for Starter<E> {
    fn drop(&mut self) {
        if self.starts {
            self.pool.0.lock().starting = false;
        }
    }
}

impl<E: Execute> Pool<E> {
    /// Waits until at most so many items wait for a slot, and says how many do.
    pub(crate) async fn few_waiting(&self, items: usize) -> usize {
        loop {
            let mut notified = std::pin::pin!(self.0.low.notified());
            notified.as_mut().enable();
            {
                let mut state = self.0.lock();
                if state.waiting.len() <= items {
                    return state.waiting.len();
                }
                state.few_waiting = Some(state.few_waiting.map_or(items, |mark| mark.max(items)));
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
        let low = state.low_water.is_some_and(|mark| state.load() <= mark);
        if low || state.few_waiting.is_some_and(|mark| state.waiting.len() <= mark) {
            // Whoever still waits says so again.
            (state.low_water, state.few_waiting) = (None, None);
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
    fn advance(&mut self, end: &mut E::End) -> Option<E::Item> {
        let mut state = self.pool.lock();
        if let Some(tag) = state.slots[self.slot as usize].take() {
            self.pool.execute.note(&mut state.book, &tag, Some(end));
        }
        // A loop over the limit ends, since the limit was lowered meanwhile.
        let mut next = if state.running > state.concurrency { None } else { state.waiting.pop_front() };
        match &mut next {
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
            if let Some(tag) = state.slots[self.slot as usize].take() {
                self.pool.execute.note(&mut state.book, &tag, None);
            }
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
