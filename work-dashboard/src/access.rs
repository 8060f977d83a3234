//! Who may do what: tokens, sessions, and the secrets that forms carry.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use uuid::Uuid;

/// What a request may do. Later ones may do all that earlier ones may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    /// Nothing but what everybody may: log in, and ask whether the process lives.
    Nobody,
    /// Look.
    Read,
    /// Look and act.
    Write,
}

/// How a request showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It did not have to: there are no tokens.
    Open,
    /// By a header, which no other site can make a browser send.
    Bearer,
    /// By the cookie of a session.
    Session,
    /// Not at all.
    None,
}

/// Who a request is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) right: Right,
    pub(crate) way: Way,
    /// What its forms must carry.
    pub(crate) form_token: String,
}

impl Identity {
    fn nobody() -> Self {
        Self { right: Right::Nobody, way: Way::None, form_token: String::new() }
    }

    /// For the log.
    pub(crate) fn name(&self) -> &'static str {
        match (self.way, self.right) {
            (Way::None, _) => "nobody",
            (Way::Open, _) => "open",
            (_, Right::Write) => "token",
            (_, Right::Read | Right::Nobody) => "read-only token",
        }
    }
}

/// The hash of a secret, so that no memory dump or log shows it.
#[derive(Clone, Copy)]
pub(crate) struct Hashed([u8; 32]);

impl Hashed {
    pub(crate) fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// In a time that does not depend on what is different.
    pub(crate) fn is(&self, given: &Self) -> bool {
        self.0.ct_eq(&given.0).into()
    }
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashed(…)")
    }
}

/// How long a session lasts.
pub(crate) const SESSION: Duration = Duration::from_secs(12 * 60 * 60);

/// Sessions that are kept; of more, the oldest ends.
const MAX_SESSIONS: usize = 1000;

/// Wrong tokens a second that are answered and logged; of the rest, nothing is said but that they are too many.
const MAX_FAILURES: u32 = 10;

#[derive(Debug)]
struct Session {
    right: Right,
    form_token: String,
    since: Instant,
}

/// What is needed to tell who somebody is.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) full: Option<Hashed>,
    pub(crate) read_only: Option<Hashed>,
    /// What everybody may if there are no tokens.
    pub(crate) open: Right,
    form_token: String,
    sessions: Mutex<HashMap<[u8; 32], Session>>,
    failures: Mutex<Option<(Instant, u32)>>,
}

impl Access {
    pub(crate) fn new(full: Option<Hashed>, read_only: Option<Hashed>, open: Right) -> Self {
        let (sessions, failures) = (Mutex::default(), Mutex::default());
        Self { full, read_only, open, form_token: secret(), sessions, failures }
    }

    /// True if a request has to show a token.
    pub(crate) const fn is_locked(&self) -> bool {
        self.full.is_some() || self.read_only.is_some()
    }

    /// Who shows this header or this cookie. A header that is wrong is not made good by a cookie.
    pub(crate) fn identify(&self, authorization: Option<&str>, session: Option<&str>) -> Identity {
        if !self.is_locked() {
            return Identity { right: self.open, way: Way::Open, form_token: self.form_token.clone() };
        }
        if let Some(given) = authorization {
            let right = bearer(given).map_or(Right::Nobody, |token| self.right_of(token));
            let way = if right == Right::Nobody { Way::None } else { Way::Bearer };
            return Identity { right, way, form_token: String::new() };
        }
        let Some(session) = session else { return Identity::nobody() };
        let sessions = lock(&self.sessions);
        match sessions.get(&Hashed::of(session).0) {
            Some(found) if found.since.elapsed() < SESSION => {
                Identity { right: found.right, way: Way::Session, form_token: found.form_token.clone() }
            }
            _ => Identity::nobody(),
        }
    }

    /// What a token allows. Both are compared, whichever it is.
    pub(crate) fn right_of(&self, token: &str) -> Right {
        let given = Hashed::of(token);
        let is = |known: &Option<Hashed>| known.as_ref().is_some_and(|known| known.is(&given));
        match (is(&self.full), is(&self.read_only)) {
            (true, _) => Right::Write,
            (false, true) => Right::Read,
            (false, false) => Right::Nobody,
        }
    }

    /// Begins a session, and answers its secret.
    pub(crate) fn begin(&self, right: Right) -> String {
        let id = secret();
        let mut sessions = lock(&self.sessions);
        sessions.retain(|_, session| session.since.elapsed() < SESSION);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.since).map(|(key, _)| *key);
            oldest.and_then(|oldest| sessions.remove(&oldest));
        }
        sessions.insert(Hashed::of(&id).0, Session { right, form_token: secret(), since: Instant::now() });
        id
    }

    pub(crate) fn end(&self, session: &str) {
        lock(&self.sessions).remove(&Hashed::of(session).0);
    }

    /// Counts a wrong token; false if there are too many of them this second.
    pub(crate) fn note_failure(&self) -> bool {
        let mut failures = lock(&self.failures);
        let (since, count) = failures.unwrap_or((Instant::now(), 0));
        let (since, count) =
            if since.elapsed() < Duration::from_secs(1) { (since, count) } else { (Instant::now(), 0) };
        *failures = Some((since, count.saturating_add(1)));
        count < MAX_FAILURES
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// 244 random bits from the system.
pub(crate) fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// True if a form carries the right secret.
pub(crate) fn same_secret(known: &str, given: &str) -> bool {
    !known.is_empty() && Hashed::of(known).is(&Hashed::of(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_after_twelve_hours_and_the_oldest_makes_room() {
        let access = Access::new(Some(Hashed::of("0123456789abcdef")), None, Right::Write);
        let first = access.begin(Right::Read);
        assert_eq!(access.identify(None, Some(&first)).right, Right::Read);
        tokio::time::advance(SESSION).await;
        assert_eq!(access.identify(None, Some(&first)).right, Right::Nobody);
        let oldest = access.begin(Right::Write);
        tokio::time::advance(Duration::from_secs(1)).await;
        let rest: Vec<_> = (0..MAX_SESSIONS).map(|_| access.begin(Right::Write)).collect();
        assert_eq!(access.identify(None, Some(&oldest)).right, Right::Nobody);
        assert_eq!(access.identify(None, Some(&rest[0])).right, Right::Write);
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", Hashed::of("hunter2")), "Hashed(…)");
        assert!(!same_secret("", ""));
    }
}
