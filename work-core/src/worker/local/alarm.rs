use super::engine::Engine;
use crate::pool::Pool;

/// Jobs that one look at the timers takes: then other callers of the pool get their turn.
const AT_ONCE: usize = 1_000;

/// Makes sure that a task watches the timers. It ends when nothing is pending.
pub(super) fn watch(pool: &Pool<Engine>) {
    let start = pool.with(|pool| {
        let start = !pool.book.watched && pool.book.timers.len() > 0;
        pool.book.watched |= start;
        start
    });
    if start {
        tokio::spawn(run(pool.clone()));
    }
}

/// If the task is dropped with its runtime, another one may watch.
struct Watching<'p>(Option<&'p Pool<Engine>>);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.0 {
            pool.with(|pool| pool.book.watched = false);
        }
    }
}

async fn run(pool: Pool<Engine>) {
    let mut watching = Watching(Some(&pool));
    let engine = pool.executor();
    loop {
        let mut next = None;
        let mut found = 0;
        pool.submit_all(|book| {
            let due = book.due(AT_ONCE);
            found = due.len();
            next = book.timers.next(&book.timers.now());
            // In the same step, so that whoever adds a timer now starts another task.
            book.watched = next.is_some();
            due.into_iter().map(|entry| engine.item(entry)).collect::<Vec<_>>()
        });
        let Some(next) = next else { break };
        if found == AT_ONCE {
            tokio::task::yield_now().await;
            continue;
        }
        let _ = tokio::time::timeout_at(next, engine.earlier.notified()).await;
    }
    watching.0 = None;
}
