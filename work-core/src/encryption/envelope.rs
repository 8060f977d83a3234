use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::JobId;

/// How something encrypted is stored: JSON, so that it can stand wherever JSON can, and says what it is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Envelope {
    #[serde(rename = "$enc")]
    version: String,
    key: String,
    /// What it belongs to, if not to one job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<Shared>,
    data: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shared {
    Unique,
    Schedule,
}

/// What is encrypted, and what it belongs to: moved elsewhere, it does not open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'s> {
    pub(super) what: &'s str,
    pub(super) of: Owner<'s>,
    pub(super) kind: &'s str,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'s> {
    Job(JobId),
    /// All jobs with this key, since a later one may replace the arguments of the first.
    Unique(&'s str),
    /// All jobs that a schedule makes.
    Schedule(&'s str),
}

/// Why something is not to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum CannotOpen {
    #[error("encrypted with the key {}, which this process does not have", crate::shown(.name))]
    NoKey { name: String },
    #[error(
        "what is encrypted with the key {} does not open: it was changed, or is that of another job, or the key is another one",
        crate::shown(.name)
    )]
    Changed { name: String },
}

/// The bytes of a nonce: so many that they can be random.
pub(super) const NONCE: usize = 24;

const VERSION: &str = "v1";

impl Envelope {
    pub(super) fn of(key: &str, subject: &Subject<'_>, nonce: &[u8; NONCE], text: &[u8]) -> Self {
        let of = match subject.of {
            Owner::Job(_) => None,
            Owner::Unique(_) => Some(Shared::Unique),
            Owner::Schedule(_) => Some(Shared::Schedule),
        };
        let data = STANDARD.encode([nonce, text].concat());
        Self { version: VERSION.to_owned(), key: key.to_owned(), of, data }
    }

    /// What is not encrypted is none.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        let start = json.trim_ascii_start();
        // Most of what is no envelope is not looked at further.
        let may_be = start.starts_with(b"{") && start[..start.len().min(80)].windows(6).any(|part| part == b"\"$enc\"");
        let envelope: Self = if may_be { serde_json::from_slice(json).ok()? } else { return None };
        (envelope.version == VERSION).then_some(envelope)
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) const fn shared(&self) -> Option<Shared> {
        self.of
    }

    /// The nonce and the rest.
    pub(super) fn parts(&self) -> Option<([u8; NONCE], Vec<u8>)> {
        let data = STANDARD.decode(&self.data).ok()?;
        let (nonce, text) = data.split_first_chunk()?;
        Some((*nonce, text.to_vec()))
    }
}

impl Subject<'_> {
    /// Each part with its length, so that no two subjects are the same bytes.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let id;
        let (owner, name): (&str, &[u8]) = match self.of {
            Owner::Job(job) => {
                id = *job.as_uuid().as_bytes();
                ("job", &id)
            }
            Owner::Unique(key) => ("unique", key.as_bytes()),
            Owner::Schedule(name) => ("schedule", name.as_bytes()),
        };
        let parts: [&[u8]; 5] = [b"work", self.what.as_bytes(), owner.as_bytes(), name, self.kind.as_bytes()];
        parts.into_iter().flat_map(|part| [&(part.len() as u64).to_le_bytes(), part].concat()).collect()
    }
}
