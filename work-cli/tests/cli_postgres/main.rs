//! The command on a real PostgreSQL server: the same tests as on files, and what only a server can have.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "../cli/agree.rs"]
mod agree;
#[path = "../cli/bulk.rs"]
mod bulk;
#[path = "../cli/calls.rs"]
mod calls;
#[path = "../cli/dashboard.rs"]
mod dashboard;
#[path = "../cli/every.rs"]
mod every;
#[path = "../cli/jobs.rs"]
mod jobs;
#[path = "../cli/operate.rs"]
mod operate;
#[path = "../cli/place.rs"]
mod place;
mod unusable;
#[path = "../cli/workflows.rs"]
mod workflows;

use place::Kind;

const KIND: Kind = Kind::Postgres;
