use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::ser::Error;

use crate::finite::first_infinite;
use crate::{Job, Kind};

/// Arguments that know the kind of job they belong to.
///
/// Usually derived: `#[derive(JobArgs)]` takes the kind from the type's name in snake case, or from
/// `#[job(kind = "…")]`.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use work_core::JobArgs;
///
/// #[derive(Serialize, Deserialize)]
/// struct Welcome { address: String }
///
/// impl JobArgs for Welcome {
///     const KIND: &'static str = "welcome";
/// }
///
/// assert_eq!(Welcome { address: "a@example.org".into() }.job().kind().as_str(), "welcome");
/// ```
pub trait JobArgs: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind. It is stored with every job, so treat it as part of the stored format.
    const KIND: &'static str;

    /// A job of this kind with these arguments.
    fn job(self) -> Job
    where
        Self: Sized,
    {
        Job::new(Kind::from_static(Self::KIND), self)
    }
}

/// What is wrong with a job's arguments.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// The value has no JSON form, for example a map with keys that are no strings, or a number that is infinite.
    #[error("args of type {type_name} have no JSON form: {source}")]
    Encode {
        /// The Rust type.
        type_name: &'static str,
        /// What serde says.
        source: serde_json::Error,
    },
    /// The stored arguments are not what the handler takes.
    #[error("args are not a {type_name}: {source}")]
    Decode {
        /// The Rust type that the handler takes.
        type_name: &'static str,
        /// What serde says, with the place.
        source: serde_json::Error,
    },
    /// The arguments were already moved out by an earlier extractor of the same handler.
    #[error("args were already taken: a handler has at most one `Args`")]
    Taken,
    /// More bytes than the limit.
    #[error("args have {size} bytes; at most {limit} are accepted: store the data elsewhere and pass its address")]
    TooLarge {
        /// Bytes given.
        size: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// Nested deeper than any decoder will follow.
    #[error("args are nested {depth} deep; at most {limit} levels are accepted")]
    TooDeep {
        /// Levels given.
        depth: usize,
        /// Levels accepted.
        limit: usize,
    },
}

/// The arguments of a job: a typed value in process, JSON at rest.
#[derive(Clone)]
pub(crate) enum Payload {
    Typed(Arc<dyn ErasedArgs>),
    Json(Bytes),
    Taken,
}

/// A typed value that can still become JSON after its type is forgotten.
pub(crate) trait ErasedArgs: Any + Send + Sync {
    fn to_json(&self) -> Result<Vec<u8>, ArgsError>;
}

impl<T: Serialize + Send + Sync + 'static> ErasedArgs for T {
    fn to_json(&self) -> Result<Vec<u8>, ArgsError> {
        encode(self)
    }
}

impl Payload {
    pub(crate) fn typed<T: Serialize + Send + Sync + 'static>(args: T) -> Self {
        Self::Typed(Arc::new(args))
    }

    /// Moves the value out; a typed value that is shared, or of another type, goes through JSON.
    pub(crate) fn take<T: DeserializeOwned + Send + Sync + 'static>(&mut self) -> Result<T, ArgsError> {
        match std::mem::replace(self, Self::Taken) {
            Self::Typed(args) => {
                let any: &dyn Any = &*args;
                if Arc::strong_count(&args) > 1 || !any.is::<T>() {
                    return decode(&args.to_json()?);
                }
                let any: Arc<dyn Any + Send + Sync> = args;
                any.downcast::<T>().ok().and_then(Arc::into_inner).ok_or(ArgsError::Taken)
            }
            Self::Json(bytes) => decode(&bytes),
            Self::Taken => Err(ArgsError::Taken),
        }
    }

    pub(crate) const fn json_len(&self) -> Option<usize> {
        match self {
            Self::Json(bytes) => Some(bytes.len()),
            Self::Typed(_) | Self::Taken => None,
        }
    }

    pub(crate) fn to_json(&self) -> Result<Bytes, ArgsError> {
        match self {
            Self::Typed(args) => args.to_json().map(Bytes::from),
            Self::Json(bytes) => Ok(bytes.clone()),
            Self::Taken => Err(ArgsError::Taken),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The arguments themselves are never shown: they may hold secrets.
        f.write_str(match self {
            Self::Typed(_) => "Typed(..)",
            Self::Json(_) => "Json(..)",
            Self::Taken => "Taken",
        })
    }
}

