//! What every request passes before a handler sees it, and what every answer gets on its way out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{OriginalUri, Request};
use axum::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, ORIGIN,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::access::{Right, Way, same_secret};
use crate::call::{Call, Pairs, value};
use crate::dashboard::App;
use crate::failure::{Failure, shown};
use crate::pages;
use crate::routes::{Found, Route, find};

/// The largest body, in bytes: args of 1 MiB, written as a form.
pub(crate) const MAX_BODY: usize = 2 * 1024 * 1024;

/// The longest path with its query, in bytes.
const MAX_URI: usize = 32 * 1024;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The cookie of a session.
pub(crate) const SESSION_COOKIE: &str = "work_session";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    // With `no-referrer`, browsers would send our own forms with `Origin: null`.
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Answers a request.
pub(crate) async fn answer(app: Arc<App>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let api = parts.uri.path().starts_with("/api/");
    let mut call = Call {
        identity: identify(&app, &parts.headers),
        base: app.base.clone().unwrap_or_else(|| base(&parts)),
        target: parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        params: Vec::new(),
        query: form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect(),
        body: Bytes::new(),
        headers: parts.headers.clone(),
        app,
    };
    let mut response = match let_in(&mut call, &parts, body).await {
        Ok(route) => {
            let refused = pages::Refusal::of(&call);
            match (route.run)(call).await {
                Ok(response) => response,
                Err(failure) => refusal(&failure, api, &refused),
            }
        }
        Err(failure) => refusal(&failure, api, &pages::Refusal::of(&call)),
    };
    let headers = response.headers_mut();
    for (name, text) in HEADERS {
        headers.insert(name, HeaderValue::from_static(text));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The route, if the request may have it. The order is that of what tells a stranger least.
async fn let_in(call: &mut Call, parts: &request::Parts, body: Body) -> Result<&'static Route, Failure> {
    check_host(call, parts)?;
    if call.target.len() > MAX_URI {
        return Err(Failure::new(StatusCode::URI_TOO_LONG, "uri-too-long", format!("at most {MAX_URI} bytes")));
    }
    let route = match find(&parts.method, parts.uri.path()) {
        Found::Route(route, params) => {
            call.params = params;
            route
        }
        // Also of these, nobody learns who may not.
        other => {
            authorize(call, Right::Read)?;
            return Err(other.failure());
        }
    };
    authorize(call, route.needs)?;
    check_site(call, parts, route)?;
    if route.method == "GET" {
        return Ok(route);
    }
    call.body = read(&parts.headers, body).await?;
    check_form(call, route)?;
    Ok(route)
}

fn identify(app: &App, headers: &HeaderMap) -> crate::access::Identity {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let session = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .find_map(|cookie| cookie.trim().strip_prefix(SESSION_COOKIE)?.strip_prefix('='));
    app.access.identify(text(AUTHORIZATION), session)
}

/// What axum took from the front of the path.
fn base(parts: &request::Parts) -> String {
    let Some(OriginalUri(original)) = parts.extensions.get::<OriginalUri>() else { return String::new() };
    let base = original.path().strip_suffix(parts.uri.path()).unwrap_or(original.path());
    base.trim_end_matches('/').to_owned()
}

/// A name that points here only because somebody made it so is refused; an address is no name.
fn check_host(call: &Call, parts: &request::Parts) -> Result<(), Failure> {
    let given = host(parts).unwrap_or_default();
    let name = name_of(given);
    let fine = name == "localhost"
        || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
        || call.app.hosts.contains(&name);
    let detail = || format!("Host {} is not answered here; the program has to allow it", shown(given));
    if fine { Ok(()) } else { Err(Failure::new(StatusCode::MISDIRECTED_REQUEST, "host", detail())) }
}

fn host(parts: &request::Parts) -> Option<&str> {
    let header = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str))
}

/// Without the port.
fn name_of(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.to_ascii_lowercase()
}

fn authorize(call: &Call, needs: Right) -> Result<(), Failure> {
    if call.identity.right >= needs {
        return Ok(());
    }
    if call.identity.right == Right::Nobody {
        if call.headers.contains_key(AUTHORIZATION) {
            failed_login(call)?;
        }
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", "A token is needed, and it must be right."));
    }
    call.audit("refused", &call.target, "the right to act is needed");
    Err(Failure::forbidden("read-only", "This token may look, but not act. Use the one that may."))
}

