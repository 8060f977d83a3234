use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::envelope::{CannotOpen, Envelope, NONCE, Subject};
use crate::{StoreError, Unique};

/// The keys of an [`EncryptedStore`](super::EncryptedStore): one that writes, and all that read.
///
/// To replace a key, first give every process the new one to [read](Self::reads) with, then let it
/// [write](Self::writes). The old one stays until no job is left that it wrote; the job of a schedule is written anew when
/// the schedule is.
///
/// ```
/// use work_core::encryption::Keys;
///
/// let keys = Keys::new("2025", [1; 32])?;
/// let everywhere_first = keys.clone().reads("2026", [2; 32])?;
/// let then = keys.writes("2026", [2; 32])?;
/// assert_eq!((everywhere_first.writing(), then.writing()), ("2025", "2026"));
/// # Ok::<(), work_core::encryption::InvalidKey>(())
/// ```
#[derive(Clone)]
pub struct Keys {
    ciphers: BTreeMap<String, XChaCha20Poly1305>,
    writes: String,
    /// For unique keys.
    index: Hmac<Sha256>,
    pub(super) errors: Errors,
}

/// Whether what went wrong is encrypted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errors {
    Sealed,
    Clear,
}

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// Its name is none.
    #[error("invalid name of a key {given:?}; use 1 to 32 of A-Z a-z 0-9 _ - .")]
    Name {
        /// The name that was given.
        given: String,
    },
    /// There is another key of that name.
    #[error("there are two keys of the name {given:?}: give each a name of its own")]
    Twice {
        /// The name that was given.
        given: String,
    },
}

/// How a unique key begins that was made from another one.
const HASHED: &str = "work:mac:";

impl Keys {
    /// The first key, which reads and writes. Its name is stored with everything that it writes. Hashes of unique keys are
    /// made with a key that is derived from it, also when others write later.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] if the name is none.
    pub fn new(name: impl Into<String>, key: [u8; 32]) -> Result<Self, InvalidKey> {
        let keys = Self { ciphers: BTreeMap::new(), writes: String::new(), index: index(&key), errors: Errors::Sealed };
        keys.writes(name, key)
    }

    /// Another key that reads.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] if the name is none, or there is a key of that name.
    pub fn reads(mut self, name: impl Into<String>, key: [u8; 32]) -> Result<Self, InvalidKey> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > 32 || !name.chars().all(allowed) {
            return Err(InvalidKey::Name { given: crate::cut(&name) });
        }
        match self.ciphers.insert(name.clone(), XChaCha20Poly1305::new(&key.into())) {
            Some(_) => Err(InvalidKey::Twice { given: name }),
            None => Ok(self),
        }
    }

    /// Another key that reads, and writes from now on.
    ///
    /// # Errors
    ///
    /// As [`reads`](Self::reads).
    pub fn writes(self, name: impl Into<String>, key: [u8; 32]) -> Result<Self, InvalidKey> {
        let name = name.into();
        Ok(Self { writes: name.clone(), ..self.reads(name, key)? })
    }

    /// The key that unique keys are hashed with; by default one that is derived from the first key. All processes need the
    /// same: give the first key here when it no longer reads.
    #[must_use]
    pub fn unique_by(mut self, key: [u8; 32]) -> Self {
        self.index = index(&key);
        self
    }

    /// Keeps what went wrong as it is, so that people can read it and search in it. An error may quote arguments.
    #[must_use]
    pub const fn errors_in_clear(mut self) -> Self {
        self.errors = Errors::Clear;
        self
    }

    /// The name of the key that writes.
    #[must_use]
    pub fn writing(&self) -> &str {
        &self.writes
    }

    pub(super) fn seal(&self, subject: &Subject<'_>, plain: &[u8]) -> Result<String, StoreError> {
        let refuse = |why: &str| StoreError::rejected("the job could not be encrypted", why.to_owned());
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|error| refuse(&format!("no random numbers: {error}")))?;
        let cipher = self.ciphers.get(&self.writes).ok_or_else(|| refuse("no key"))?;
        let payload = Payload { msg: plain, aad: &subject.to_bytes() };
        let text = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| refuse("too long"))?;
        Ok(Envelope::of(&self.writes, subject, &nonce, &text).to_json())
    }

    pub(super) fn open(&self, subject: &Subject<'_>, sealed: &Envelope) -> Result<Vec<u8>, CannotOpen> {
        let name = sealed.key();
        let cipher = self.ciphers.get(name).ok_or_else(|| CannotOpen::NoKey { name: name.to_owned() })?;
        let (nonce, text) = sealed.parts().ok_or(CannotOpen::Changed { name: name.to_owned() })?;
        let payload = Payload { msg: &text, aad: &subject.to_bytes() };
        cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| CannotOpen::Changed { name: name.to_owned() })
    }

    /// The same key for the same key, which tells nothing of it.
    pub(super) fn hashed(&self, unique: &Unique) -> Unique {
        if unique.key().starts_with(HASHED) {
            return unique.clone();
        }
        let hash = self.index.clone().chain_update(unique.key()).finalize().into_bytes();
        unique.renamed(format!("{HASHED}{}", URL_SAFE_NO_PAD.encode(hash)))
    }
}

/// Derived, so that no key serves two purposes.
fn index(key: &[u8; 32]) -> Hmac<Sha256> {
    let derived = keyed(key).chain_update("work: unique keys").finalize().into_bytes();
    keyed(&derived.into())
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // A block of SHA-256 has 64 bytes: what is shorter is filled up with zeros.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    Hmac::new(&block.into())
}

/// Names only.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.ciphers.keys().collect();
        f.debug_struct("Keys").field("reads", &names).field("writes", &self.writes).finish_non_exhaustive()
    }
}