/// As JSON, and so that what is read back is what was given: a number that is infinite or none would become `null`.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, ArgsError> {
    let failed = |source| ArgsError::Encode { type_name: std::any::type_name::<T>(), source };
    let json = serde_json::to_vec(value).map_err(failed)?;
    if has_null(&json)
        && let Some(number) = first_infinite(value)
    {
        let why = format!("{number} would be read back as null; use a finite number, or None");
        return Err(failed(serde_json::Error::custom(why)));
    }
    Ok(json)
}

fn has_null(json: &[u8]) -> bool {
    json.windows(4).any(|bytes| bytes == b"null")
}

fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, ArgsError> {
    serde_json::from_slice(json)
        .map_err(|source| ArgsError::Decode { type_name: std::any::type_name::<T>(), source: briefly(source) })
}

/// What serde says may repeat a whole text that it did not expect: its beginning is enough, and the place at its end.
fn briefly(error: serde_json::Error) -> serde_json::Error {
    const KEPT: usize = 120;
    let text = error.to_string();
    if text.len() <= 2 * KEPT {
        return error;
    }
    let (first, last) = (text.floor_char_boundary(KEPT), text.ceil_char_boundary(text.len() - KEPT));
    serde_json::Error::custom(format!("{}…{}", &text[..first], &text[last..]))
}

/// How many bytes of JSON the arguments of a stored job may have by default: 1 MiB.
pub const DEFAULT_MAX_ARGS: usize = 1024 * 1024;

/// How many bytes of JSON the output of a stored job may have by default: 1 MiB.
pub const DEFAULT_MAX_OUTPUT: usize = 1024 * 1024;

/// How deep the arguments of a stored job may be nested, at most: half of what the decoder follows.
pub const MAX_JSON_DEPTH: usize = 64;

/// Checks JSON that is about to be stored, so that what is accepted can be read back.
pub(crate) fn check_json(json: &[u8], limit: usize) -> Result<(), ArgsError> {
    if json.len() > limit {
        return Err(ArgsError::TooLarge { size: json.len(), limit });
    }
    let depth = json_depth(json);
    if depth > MAX_JSON_DEPTH { Err(ArgsError::TooDeep { depth, limit: MAX_JSON_DEPTH }) } else { Ok(()) }
}

/// How deep the brackets of a JSON text are nested, those in its strings aside: at most [`MAX_JSON_DEPTH`] may be stored.
/// For authors of stores and sources.
///
/// ```
/// assert_eq!(work_core::store::json_depth(br#"{"a": ["[[["]}"#), 2);
/// ```
#[must_use]
pub fn json_depth(json: &[u8]) -> usize {
    let (mut now, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_value_is_moved_not_copied() {
        let text = String::from("hello");
        let address = text.as_ptr();
        let taken: String = Payload::typed(text).take().unwrap();
        assert_eq!(taken.as_ptr(), address);
    }

    #[test]
    fn a_shared_value_and_one_of_another_type_go_through_json() {
        let mut first = Payload::typed(vec![1_u8, 2]);
        let mut second = first.clone();
        assert_eq!(first.take::<Vec<u8>>().unwrap(), [1, 2]);
        assert_eq!(second.take::<[u64; 2]>().unwrap(), [1, 2]);
        let wrong = Payload::typed("text").take::<u32>().unwrap_err();
        assert!(wrong.to_string().contains("args are not a u32"), "{wrong}");
    }

    #[test]
    fn taking_twice_is_an_error_not_a_panic() {
        let mut args = Payload::typed(1_u8);
        assert_eq!(args.take::<u8>().unwrap(), 1);
        assert!(matches!(args.take::<u8>(), Err(ArgsError::Taken)));
    }

    #[test]
    fn depth_counts_brackets_outside_of_texts() {
        assert_eq!(json_depth(br#"{"a":["[[[[\"[[",{}]}"#), 3);
        let deep = "[".repeat(65) + &"]".repeat(65);
        assert!(matches!(check_json(deep.as_bytes(), 1000), Err(ArgsError::TooDeep { depth: 65, limit: 64 })));
        assert!(matches!(check_json(b"[1,2]", 4), Err(ArgsError::TooLarge { size: 5, limit: 4 })));
    }
}
