//! A session by a token.

use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use maud::{Markup, html};

use super::{Answer, Frame, document, html_of, to};
use crate::access::{Right, SESSION};
use crate::call::{Call, value};
use crate::failure::Failure;
use crate::guard::{SESSION_COOKIE, failed_login};

pub(super) fn form(frame: &Frame, next: &str, wrong: Option<&str>) -> Markup {
    html! {
        section.card.narrow {
            h1 { "Log in" }
            p.dim { "This dashboard asks for a token. Whoever runs the program has it." }
            @if let Some(wrong) = wrong { p.notice.bad role="alert" { (wrong) } }
            form.stack method="post" action=(frame.link("/login")) {
                input type="hidden" name="next" value=(next);
                label for="token" { "Token" }
                input id="token" name="token" type="password" autocomplete="current-password" required autofocus;
                button.primary { "Log in" }
            }
        }
    }
}

pub(crate) async fn show(call: Call) -> Answer {
    if !call.app.access.is_locked() {
        return to(&call, "/jobs");
    }
    let frame = Frame::of(&call);
    Ok(html_of(&document(&frame, "Log in", "", &form(&frame, "/", None))))
}

pub(crate) async fn enter(call: Call) -> Answer {
    let fields = call.form();
    let token = value(&fields, "token").unwrap_or("").trim().to_owned();
    let right = call.app.access.right_of(&token);
    if right == Right::Nobody {
        failed_login(&call)?;
        let detail = "This token is not right.";
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "wrong-token", detail));
    }
    let session = call.app.access.begin(right);
    call.audit("login", if right == Right::Write { "token" } else { "read-only token" }, "done");
    // Only to a place of ours: `//host` and `/\host` are others.
    let next = value(&fields, "next").filter(|next| {
        let rest = next.strip_prefix('/');
        rest.is_some_and(|rest| !rest.starts_with(['/', '\\'])) && !next.chars().any(char::is_control)
    });
    let mut response = to(&call, next.unwrap_or("/jobs"))?;
    set_cookie(&call, &mut response, &session, SESSION.as_secs());
    Ok(response)
}

pub(crate) async fn leave(call: Call) -> Answer {
    let cookies = call.header("cookie").unwrap_or("");
    let name = format!("{SESSION_COOKIE}=");
    if let Some(session) = cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(&name)) {
        call.app.access.end(session);
    }
    call.audit("logout", "", "done");
    let mut response = to(&call, "/login")?;
    set_cookie(&call, &mut response, "", 0);
    Ok(response)
}

fn set_cookie(call: &Call, response: &mut Response, session: &str, seconds: u64) {
    let path = if call.base.is_empty() { "/" } else { call.base.as_str() };
    let secure = if call.app.secure { "; Secure" } else { "" };
    let cookie =
        format!("{SESSION_COOKIE}={session}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
}
