//! The pages: HTML that needs no script to read and to act.

pub(crate) mod bulk;
mod chart;
pub(crate) mod dead;
pub(crate) mod edit;
mod graph;
pub(crate) mod job;
pub(crate) mod jobs;
mod json;
pub(crate) mod login;
pub(crate) mod overview;
mod parts;
pub(crate) mod queues;
pub(crate) mod schedules;
pub(crate) mod workers;
pub(crate) mod workflows;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use crate::access::Way;
use crate::assets::tag;
use crate::call::{Call, query_of};
use crate::failure::Failure;

pub(crate) type Answer = Result<Response, Failure>;

/// What is around each page.
#[derive(Clone)]
pub(crate) struct Frame {
    base: String,
    title: String,
    may_write: bool,
    may_read: bool,
    session: bool,
    form_token: String,
}

impl Frame {
    fn of(call: &Call) -> Self {
        Self {
            base: call.base.clone(),
            title: call.app.title.clone(),
            may_write: call.may_write(),
            may_read: call.identity.way != Way::None,
            session: call.identity.way == Way::Session,
            form_token: call.identity.form_token.clone(),
        }
    }

    fn link(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The field that shows that a form is ours.
    fn secret(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.form_token); }
    }

    /// A form of one button.
    fn button(&self, path: &str, label: &str, class: &str) -> Markup {
        html! {
            form method="post" action=(self.link(path)) class="inline" {
                (self.secret())
                button class=(class) { (label) }
            }
        }
    }
}

/// Where one is, for the navigation.
const PLACES: [(&str, &str); 7] = [
    ("/", "Overview"),
    ("/jobs", "Jobs"),
    ("/queues", "Queues"),
    ("/schedules", "Schedules"),
    ("/workers", "Workers"),
    ("/workflows", "Workflows"),
    ("/dead", "Dead letters"),
];

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn document(frame: &Frame, name: &str, here: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-base=(frame.base) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (name) " · " (frame.title) }
                link rel="stylesheet" href=(frame.link(&format!("/assets/style.css?v={}", tag())));
                link rel="icon" type="image/svg+xml" href=(frame.link("/assets/icon.svg"));
                @if frame.may_read { script src=(frame.link(&format!("/assets/live.js?v={}", tag()))) defer {} }
            }
            body {
                a.skip href="#content" { "Skip to content" }
                (header(frame, here))
                main id="content" tabindex="-1" { (content) }
                footer { span { "work " (VERSION) } @if !frame.may_write && frame.may_read { span.pill { "read-only" } } }
            }
        }
    }
}

fn header(frame: &Frame, here: &str) -> Markup {
    let root = if frame.base.is_empty() { "/" } else { frame.base.as_str() };
    let link = |path: &str| if path == "/" { root.to_owned() } else { frame.link(path) };
    html! {
        header.top {
            a.brand href=(root) { span.mark aria-hidden="true" { "w" } (frame.title) }
            @if frame.may_read {
                nav aria-label="Pages" {
                    @for (path, name) in PLACES {
                        a href=(link(path)) aria-current=[(path == here).then_some("page")] { (name) }
                    }
                }
                span.live id="live" role="status" hidden {}
                @if frame.session { (frame.button("/logout", "Log out", "quiet")) }
            }
        }
    }
}

/// A page as an answer.
fn page(call: &Call, name: &str, here: &str, content: &Markup) -> Answer {
    Ok(html_of(&document(&Frame::of(call), name, here, content)))
}

fn html_of(markup: &Markup) -> Response {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], markup.0.clone()).into_response()
}

/// To another page, after something was done.
fn to(call: &Call, path: &str) -> Answer {
    // Under a path of another program, that path has no slash at its end.
    let path = if path == "/" && !call.base.is_empty() { "" } else { path };
    Ok((StatusCode::SEE_OTHER, [(LOCATION, call.link(path))]).into_response())
}

/// To another page, which says what was done.
fn done(call: &Call, path: &str, what: &str) -> Answer {
    to(call, &format!("{path}{}", query_of([("done", what)])))
}

/// What was done before this page, by its code in the query: a text of ours, never one of the query.
fn notice(call: &Call) -> Markup {
    let count: u64 = crate::call::value(&call.query, "n").and_then(|n| n.parse().ok()).unwrap_or_default();
    let text = match crate::call::value(&call.query, "done").unwrap_or("") {
        "retry" => "The job will be tried again.",
        "run" => "The job is due now.",
        "cancel" => "The job is cancelled, or was asked to stop.",
        "delete" => "The job is deleted.",
        "edit" => "The arguments are changed.",
        "edit-retry" => "The arguments are changed, and the job will be tried again.",
        "pause" => "Paused.",
        "resume" => "At work again.",
        "nothing" => "Nothing had to be changed.",
        "run-cancel" => "The run has ended: what waited is cancelled, what runs is told to stop.",
        "ran" => "A job of the schedule was made.",
        "bulk" => return html! { p.notice role="status" { (parts::jobs(count)) " changed." } },
        _ => return html! {},
    };
    html! { p.notice role="status" { (text) } }
}

/// What is needed to say no, kept aside before a handler takes the call.
pub(crate) struct Refusal {
    frame: Frame,
    target: String,
    /// False for what no person reads.
    pub(crate) wants_page: bool,
}

impl Refusal {
    pub(crate) fn of(call: &Call) -> Self {
        let path = call.target.split('?').next().unwrap_or("");
        let json =
            call.header("accept").is_some_and(|accept| accept.contains("json") || accept.contains("event-stream"));
        let wants_page =
            !json && !["/livez", "/readyz", "/metrics", "/events"].contains(&path) && !path.starts_with("/assets/");
        Self { frame: Frame::of(call), target: call.target.clone(), wants_page }
    }

    pub(crate) fn page(&self, failure: &Failure) -> Response {
        let login = failure.status == StatusCode::UNAUTHORIZED || failure.status == StatusCode::TOO_MANY_REQUESTS;
        let content = if login {
            let wrong = (failure.code != "unauthorized").then_some(failure.detail.as_str());
            login::form(&self.frame, &self.target, wrong)
        } else {
            html! {
                section.card.narrow {
                    p.code { (failure.status.as_u16()) }
                    h1 { (failure.status.canonical_reason().unwrap_or("Error")) }
                    p { (failure.detail) }
                    p { a.button href=(self.frame.link("/jobs")) { "All jobs" } }
                }
            }
        };
        html_of(&document(&self.frame, if login { "Log in" } else { "Not done" }, "", &content))
    }
}
