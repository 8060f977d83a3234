use std::fmt;
use std::sync::Arc;

use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;
use work_core::Clock;

use super::buffer::{Buffer, accept};
use super::entry::Entry;
use super::{SPAN, TARGET};

/// Collects events for the lines of an [`AggregateLog`](super::AggregateLog), see
/// [`subscriber_layer`](super::AggregateLog::subscriber_layer).
pub struct SubscriberLayer {
    log: u64,
    clock: Clock,
}

impl SubscriberLayer {
    pub(super) const fn new(log: u64, clock: Clock) -> Self {
        Self { log, clock }
    }
}

impl<S> Layer<S> for SubscriberLayer
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if metadata.name() != SPAN || metadata.target() != TARGET {
            return;
        }
        if let (Some(span), Some(buffer)) = (context.span(id), accept(self.log)) {
            span.extensions_mut().replace(buffer);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(mut scope) = context.event_scope(event) else { return };
        // From the innermost outwards; nothing is locked while the values are formatted.
        let buffer = scope
            .find_map(|span| span.extensions().get::<Arc<Buffer>>().filter(|buffer| buffer.log == self.log).cloned());
        let Some((buffer, room)) = buffer.and_then(|buffer| buffer.room().map(|room| (buffer, room))) else { return };
        let entry = Entry::of(event, &self.clock, room);
        buffer.push(entry.whole(), || entry.cut());
    }
}

impl fmt::Debug for SubscriberLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriberLayer").finish_non_exhaustive()
    }
}
