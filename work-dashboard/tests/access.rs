//! Who gets in, on every route there is.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod common;

use axum::body::Body;
use axum::http::StatusCode;
use common::{READER, TOKEN, locked, open, request, site};
use std::sync::Arc;
use work_core::Job;
use work_core::store::MemoryStore;
use work_dashboard::{BuildError, Dashboard, Needs, ServeError, routes};

fn concrete(path: &str, id: &str) -> String {
    path.replace("{id}", id).replace("{queue}", "default").replace("{name}", "nightly").replace("{run}", "pages.monday")
}

/// The content type that the route takes.
fn kind(path: &str) -> &'static str {
    if path.starts_with("/api/") { "application/json" } else { "application/x-www-form-urlencoded" }
}

#[tokio::test(start_paused = true)]
async fn every_route_asks_for_what_it_needs() {
    for (method, path, needs) in routes() {
        for (token, right) in [(None, 0), (Some("a-wrong-token-of-somebody"), 0), (Some(READER), 1), (Some(TOKEN), 2)] {
            let site = locked();
            let id = site.keep(Job::new("k", serde_json::json!({}))).await.to_string();
            let mut request = request(method, &concrete(path, &id)).header("content-type", kind(path));
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let answer = site.send(request.body(Body::empty()).unwrap()).await;
            let enough = right >= needs as u8;
            let case = format!("{method} {path} with {token:?}: {}", answer.status);
            assert!(!answer.status.is_server_error(), "{case}");
            let refused = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if path == "/login" {
                continue;
            }
            assert_eq!(refused, !enough, "{case}");
            if !enough && right == 0 {
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{case}");
                assert!(answer.header("www-authenticate").starts_with("Bearer"), "{case}");
            } else if !enough {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{case}");
            }
            assert!(answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
            for (name, value) in [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")] {
                assert_eq!(answer.header(name), value, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn no_get_needs_the_right_to_act_but_the_form_of_the_args() {
    for (method, path, needs) in routes() {
        assert_eq!(needs == Needs::Acting && method == "GET", path == "/jobs/{id}/edit" && method == "GET", "{path}");
        // What changes something is refused for everybody without the secret, and by any other method.
        if needs == Needs::Acting && method != "GET" {
            let site = open();
            let id = site.dead(Job::new("k", serde_json::json!({})), "e").await.to_string();
            let path = concrete(path, &id);
            let request = request(method, &path).header("content-type", "application/x-www-form-urlencoded");
            let answer = site.send(request.body(Body::from("csrf=&action=delete&all=1&max=9")).unwrap()).await;
            let refused = [StatusCode::FORBIDDEN, StatusCode::UNSUPPORTED_MEDIA_TYPE].contains(&answer.status);
            assert!(refused, "{method} {path}: {}", answer.status);
            assert!(site.store.get(id.parse().unwrap()).await.unwrap().is_some());
        }
    }
}

#[tokio::test]
async fn what_another_site_sends_is_refused() {
    let site = open();
    let id = site.dead(Job::new("k", serde_json::json!({})), "e").await;
    let secret = site.secret().await;
    let post = |name: &'static str, value: &'static str| {
        let form = "application/x-www-form-urlencoded";
        let request = request("POST", &format!("/jobs/{id}/delete")).header("content-type", form).header(name, value);
        request.body(Body::from(format!("csrf={secret}"))).unwrap()
    };
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:9999"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = site.send(post(name, value)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    let json = request("POST", &format!("/api/v1/jobs/{id}/retry")).header("content-type", "text/plain");
    assert_eq!(site.send(json.body(Body::from("{}")).unwrap()).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let events = request("GET", "/events").header("sec-fetch-site", "cross-site").body(Body::empty()).unwrap();
    assert_eq!(site.send(events).await.status, StatusCode::FORBIDDEN);
    assert!(site.state(id).await.is_some(), "nothing was deleted");
    let answer = site.send(post("origin", "http://localhost:8080")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    assert_eq!(site.state(id).await, None);
}

#[tokio::test]
async fn a_name_that_somebody_made_point_here_is_refused() {
    let site = site(Arc::new(MemoryStore::new()), |builder| builder.host("Jobs.example.org"));
    for (host, status) in [
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("", 421),
        ("localhost", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("jobs.example.org", 200),
        ("JOBS.example.org:443", 200),
    ] {
        let request = axum::http::Request::builder().uri("/queues").header("host", host);
        let answer = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{host:?}");
    }
}

#[tokio::test]
async fn a_session_acts_only_with_its_own_secret() {
    let site = locked();
    let id = site.dead(Job::new("k", serde_json::json!({})), "e").await;
    let form = "application/x-www-form-urlencoded";
    let login_to = |token: &str, next: &str| {
        let body = format!("token={token}&next={next}");
        request("POST", "/login").header("content-type", form).body(Body::from(body)).unwrap()
    };
    for (next, to) in [("/jobs?state=running", "/jobs?state=running"), ("/login", "/"), ("/jobs/x/retry", "/")] {
        assert_eq!(site.send(login_to(TOKEN, next)).await.header("location"), to, "{next}");
    }
    let login = |token: &str| login_to(token, "//evil.example");
    assert_eq!(site.send(login("wrong-wrong-wrong-wrong")).await.status, StatusCode::UNAUTHORIZED);
    let answer = site.send(login(TOKEN)).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"));
    let cookie = answer.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert!(!cookie.contains(TOKEN));
    let get = request("GET", &format!("/jobs/{id}")).header("cookie", &cookie).body(Body::empty()).unwrap();
    let page = site.send(get).await.text;
    let secret = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let act = |secret: &str| {
        let request = request("POST", &format!("/jobs/{id}/retry")).header("content-type", form);
        request.header("cookie", &cookie).body(Body::from(format!("csrf={secret}"))).unwrap()
    };
    assert_eq!(site.send(act("another-secret")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(site.send(act(&secret)).await.status, StatusCode::SEE_OTHER);
    let out = request("POST", "/logout").header("content-type", form).header("cookie", &cookie);
    site.send(out.body(Body::from(format!("csrf={secret}"))).unwrap()).await;
    assert_eq!(site.send(act(&secret)).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_become_too_many_and_right_ones_do_not() {
    let site = locked();
    let with = |token: &str| {
        let request = request("GET", "/api/v1/queues").header("authorization", format!("Bearer {token}"));
        request.body(Body::empty()).unwrap()
    };
    let mut last = StatusCode::OK;
    for _ in 0..12 {
        last = site.send(with("wrong")).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(site.send(with(TOKEN)).await.status, StatusCode::OK);
    assert_eq!(site.send(with("")).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn no_other_machine_is_let_in_without_a_token() {
    let builder = || Dashboard::builder(Arc::new(MemoryStore::new()));
    let open = builder().build().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let refused = open.bind(address.parse().unwrap()).await;
        assert!(matches!(refused, Err(ServeError::Open { .. })), "{address}");
    }
    let taken = open.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    assert!(matches!(open.bind(taken.address()).await, Err(ServeError::InUse { .. })));
    assert!(builder().token(TOKEN).build().unwrap().bind("0.0.0.0:0".parse().unwrap()).await.is_ok());
    let refused = |builder: work_dashboard::DashboardBuilder| builder.build().unwrap_err();
    assert_eq!(refused(builder().token(" \n")), BuildError::TokenEmpty { which: "full" });
    assert_eq!(refused(builder().token("short")), BuildError::TokenTooShort { which: "full", given: 5 });
    assert_eq!(refused(builder().token("with a space in between")), BuildError::TokenSigns { which: "full" });
    assert_eq!(refused(builder().token(TOKEN).read_only_token(TOKEN)), BuildError::TokensEqual);
    assert!(matches!(refused(builder().host("a/b")), BuildError::Host { .. }));
    for path in ["jobs", "/a//b", "/a?b", "//evil.example", "/.."] {
        assert!(matches!(refused(builder().base_path(path)), BuildError::BasePath { .. }), "{path}");
    }
}
