//! One request, after it was let in.

use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use work_core::JobId;

use crate::access::{Identity, Right};
use crate::dashboard::App;
use crate::failure::{Failure, shown};

/// Names and values of a query or a form, in order.
pub(crate) type Pairs = Vec<(String, String)>;

/// What a handler gets.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) identity: Identity,
    /// The path under which the router is mounted, without a slash at its end.
    pub(crate) base: String,
    /// The path and the query below that.
    pub(crate) target: String,
    pub(crate) params: Vec<String>,
    pub(crate) query: Pairs,
    pub(crate) body: Bytes,
    pub(crate) headers: HeaderMap,
}

const SAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A text as a part of a path.
pub(crate) fn encoded(text: &str) -> String {
    // A part that is `.` or `..` would be taken away by browsers; encoded dots too, so nothing is to be won there.
    utf8_percent_encode(text, SAFE).to_string()
}

impl Call {
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn may_write(&self) -> bool {
        self.identity.right >= Right::Write
    }

    /// A part of the path that stands for something.
    pub(crate) fn param(&self) -> &str {
        self.params.first().map_or("", String::as_str)
    }

    pub(crate) fn job_id(&self) -> Result<JobId, Failure> {
        let wrong = |_| Failure::bad("invalid-id", format!("{} is no id of a job; ids are UUIDs", shown(self.param())));
        self.param().parse().map_err(wrong)
    }

    /// The fields of a form.
    pub(crate) fn form(&self) -> Pairs {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A line for whoever asks later who did this.
    pub(crate) fn audit(&self, action: &str, what: &str, result: &str) {
        // As Debug: what comes from outside can neither end the line nor colour it.
        let what: String = what.chars().take(500).collect();
        tracing::info!(target: "work_dashboard::audit", who = self.identity.name(), action, what = ?what, result = ?result);
    }
}

/// The first value of a name.
pub(crate) fn value<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A query of these pairs, with `?`; nothing if there are none.
pub(crate) fn query_of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    let query = query.finish();
    if query.is_empty() { query } else { format!("?{query}") }
}
