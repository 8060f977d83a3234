//! The files of the pages, in the program itself.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::call::Call;
use crate::failure::Failure;

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/live.js");
const ICON: &str = include_str!("assets/icon.svg");

pub(crate) async fn style(_: Call) -> Result<Response, Failure> {
    Ok(file("text/css; charset=utf-8", STYLE))
}

pub(crate) async fn script(_: Call) -> Result<Response, Failure> {
    Ok(file("text/javascript; charset=utf-8", SCRIPT))
}

pub(crate) async fn icon(_: Call) -> Result<Response, Failure> {
    Ok(file("image/svg+xml", ICON))
}

/// The address has the version, so that a browser never keeps those of another one for long.
fn file(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=3600")], text).into_response()
}