/// Notes a wrong token, and refuses to say more if there are too many.
pub(crate) fn failed_login(call: &Call) -> Result<(), Failure> {
    if !call.app.access.note_failure() {
        let detail = "Too many wrong tokens. Wait a second.";
        return Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, "too-many-failures", detail));
    }
    call.audit("login", "", "wrong token");
    Ok(())
}

/// Refuses what another site made a browser send.
fn check_site(call: &Call, parts: &request::Parts, route: &Route) -> Result<(), Failure> {
    let refuse = || {
        call.audit("refused", &call.target, "it came from another site");
        Err(Failure::forbidden("cross-site", "This came from another site, so nothing was done."))
    };
    let site = call.header("sec-fetch-site");
    let acts = route.method != "GET";
    // Following a link to a page is fine; reading data from elsewhere is not.
    let navigates = !acts && !route.path.starts_with("/api/") && route.path != "/events";
    match site {
        None | Some("same-origin" | "none") => {}
        Some(_) if navigates => {}
        Some(_) => return refuse(),
    }
    let Some(origin) = parts.headers.get(ORIGIN).filter(|_| !navigates) else { return Ok(()) };
    // No page can forge the other header, and a proxy may have set a policy by which browsers do not tell the origin.
    if origin == "null" && site == Some("same-origin") {
        return Ok(());
    }
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let same = authority.is_some_and(|from| {
        host(parts).is_some_and(|host| host.eq_ignore_ascii_case(from)) || call.app.hosts.contains(&name_of(from))
    });
    if same { Ok(()) } else { refuse() }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
    if headers.contains_key(CONTENT_ENCODING) {
        let detail = "compressed bodies are not accepted";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", detail));
    }
    match tokio::time::timeout(BODY_TIME, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            let detail = format!("the body is larger than {MAX_BODY} bytes, or broke off");
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail))
        }
        Err(_) => Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "the body took too long")),
    }
}

/// A form carries a secret that only our pages have; a call of the API has a type that no form can have.
fn check_form(call: &Call, route: &Route) -> Result<(), Failure> {
    let kind = call.header(CONTENT_TYPE.as_str()).unwrap_or("").split(';').next().unwrap_or("").trim();
    let is = |wanted: &str| kind.eq_ignore_ascii_case(wanted);
    let unsupported = |wanted: &str| {
        let detail = format!("the Content-Type has to be {wanted}");
        Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail))
    };
    let bearer = call.identity.way == Way::Bearer;
    if route.path.starts_with("/api/") {
        let fine = is("application/json") || (bearer && kind.is_empty() && call.body.is_empty());
        return if fine { Ok(()) } else { unsupported("application/json") };
    }
    let fine = is("application/x-www-form-urlencoded") || (bearer && call.body.is_empty());
    if !fine {
        return unsupported("application/x-www-form-urlencoded");
    }
    let form: Pairs = call.form();
    let given = value(&form, "csrf").unwrap_or("");
    if bearer || route.needs == Right::Nobody || same_secret(&call.identity.form_token, given) {
        return Ok(());
    }
    call.audit("refused", &call.target, "the form had no secret of ours");
    Err(Failure::forbidden("csrf", "This form is too old, or not ours. Load the page again, and repeat what you did."))
}

/// A failure as a page, or as `application/problem+json`.
fn refusal(failure: &Failure, api: bool, refused: &pages::Refusal) -> Response {
    let mut response = if api || !refused.wants_page {
        let reason = failure.status.canonical_reason().unwrap_or("Error");
        let problem = serde_json::json!({
            "type": "about:blank", "title": reason, "status": failure.status.as_u16(),
            "code": failure.code, "detail": failure.detail,
        });
        ([(CONTENT_TYPE, "application/problem+json")], problem.to_string()).into_response()
    } else {
        refused.page(failure).into_response()
    };
    *response.status_mut() = failure.status;
    if failure.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"work\""));
    }
    if let Some(allow) = failure.allow.as_deref().and_then(|allow| allow.parse().ok()) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

/// HEAD is GET without a body, which the server leaves out.
pub(crate) fn as_routed(method: &Method) -> &str {
    if method == Method::HEAD { "GET" } else { method.as_str() }
}
