//! The files of the pages, in the program itself.

use std::sync::OnceLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

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

/// What the addresses of style and script end with: another one as soon as either is, so that no browser keeps an old one.
pub(crate) fn tag() -> &'static str {
    static TAG: OnceLock<String> = OnceLock::new();
    TAG.get_or_init(|| {
        let hash = Sha256::new().chain_update(STYLE).chain_update(SCRIPT).finalize();
        hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    })
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=3600")], text).into_response()
}
