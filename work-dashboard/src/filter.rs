//! Filters as a URL says them. Pages and API have the same ones.

use std::ops::Bound;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use work_core::store::{JobFilter, Order};

use crate::call::{Call, Pairs, query_of};
use crate::dashboard::ArgsView;
use crate::failure::{Failure, shown};

/// What may be in a query, and what each is.
pub(crate) const NAMES: [(&str, &str); 13] = [
    ("state", "One of available, running, completed, discarded, cancelled. May be repeated."),
    ("queue", "The name of a queue. May be repeated."),
    ("kind", "A kind of job. May be repeated."),
    ("tag", "A tag that the jobs have. May be repeated: then they have all."),
    ("id", "The id of a job. May be repeated."),
    ("error", "Text that the last error contains."),
    ("arg", "`path=value`, such as `user.id=7`: a field of the args. Only where args are shown."),
    ("created_from", "Accepted at this time or later: RFC 3339, a date, or a time ago such as 15m, 2h, 7d."),
    ("created_to", "Accepted before this time."),
    ("due_from", "Due at this time or later."),
    ("due_to", "Due before this time."),
    ("finished_from", "Ended at this time or later."),
    ("finished_to", "Ended before this time."),
];

/// Values that a query may have, over all names.
const MAX_VALUES: usize = 600;

/// The most jobs of a page.
pub(crate) const MAX_LIMIT: usize = 500;

/// A filter, and which page of it.
#[derive(Debug, Clone)]
pub(crate) struct Filters {
    /// What was asked for, without what is empty: for links and forms.
    pub(crate) pairs: Pairs,
    pub(crate) filter: JobFilter,
    pub(crate) order: Order,
    pub(crate) after: Option<i64>,
    pub(crate) limit: usize,
}

impl Filters {
    /// Reads the query of a call.
    pub(crate) fn of(call: &Call) -> Result<Self, Failure> {
        Self::read(call, &call.query, &[])
    }

    /// Reads pairs; names in `besides` mean something to somebody else.
    pub(crate) fn read(call: &Call, pairs: &Pairs, besides: &[&str]) -> Result<Self, Failure> {
        if pairs.len() > MAX_VALUES {
            return Err(Failure::bad("invalid-filter", format!("a filter has at most {MAX_VALUES} values")));
        }
        let (filter, order) = (JobFilter::all(), Order::NewestFirst);
        let mut filters = Self { pairs: Vec::new(), filter, order, after: None, limit: 50 };
        for (name, value) in pairs {
            let value = value.trim();
            if value.is_empty() || besides.contains(&name.as_str()) {
                continue;
            }
            filters.set(call, name, value)?;
            if is_filter(name) {
                filters.pairs.push((name.clone(), value.to_owned()));
            }
        }
        Ok(filters)
    }

    fn set(&mut self, call: &Call, name: &str, value: &str) -> Result<(), Failure> {
        let text = |max: usize| match value.chars().count() {
            count if count > max => Err(wrong(name, value, &format!("at most {max} signs"))),
            _ if value.contains('\0') => Err(wrong(name, value, "text without NUL")),
            _ => Ok(value.to_owned()),
        };
        let filter = &mut self.filter;
        match name {
            "state" => filter
                .states
                .push(value.parse().map_err(|error| Failure::bad("invalid-filter", format!("state: {error}")))?),
            "queue" => filter.queues.push(text(200)?.into()),
            "kind" => filter.kinds.push(text(200)?.into()),
            "tag" => filter.tags.push(text(200)?),
            "id" => filter.ids.push(value.parse().map_err(|_| wrong(name, value, "a UUID"))?),
            "error" => filter.error_contains = Some(text(500)?),
            "arg" => self.set_arg(call, &text(1000)?)?,
            "order" => {
                self.order = match value {
                    "newest" => Order::NewestFirst,
                    "oldest" => Order::OldestFirst,
                    _ => return Err(wrong(name, value, "newest or oldest")),
                }
            }
            "after" => self.after = Some(value.parse().map_err(|_| wrong(name, value, "what `next` of a page says"))?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                self.limit = limit.ok_or_else(|| wrong(name, value, &format!("1 to {MAX_LIMIT}")))?;
            }
            // What a page says of the action before.
            "done" | "n" => {}
            _ => return self.set_time(name, value, call.app.clock.now()),
        }
        Ok(())
    }

