//! The one table of all routes: the router, the document of the API and the tests are made from it.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures_util::future::BoxFuture;
use percent_encoding::percent_decode_str;

use crate::access::Right;
use crate::actions::{Act, Pause};
use crate::call::Call;
use crate::dashboard::App;
use crate::failure::Failure;
use crate::guard::{answer, as_routed};
use crate::{api, assets, live, pages};

type Run = fn(Call) -> BoxFuture<'static, Result<Response, Failure>>;

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// A part in braces stands for anything.
    pub(crate) path: &'static str,
    pub(crate) needs: Right,
    pub(crate) about: &'static str,
    pub(crate) run: Run,
}

/// Behind the name of a function that does several things stands in brackets which of them is meant.
macro_rules! routes {
    ($($method:ident $path:literal $needs:ident $about:literal => $($run:ident)::+ $(($what:expr))?;)+) => {
        /// Every route. Of two that fit, the first one is meant.
        pub(crate) const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            needs: Right::$needs,
            about: $about,
            run: |call| Box::pin($($run)::+(call $(, $what)?)),
        }),+];
    };
}

routes! {
    GET "/livez" Nobody "Whether the process answers." => api::livez;
    GET "/readyz" Nobody "Whether the store answers." => api::readyz;
    GET "/metrics" Read "What is in the store, for Prometheus." => api::metrics::metrics;
    GET "/assets/style.css" Nobody "How the pages look." => assets::style;
    GET "/assets/live.js" Nobody "What keeps the pages up to date." => assets::script;
    GET "/assets/icon.svg" Nobody "The sign of the pages." => assets::icon;
    GET "/login" Nobody "Asks for a token." => pages::login::show;
    POST "/login" Nobody "Begins a session." => pages::login::enter;
    POST "/logout" Read "Ends the session." => pages::login::leave;
    GET "/" Read "Overview." => pages::overview::show;
    GET "/events" Read "Server-sent events: something changed." => live::events;
    GET "/jobs" Read "Jobs of a filter." => pages::jobs::list;
    GET "/jobs/bulk" Read "Asks before many jobs are changed." => pages::bulk::ask;
    POST "/jobs/bulk" Write "Changes many jobs." => pages::bulk::act;
    GET "/jobs/{id}" Read "One job." => pages::job::show;
    GET "/jobs/{id}/edit" Write "Asks for other arguments." => pages::edit::ask;
    POST "/jobs/{id}/edit" Write "Gives a job other arguments, and retries it." => pages::edit::act;
    POST "/jobs/{id}/retry" Write "Retries a job." => pages::job::act(Act::Retry);
    POST "/jobs/{id}/run" Write "Makes a job due now." => pages::job::act(Act::Run);
    POST "/jobs/{id}/cancel" Write "Cancels a job." => pages::job::act(Act::Cancel);
    POST "/jobs/{id}/delete" Write "Deletes a job." => pages::job::act(Act::Delete);
    GET "/queues" Read "Queues." => pages::queues::list;
    POST "/queues/{queue}/pause" Write "Pauses a queue." => pages::queues::pause(Pause::Pause);
    POST "/queues/{queue}/resume" Write "Resumes a queue." => pages::queues::pause(Pause::Resume);
    GET "/schedules" Read "Schedules." => pages::schedules::list;
    POST "/schedules/{name}/run" Write "Makes a job of a schedule now." => pages::schedules::run;
    POST "/schedules/{name}/pause" Write "Pauses a schedule." => pages::schedules::pause(Pause::Pause);
    POST "/schedules/{name}/resume" Write "Resumes a schedule." => pages::schedules::pause(Pause::Resume);
    GET "/workers" Read "Workers." => pages::workers::list;
    GET "/workflows" Read "Runs of workflows." => pages::workflows::list;
    GET "/workflows/{run}" Read "One run: its graph, and where its items are." => pages::workflows::show;
    POST "/workflows/{run}/pause" Write "Starts no more items of a run." => pages::workflows::pause(Pause::Pause);
    POST "/workflows/{run}/resume" Write "Lets a paused run go on." => pages::workflows::pause(Pause::Resume);
    POST "/workflows/{run}/cancel" Write "Ends a run." => pages::workflows::cancel;
    GET "/dead" Read "Dead letters by error." => pages::dead::list;
    GET "/api/v1/openapi.json" Read "This document." => api::openapi::document;
    GET "/api/v1/overview" Read "Counts, throughput and times." => api::overview;
    GET "/api/v1/jobs" Read "A page of the jobs of a filter." => api::jobs::list;
    GET "/api/v1/jobs/count" Read "How many jobs of a filter there are." => api::jobs::count;
    POST "/api/v1/jobs/bulk" Write "Changes the jobs of a filter." => api::jobs::bulk;
    GET "/api/v1/jobs/{id}" Read "One job." => api::jobs::get;
    DELETE "/api/v1/jobs/{id}" Write "Deletes a job that does not run." => api::jobs::act(Act::Delete);
    POST "/api/v1/jobs/{id}/retry" Write "Retries a dead letter or a cancelled job." => api::jobs::act(Act::Retry);
    POST "/api/v1/jobs/{id}/run" Write "Makes a job that waits due now." => api::jobs::act(Act::Run);
    POST "/api/v1/jobs/{id}/cancel" Write "Cancels a job, or asks it to stop." => api::jobs::act(Act::Cancel);
    PUT "/api/v1/jobs/{id}/args" Write "Gives a job that does not run other arguments." => api::jobs::edit;
    GET "/api/v1/queues" Read "All queues." => api::queues;
    POST "/api/v1/queues/{queue}/pause" Write "Pauses a queue." => api::pause_queue(Pause::Pause);
    POST "/api/v1/queues/{queue}/resume" Write "Resumes a queue." => api::pause_queue(Pause::Resume);
    GET "/api/v1/schedules" Read "All schedules." => api::schedules;
    POST "/api/v1/schedules/{name}/run" Write "Makes a job of a schedule now." => api::run_schedule;
    POST "/api/v1/schedules/{name}/pause" Write "Pauses a schedule." => api::pause_schedule(Pause::Pause);
    POST "/api/v1/schedules/{name}/resume" Write "Resumes a schedule." => api::pause_schedule(Pause::Resume);
    GET "/api/v1/workers" Read "Workers that were heard of lately." => api::workers;
    GET "/api/v1/workflows" Read "Runs of workflows, at most 200 of each." => api::workflows::list;
    GET "/api/v1/workflows/{run}" Read "One run: its states, and where its items are." => api::workflows::get;
    POST "/api/v1/workflows/{run}/pause" Write "Starts no more items of a run." => api::workflows::pause(Pause::Pause);
    POST "/api/v1/workflows/{run}/resume" Write "Lets a paused run go on." => api::workflows::pause(Pause::Resume);
    POST "/api/v1/workflows/{run}/cancel" Write "Ends a run: what waits is cancelled." => api::workflows::cancel;
    GET "/api/v1/dead-letters" Read "Dead letters by error." => api::dead_letters;
}

