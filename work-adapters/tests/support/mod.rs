//! What the tests of layers share: a layer as a user would write it, a recorder and a subscriber that keep everything.

#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Poll_, Poll};

use tower_layer::{Layer, layer_fn};
use tower_service::Service;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing_subscriber::layer::{Context as Inside, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use work_core::{BoxError, Context, Job, Outcome, Status, status_of_result};

/// What probes saw: their names and statuses.
pub type Log = Arc<Mutex<Vec<(String, u16)>>>;

/// Notes the status after the inner service, or from a guard.
#[derive(Clone)]
pub struct Probe<S> {
    inner: S,
    name: String,
    log: Log,
}

pub fn probe<S>(name: &str, log: &Log) -> impl Layer<S, Service = Probe<S>> + Clone + use<S> {
    let (name, log) = (name.to_owned(), log.clone());
    layer_fn(move |inner| Probe { inner, name: name.clone(), log: log.clone() })
}

struct Note {
    name: String,
    log: Log,
    context: Context,
    done: bool,
}

impl Note {
    fn status(&mut self, status: Status) {
        self.done = true;
        self.log.lock().unwrap().push((self.name.clone(), status.code()));
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if !self.done {
            let unwinding = std::thread::panicking();
            let dropped = if unwinding { Status::INTERNAL_ERROR } else { Status::CANCELLED };
            self.status(self.context.status().filter(|_| !unwinding).unwrap_or(dropped));
        }
    }
}

impl<S> Service<Job> for Probe<S>
where
    S: Service<Job, Response = Outcome>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Poll_<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let (name, log) = (self.name.clone(), self.log.clone());
        let mut note = Note { name, log, context: job.context().clone(), done: false };
        let future = self.inner.call(job);
        Box::pin(async move {
            let result = future.await.map_err(Into::into);
            note.status(status_of_result(&result));
            result
        })
    }
}

/// All orders of these layers, a letter each.
pub fn orders(layers: &str) -> Vec<String> {
    if layers.is_empty() {
        return vec![String::new()];
    }
    let rest = |first: char| orders(&layers.replace(first, "")).into_iter().map(move |rest| format!("{first}{rest}"));
    layers.chars().flat_map(rest).collect()
}

/// A service whose call does this.
#[derive(Clone)]
pub struct Calls(pub fn() -> Result<Outcome, BoxError>);

impl Service<Job> for Calls {
    type Response = Outcome;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, _: &mut Poll_<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Job) -> Self::Future {
        std::future::ready((self.0)())
    }
}

/// Keeps what the layers trace. Clones keep in the same place.
#[derive(Clone, Default)]
pub struct Traced(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    spans: Vec<BTreeMap<String, String>>,
    events: Vec<BTreeMap<String, String>>,
}

impl Traced {
    /// A subscriber that keeps spans and events of these crates, down to this level.
    pub fn subscriber(&self, level: tracing::level_filters::LevelFilter) -> impl tracing::Subscriber + use<> {
        tracing_subscriber::registry().with(self.clone()).with(level)
    }

    /// The fields of each span named `job`, in the order of their beginning.
    pub fn spans(&self) -> Vec<BTreeMap<String, String>> {
        self.0.lock().unwrap().spans.clone()
    }

    /// The fields, the level, the target, and `span` with the number of spans around, of each event.
    pub fn events(&self) -> Vec<BTreeMap<String, String>> {
        self.0.lock().unwrap().events.clone()
    }

    /// The events of this text.
    pub fn said(&self, message: &str) -> Vec<BTreeMap<String, String>> {
        self.events().into_iter().filter(|event| event["message"] == message).collect()
    }

    pub fn clear(&self) {
        let mut kept = self.0.lock().unwrap();
        kept.spans.clear();
        kept.events.clear();
    }
}

/// A sink that keeps what is written. Clones keep in the same place.
#[derive(Clone, Default)]
pub struct Written(Arc<Mutex<(Vec<u8>, usize)>>);

impl Written {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
    }

    /// Each line as JSON.
    pub fn lines(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How often something was written.
    pub fn writes(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.0.lock().unwrap();
        kept.0.extend_from_slice(bytes);
        kept.1 += 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> tracing_subscriber::fmt::MakeWriter<'w> for Written {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// Which entry of `spans` a span is.
struct Place(usize);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Traced {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, inside: Inside<'_, S>) {
        if attributes.metadata().name() != "job" {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        fields.0.insert("level".into(), attributes.metadata().level().to_string());
        fields.0.insert("target".into(), attributes.metadata().target().into());
        let mut kept = self.0.lock().unwrap();
        inside.span(id).unwrap().extensions_mut().insert(Place(kept.spans.len()));
        kept.spans.push(fields.0);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, inside: Inside<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(place) = inside.span(id).unwrap().extensions().get::<Place>() {
            self.0.lock().unwrap().spans[place.0].extend(fields.0);
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, inside: Inside<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.0.insert("level".into(), event.metadata().level().to_string());
        fields.0.insert("target".into(), event.metadata().target().into());
        fields.0.insert("span".into(), inside.event_scope(event).map_or(0, Iterator::count).to_string());
        fields.0.entry("message".into()).or_default();
        self.0.lock().unwrap().events.push(fields.0);
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}"));
    }
}

/// Keeps what the layers measure, by name and labels.
#[cfg(feature = "metrics")]
#[derive(Default)]
pub struct Measured {
    pub counters: Series<Arc<AtomicU64>>,
    pub gauges: Series<Arc<AtomicU64>>,
    pub histograms: Series<Arc<Values>>,
    pub described: Series<(Option<metrics::Unit>, String)>,
    /// How often a handle was asked for.
    pub registered: AtomicU64,
}

#[cfg(feature = "metrics")]
pub type Series<T> = Mutex<BTreeMap<String, T>>;

#[cfg(feature = "metrics")]
#[derive(Default)]
pub struct Values(Mutex<Vec<f64>>);

#[cfg(feature = "metrics")]
mod recorder {
    use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::{Measured, Ordering, Series, Values};

    impl HistogramFn for Values {
        fn record(&self, value: f64) {
            self.0.lock().unwrap().push(value);
        }
    }

    fn name(key: &Key) -> String {
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        format!("{}{{{}}}", key.name(), labels.join(","))
    }

    impl Measured {
        fn get<T: Clone + Default>(&self, series: &Series<T>, key: &Key) -> T {
            self.registered.fetch_add(1, Ordering::SeqCst);
            series.lock().unwrap().entry(name(key)).or_default().clone()
        }

        fn describe(&self, name: &KeyName, unit: Option<Unit>, text: &str) {
            self.described.lock().unwrap().insert(name.as_str().into(), (unit, text.into()));
        }

        pub fn counter(&self, name: &str) -> u64 {
            self.counters.lock().unwrap().get(name).map_or(0, |count| count.load(Ordering::SeqCst))
        }

        pub fn gauge(&self, name: &str) -> Option<f64> {
            self.gauges.lock().unwrap().get(name).map(|gauge| f64::from_bits(gauge.load(Ordering::SeqCst)))
        }

        pub fn values(&self, name: &str) -> Vec<f64> {
            self.histograms.lock().unwrap().get(name).map_or_else(Vec::new, |values| values.0.lock().unwrap().clone())
        }
    }

    impl Recorder for Measured {
        fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.describe(&name, unit, &text);
        }
        fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.describe(&name, unit, &text);
        }
        fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.describe(&name, unit, &text);
        }
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.get(&self.counters, key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.get(&self.gauges, key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.get(&self.histograms, key))
        }
    }
}
