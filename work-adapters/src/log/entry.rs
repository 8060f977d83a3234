use std::fmt::{self, Write};

use chrono::SecondsFormat;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tracing::Event;
use tracing::field::{Field, Visit};
use work_core::Clock;

use super::line::cut_json;

/// An event, read with bounded memory.
pub(super) struct Entry<'e> {
    event: &'e Event<'e>,
    time: String,
    fields: Fields,
}

/// How much of a message is left if the whole does not fit, in bytes of JSON.
const CUT: usize = 256;

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
    /// Bytes that may still be taken.
    room: usize,
    /// Something did not fit.
    cut: bool,
}

#[derive(Serialize)]
struct Json<'e> {
    time: &'e str,
    level: &'static str,
    target: &'e str,
    message: &'e str,
    #[serde(serialize_with = "as_map")]
    fields: &'e [(&'static str, Value)],
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
}

impl<'e> Entry<'e> {
    /// Reads as much as there is room for.
    pub(super) fn of(event: &'e Event<'e>, clock: &Clock, room: usize) -> Self {
        let mut fields = Fields { room: room.max(CUT), ..Fields::default() };
        event.record(&mut fields);
        let time = clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        Self { event, time, fields }
    }

    /// All of it as JSON, if all was read.
    pub(super) fn whole(&self) -> Option<String> {
        if self.fields.cut { None } else { self.json(&self.fields.message, &self.fields.others, None) }
    }

    /// The beginning of its message as JSON.
    pub(super) fn cut(&self) -> Option<String> {
        self.json(cut_json(&self.fields.message, CUT), &[], Some(true))
    }

    fn json(&self, message: &str, fields: &[(&'static str, Value)], truncated: Option<bool>) -> Option<String> {
        let metadata = self.event.metadata();
        let (level, target) = (metadata.level().as_str(), metadata.target());
        serde_json::to_string(&Json { time: &self.time, level, target, message, fields, truncated }).ok()
    }
}

fn as_map<S: Serializer>(fields: &&[(&'static str, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(name, value)| (name, value)))
}

impl Fields {
    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let mut text = Bounded { text: String::new(), room: self.room };
        self.cut |= text.write_fmt(value).is_err();
        self.room = text.room;
        match field.name() {
            "message" => self.message = text.text,
            _ => self.push(field, text.text),
        }
    }

    fn push(&mut self, field: &Field, value: impl Into<Value>) {
        // `r#type` is called `type`.
        let name = field.name();
        self.others.push((name.strip_prefix("r#").unwrap_or(name), value.into()));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// Text that stops where the room ends, so that a value without end cannot fill the memory.
struct Bounded {
    text: String,
    room: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let fits = &more[..more.floor_char_boundary(self.room)];
        self.text.push_str(fits);
        self.room -= fits.len();
        if fits.len() == more.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