/// What a route needs, for [`routes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Needs {
    /// Nothing: what has no secret and changes nothing, and logging in.
    Nothing,
    /// Either token, if there are tokens.
    Reading,
    /// The full token, if there are tokens.
    Acting,
}

/// Every route of a dashboard: its method, its path with `{name}` for what varies, and what it needs. For rules of a proxy.
///
/// ```
/// let mut acting = work_dashboard::routes().filter(|(_, _, needs)| *needs == work_dashboard::Needs::Acting);
/// assert!(acting.all(|(method, path, _)| method != "GET" || path.ends_with("/edit")));
/// ```
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str, Needs)> {
    ROUTES.iter().map(|route| {
        let needs = match route.needs {
            Right::Nobody => Needs::Nothing,
            Right::Read => Needs::Reading,
            Right::Write => Needs::Acting,
        };
        (route.method, route.path, needs)
    })
}

/// Everything goes one way, so that nothing goes past the checks.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let app = Arc::clone(app);
    let all = move |request: Request| answer(Arc::clone(&app), request);
    let any = axum::routing::any(all.clone());
    Router::new().route("/", any.clone()).route("/{*path}", any).fallback(all)
}

/// What a method and a path lead to.
pub(crate) enum Found {
    Route(&'static Route, Vec<String>),
    /// The path has other methods.
    Methods(Vec<&'static str>),
    Nothing,
}

impl Found {
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::Methods(methods) => {
                let allow = methods.join(", ");
                let detail = format!("this address has {allow} only");
                let status = StatusCode::METHOD_NOT_ALLOWED;
                Failure { allow: Some(allow), ..Failure::new(status, "method", detail) }
            }
            Self::Route(..) | Self::Nothing => Failure::not_found("There is nothing at this address."),
        }
    }
}

pub(crate) fn find(method: &Method, path: &str) -> Found {
    let method = as_routed(method);
    // The first path that fits is meant, with its methods only.
    let meant = ROUTES.iter().find_map(|route| fit(route.path, path).map(|params| (route.path, params)));
    let Some((pattern, params)) = meant else { return Found::Nothing };
    let mut methods = Vec::new();
    for route in ROUTES.iter().filter(|route| route.path == pattern) {
        if route.method == method {
            return Found::Route(route, params);
        }
        methods.push(route.method);
    }
    Found::Methods(methods)
}

/// The values of a path's braces. Parts are told apart before they are decoded, so a value may have any signs.
fn fit(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut params = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(params),
            (Some(name), Some(part)) if name.starts_with('{') => {
                let value = percent_decode_str(part).decode_utf8().ok()?;
                if value.is_empty() {
                    return None;
                }
                params.push(value.into_owned());
            }
            (Some(name), Some(part)) if name == part => {}
            _ => return None,
        }
    }
}
