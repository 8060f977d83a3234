use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Checks;

/// Serves `GET /ready` and `GET /livez`: 200 `OK` if all checks are well, else 503 `DOWN`.
///
/// 503 is what load balancers and orchestrators take as "not now". With `?verbose` each check has a line before that,
/// `[+]name ok` or `[-]name failed`. `/livez` without checks of its own is 200 as long as the process answers. A
/// [`Health`](super::Health) alone is the check `jobs`.
///
/// ```
/// use tower::ServiceExt;
/// use work_adapters::{Health, health};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let routes = health::routes(Health::default());
/// let request = axum::http::Request::get("/ready").body(axum::body::Body::empty())?;
/// assert_eq!(routes.oneshot(request).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
pub fn routes(checks: impl Into<Checks>) -> Router {
    let checks = Arc::new(checks.into());
    let ready = checks.clone();
    Router::new()
        .route("/ready", get(async move |RawQuery(query)| answer(ready.ready(), query.as_deref())))
        .route("/livez", get(async move |RawQuery(query)| answer(checks.live(), query.as_deref())))
}

fn answer<'c>(checks: impl Iterator<Item = (&'c str, bool)>, query: Option<&str>) -> Response {
    let (mut text, mut up) = (String::new(), true);
    for (name, ok) in checks {
        up &= ok;
        let (sign, word) = if ok { ('+', "ok") } else { ('-', "failed") };
        // Writing to a string does not fail.
        _ = writeln!(text, "[{sign}]{name} {word}");
    }
    if !is_verbose(query) {
        text.clear();
    }
    let (status, word) = if up { (StatusCode::OK, "OK") } else { (StatusCode::SERVICE_UNAVAILABLE, "DOWN") };
    text.push_str(word);
    (status, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}

fn is_verbose(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("verbose")))
}