    fn set_time(&mut self, name: &str, value: &str, now: DateTime<Utc>) -> Result<(), Failure> {
        let JobFilter { created, due, finished, .. } = &mut self.filter;
        let (end, bound) = match name {
            "created_from" => (&mut created.from, Bound::Included as fn(_) -> _),
            "created_to" => (&mut created.to, Bound::Excluded as _),
            "due_from" => (&mut due.from, Bound::Included as _),
            "due_to" => (&mut due.to, Bound::Excluded as _),
            "finished_from" => (&mut finished.from, Bound::Included as _),
            "finished_to" => (&mut finished.to, Bound::Excluded as _),
            _ => {
                let known = NAMES.map(|(name, _)| name).join(", ");
                let detail = format!("no filter is called {}; there are {known}", shown(name));
                return Err(Failure::bad("unknown-filter", detail));
            }
        };
        let at = instant(value, now);
        let at = at.ok_or_else(|| wrong(name, value, "RFC 3339, a date, or a time ago: 15m, 2h, 7d"))?;
        *end = bound(at);
        Ok(())
    }

    fn set_arg(&mut self, call: &Call, text: &str) -> Result<(), Failure> {
        if !matches!(call.app.args, ArgsView::Shown) {
            let detail = "args are not shown here, so nobody can look for jobs by them";
            return Err(Failure::forbidden("args-hidden", detail));
        }
        let (path, value) = text.split_once('=').ok_or_else(|| wrong("arg", text, "path=value"))?;
        let value: serde_json::Value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        self.filter = std::mem::take(&mut self.filter).args(path.trim(), value);
        Ok(())
    }

    /// True if nothing was asked for, which means all jobs.
    pub(crate) fn is_all(&self) -> bool {
        self.filter == JobFilter::all()
    }

    /// The first value of a name, for a form.
    pub(crate) fn value(&self, name: &str) -> &str {
        crate::call::value(&self.pairs, name).unwrap_or("")
    }

    /// The query of the same filter, with these beside it.
    pub(crate) fn query(&self, beside: &[(&str, &str)]) -> String {
        let size = self.limit.to_string();
        let mut all: Vec<(&str, &str)> =
            self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if self.order == Order::OldestFirst {
            all.push(("order", "oldest"));
        }
        if self.limit != 50 {
            all.push(("limit", &size));
        }
        all.extend_from_slice(beside);
        query_of(all)
    }

    /// The query without one name, and with another value of it instead, if any.
    pub(crate) fn query_with(&self, name: &str, value: Option<&str>) -> String {
        let mut other = self.clone();
        other.pairs.retain(|(key, _)| key != name);
        other.pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        other.query(&[])
    }

    /// In words, for the log.
    pub(crate) fn words(&self) -> String {
        if self.is_all() { "all jobs".into() } else { self.query(&[]).trim_start_matches('?').into() }
    }
}

fn is_filter(name: &str) -> bool {
    NAMES.iter().any(|(known, _)| *known == name)
}

fn wrong(name: &str, value: &str, accepted: &str) -> Failure {
    Failure::bad("invalid-filter", format!("{name}: {} is not understood; use {accepted}", shown(value)))
}

/// An instant, a day of UTC, a minute of UTC, or a time ago.
fn instant(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    if let Ok(at) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M") {
        return Some(at.and_utc());
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(day.and_hms_opt(0, 0, 0)?.and_utc());
    }
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let count: i64 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    now.checked_sub_signed(TimeDelta::try_seconds(count.checked_mul(unit)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_instants_days_minutes_or_times_ago() {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let at = |text: &str| instant(text, now).map(|at| at.to_rfc3339());
        assert_eq!(at("15m").as_deref(), Some("2026-11-21T09:45:00+00:00"));
        assert_eq!(at("2026-11-20").as_deref(), Some("2026-11-20T00:00:00+00:00"));
        assert_eq!(at("2026-11-20T08:30").as_deref(), Some("2026-11-20T08:30:00+00:00"));
        assert_eq!(at("2026-11-20T08:30:00+02:00").as_deref(), Some("2026-11-20T06:30:00+00:00"));
        for text in ["", "m", "-5m", "5", "5 parsecs", "99999999999999999999d", "٣s", "ü", "yesterday"] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
