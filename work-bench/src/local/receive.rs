use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, mpsc};
use work_core::{Args, LocalWorker, Router, State, Worker, source};

use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};

pub(crate) const RECEIVE: Bench = Bench {
    name: "local_receive",
    what: "perform_receive of a million items, against a loop that receives and spawns",
    run: receive,
};

const ITEMS: u64 = 1_000_000;

#[derive(Clone, Default)]
struct Done(Arc<(AtomicU64, Notify)>);

impl Done {
    fn one(&self, n: u64) {
        std::hint::black_box(n);
        if self.0.0.fetch_add(1, Ordering::Relaxed) + 1 == ITEMS {
            self.0.1.notify_one();
        }
    }
}

fn receive(printer: &Printer) -> Result<(), BoxError> {
    printer.line("local_receive", Some(0.7), Unit::Rate, &Pairs::measure(ours, raw)?);
    Ok(())
}

fn channel() -> mpsc::Receiver<u64> {
    let (sender, items) = mpsc::channel(4096);
    tokio::spawn(async move {
        for n in 0..ITEMS {
            let _ = sender.send(n).await;
        }
    });
    items
}

async fn count(Args(n): Args<u64>, State(done): State<Done>) {
    done.one(n);
}

fn ours() -> Result<Timed, BoxError> {
    let (done, runtime) = (Done::default(), runtime()?);
    let router = Router::new().route("count", count).with_state(done.clone());
    time(ITEMS, || {
        runtime.block_on(async {
            let worker = LocalWorker::new(router);
            worker.perform_receive("count", source::channel(channel())).await?;
            done.0.1.notified().await;
            Ok(())
        })
    })
}

fn raw() -> Result<Timed, BoxError> {
    let (done, runtime) = (Done::default(), runtime()?);
    time(ITEMS, || {
        runtime.block_on(async {
            let mut items = channel();
            let all = done.clone();
            tokio::spawn(async move {
                while let Some(n) = items.recv().await {
                    let done = all.clone();
                    tokio::spawn(async move { done.one(n) });
                }
            });
            done.0.1.notified().await;
            Ok(())
        })
    })
}
