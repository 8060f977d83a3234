use crate::handle::{JobHandle, Ticket};
use crate::source::Receipt;
use crate::{Accepted, Context, Job, Outcome, Unique};

use super::delayed::context_of;

/// A job on its way.
pub(super) struct Entry {
    pub(super) job: Job,
    /// The context of the next execution.
    pub(super) context: Context,
    pub(super) promise: Promise,
}

impl Entry {
    pub(super) fn new(job: Job) -> Self {
        let context = context_of(&job, 1, None);
        Self { job, promise: Promise::new(Ticket::Context(context.clone())), context }
    }

    pub(super) fn handle(&self) -> JobHandle {
        JobHandle::local(self.job.id(), Accepted::New, self.promise.ticket())
    }

    /// The same job for another attempt.
    pub(super) fn again(job: Job, attempt: u32, promise: Promise) -> Self {
        let context = context_of(&job, attempt, Some(promise.ticket()));
        Self { job: job.fresh(), context, promise }
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.job.parts().unique.as_ref().map(Unique::key)
    }
}

/// Tells the handle and the source how the job ended, at the latest when it is dropped: then that it did not.
pub(super) struct Promise {
    ticket: Ticket,
    receipt: Option<Receipt>,
}

impl Promise {
    pub(super) const fn new(ticket: Ticket) -> Self {
        Self { ticket, receipt: None }
    }

    pub(super) fn tell(&mut self, receipt: Option<Receipt>) {
        self.receipt = receipt;
    }

    pub(super) fn take_receipt(&mut self) -> Option<Receipt> {
        self.receipt.take()
    }

    /// Where the handle looks.
    pub(super) fn ticket(&self) -> Ticket {
        self.ticket.clone()
    }

    pub(super) fn keep(mut self, outcome: Outcome) {
        if let Some(receipt) = self.receipt.take() {
            receipt.tell(outcome.status());
        }
        self.ticket.completion().finish(outcome);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.ticket.completion().abandon();
    }
}
