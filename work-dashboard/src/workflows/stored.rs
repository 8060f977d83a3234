//! What the jobs of a workflow carry: part of the stored format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use work_core::JobId;

/// A state as it is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Shape {
    /// Its name.
    pub state: String,
    /// True if items begin here.
    #[serde(default)]
    pub start: bool,
    /// True if items end here.
    #[serde(default)]
    pub terminal: bool,
    /// Where its items go.
    #[serde(default)]
    pub to: Vec<String>,
    /// Where items start that its handler makes.
    #[serde(default)]
    pub kicks: Vec<String>,
    /// Where items go that have failed for good.
    #[serde(default)]
    pub dead: Option<String>,
    /// How many attempts a step may have.
    #[serde(default = "most")]
    pub max_attempts: u32,
}

const fn most() -> u32 {
    work_core::DEFAULT_MAX_ATTEMPTS
}

impl Shape {
    pub(super) const fn unknown(state: String) -> Self {
        let max_attempts = most();
        Self { state, start: false, terminal: false, to: Vec::new(), kicks: Vec::new(), dead: None, max_attempts }
    }
}

/// The record of a run, and the notes of later code.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record<'r> {
    pub(super) run: String,
    #[serde(borrow)]
    pub(super) overall: &'r RawValue,
    #[serde(default)]
    pub(super) states: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) graph: Vec<Shape>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Paused {
    pub(super) run: String,
}

/// The args of a step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Step<'s> {
    pub(super) item: JobId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<JobId>,
    pub(super) step: u32,
    #[serde(borrow)]
    pub(super) context: &'s RawValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unless: Option<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<BTreeMap<String, Vec<String>>>,
}

/// The output of a step: where the item went, and if it ended there, with what.
#[derive(Debug, Deserialize)]
pub(super) struct Went<'w> {
    pub(super) to: &'w str,
    #[serde(borrow, default)]
    pub(super) context: Option<&'w RawValue>,
}
