//! The two names a job carries: its kind and its queue. One character set for every store.

use std::borrow::Cow;
use std::fmt;

/// The longest name of a kind or a queue, in bytes.
pub const MAX_NAME: usize = 63;

/// A name that no store would take. The message says what is wrong, what was given, and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} name {given}: {why}; use 1 to 63 of A-Z a-z 0-9 _ . : -, starting with a letter or a digit")]
pub struct InvalidName {
    what: &'static str,
    given: String,
    why: String,
}

pub(crate) fn check(what: &'static str, name: &str) -> Result<(), InvalidName> {
    let why = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.len() > MAX_NAME {
        format!("it has {} bytes", name.len())
    } else if let Some((at, c)) = name.char_indices().find(|(_, c)| !is_allowed(*c)) {
        format!("U+{:04X} at byte {at}", u32::from(c))
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "names that start with a sign are reserved".to_owned()
    } else {
        return Ok(());
    };
    Err(InvalidName { what, given: crate::shown(name), why })
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-')
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Cow<'static, str>);

        impl $name {
            /// Wraps a name that is known at compile time. It is checked when it is first used, see [`Self::validate`].
            #[must_use]
            pub const fn from_static(name: &'static str) -> Self {
                Self(Cow::Borrowed(name))
            }

            /// The name itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Checks length and characters; every verb of a worker and every store calls it.
            ///
            /// # Errors
            ///
            /// [`InvalidName`], which names the first offending character and what is accepted.
            pub fn validate(&self) -> Result<(), InvalidName> {
                check($what, &self.0)
            }
        }

        impl From<&'static str> for $name {
            fn from(name: &'static str) -> Self {
                Self::from_static(name)
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(Cow::Owned(name))
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The stable, explicit name of what a job does. It is stored with the job, so it outlives every refactoring.
    Kind, "kind"
}

name_type! {
    /// The lane that a job waits in.
    Queue, "queue"
}

impl Queue {
    /// The queue of jobs that name none.
    pub const DEFAULT: Queue = Queue::from_static("default");

    /// The queue of a key: jobs of one tenant, say, wait in one of their own. `name:key`.
    ///
    /// ```
    /// use work_core::Queue;
    ///
    /// let queue = Queue::of_key("mail", "tenant-7");
    /// assert_eq!(queue.as_str(), "mail:tenant-7");
    /// assert!(Queue::of_key("mail", "a key").validate().is_err());
    /// ```
    #[must_use]
    pub fn of_key(name: &str, key: impl fmt::Display) -> Self {
        Self::from(format!("{name}:{key}"))
    }

    /// The queues of all keys, for those who drain or limit them: `name:*`. No job is in it.
    #[must_use]
    pub fn each_key(name: &str) -> Self {
        Self::of_key(name, '*')
    }

    /// What the names of these queues begin with, if they are those of [each key](Self::each_key).
    #[must_use]
    pub fn keys_of(&self) -> Option<&str> {
        self.as_str().strip_suffix('*').filter(|prefix| prefix.len() > 1 && prefix.ends_with(':'))
    }

    /// The queues of all keys that this one is among, if its name has a colon.
    #[must_use]
    pub fn among(&self) -> Option<Self> {
        let (name, _) = self.as_str().rsplit_once(':')?;
        Some(Self::each_key(name))
    }

    /// True if it is one of the queues of each key that `keys` stands for.
    #[must_use]
    pub fn is_key_of(&self, keys: &Self) -> bool {
        self.keys_of().is_none() && self.among().as_ref() == Some(keys)
    }

    /// As [`validate`](Self::validate), and the queues of [each key](Self::each_key) pass too.
    ///
    /// # Errors
    ///
    /// [`InvalidName`], as there.
    pub fn validate_drained(&self) -> Result<(), InvalidName> {
        match self.keys_of() {
            Some(prefix) => check("queue", prefix),
            None => self.validate(),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_to_a_store_are_refused_with_the_reason() {
        for (name, part) in [
            ("", "it is empty"),
            ("a b", "U+0020 at byte 1"),
            ("a\u{1b}[31m", "U+001B at byte 1"),
            ("a\"; DROP TABLE jobs;--", "U+0022"),
            ("../x", "U+002F at byte 2"),
            ("a.b*", "U+002A"),
            ("{x}", "U+007B"),
            ("_work", "reserved"),
            ("größe", "U+00F6"),
        ] {
            let error = Queue::from_static(name).validate().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("use 1 to 63"), "{name:?}: {error}");
        }
        assert!(Kind::from("x".repeat(64)).validate().unwrap_err().to_string().contains("64 bytes"));
        assert!(Kind::from("x".repeat(63)).validate().is_ok());
        assert!(Kind::from_static("mail.welcome:v2-b_1").validate().is_ok());
    }
}
