//! Tells open pages that something changed; they load themselves again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;

use crate::call::Call;
use crate::dashboard::{App, MAX_LIVE};
use crate::failure::Failure;
use crate::snapshot::{FRESH, snapshot};

struct Watch {
    app: Arc<App>,
    seen: String,
    first: bool,
    _permit: OwnedSemaphorePermit,
}

/// Events with what is equal as long as nothing changed. Numbers are read once for all who watch, and only while somebody
/// does; nothing is kept for a browser that does not read.
pub(crate) async fn events(call: Call) -> Result<Response, Failure> {
    let full = |_| {
        let detail = format!("{MAX_LIVE} pages are kept up to date already; load this one again by hand");
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-live", detail)
    };
    let permit = Arc::clone(&call.app.live).try_acquire_owned().map_err(full)?;
    let watch = Watch { app: call.app, seen: String::new(), first: true, _permit: permit };
    let events = stream::unfold(watch, |mut watch| async move {
        let version = next_version(&mut watch).await;
        Some((Ok::<_, Infallible>(Event::default().event("changed").data(version)), watch))
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

async fn next_version(watch: &mut Watch) -> String {
    loop {
        if !std::mem::take(&mut watch.first) {
            tokio::time::sleep(FRESH).await;
        }
        // While the store does not answer, nothing is said; pages that are loaded say why.
        let Ok(snapshot) = snapshot(&watch.app).await else { continue };
        let version = snapshot.version();
        if version != watch.seen {
            watch.seen.clone_from(&version);
            return version;
        }
    }
}
