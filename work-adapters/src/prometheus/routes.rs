use axum::Router;
use axum::http::header;
use axum::routing::get;

use super::Prometheus;

/// What the text of Prometheus is announced as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`, to be merged into the program's own routes. It asks nobody who they are: bind it to an address that only
/// Prometheus reaches, or put a layer around it.
///
/// ```
/// use work_adapters::{Prometheus, prometheus};
///
/// let app: axum::Router = axum::Router::new().merge(prometheus::routes(Prometheus::new()));
/// assert!(app.has_routes());
/// ```
pub fn routes<S>(prometheus: Prometheus) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    Router::new().route("/metrics", get(async move || ([(header::CONTENT_TYPE, CONTENT_TYPE)], prometheus.render())))
}
