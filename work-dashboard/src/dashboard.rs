use std::fmt;
use std::sync::Arc;

use axum::Router;
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use work_core::store::Inspect;
use work_core::{Clock, StoreError};

use crate::access::{Access, Hashed, Right};
use crate::census::{Census, QueueNow};
use crate::groups::LastGroups;
use crate::routes;
use crate::snapshot::Cached;

/// Pages and a JSON API that show what is in a store, and act on it.
///
/// Mount its [`router`](Self::router) behind your own login, or let [`serve`](Self::serve) listen.
///
/// ```
/// use std::sync::Arc;
/// use work_core::store::MemoryStore;
/// use work_dashboard::Dashboard;
///
/// let dashboard = Dashboard::builder(Arc::new(MemoryStore::new())).token("a-token-of-16-signs-or-more").build()?;
/// let app: axum::Router = axum::Router::new().nest("/jobs", dashboard.router());
/// assert!(dashboard.is_locked());
/// # let _ = app;
/// # Ok::<(), work_dashboard::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Dashboard {
    pub(crate) app: Arc<App>,
}

/// What the pages share.
pub(crate) struct App {
    pub(crate) store: Arc<dyn Inspect>,
    pub(crate) clock: Clock,
    pub(crate) access: Access,
    pub(crate) hosts: Vec<String>,
    pub(crate) base: Option<String>,
    pub(crate) title: String,
    pub(crate) args: ArgsView,
    pub(crate) secure: bool,
    pub(crate) cached: Mutex<Option<Cached>>,
    pub(crate) census: Arc<Census>,
    pub(crate) groups: Mutex<Option<LastGroups>>,
    /// One permit for each page that is kept up to date.
    pub(crate) live: Arc<Semaphore>,
}

impl App {
    /// The queues as they are now: who pauses one elsewhere sees it here at once.
    pub(crate) async fn queues(&self) -> Result<Vec<QueueNow>, StoreError> {
        self.census.take().await.map(|numbers| numbers.queues)
    }
}

/// Changes a JSON value before it is shown.
type Redact = Arc<dyn Fn(&str, &mut Value) + Send + Sync>;

/// How much of args and outputs is shown.
#[derive(Clone)]
pub(crate) enum ArgsView {
    Hidden,
    Redacted(Redact),
    Shown,
}

impl Dashboard {
    /// Settings of a dashboard of this store.
    pub fn builder(store: Arc<dyn Inspect>) -> DashboardBuilder {
        DashboardBuilder {
            store,
            clock: Clock::system(),
            full: None,
            read_only: None,
            open: Right::Write,
            hosts: Vec::new(),
            base: None,
            title: "work".into(),
            args: ArgsView::Hidden,
            secure: false,
        }
    }

    /// The pages under `/`, the API under `/api/v1`, `/livez`, `/readyz` and `/metrics`. It can be nested under any path.
    pub fn router(&self) -> Router {
        routes::router(&self.app)
    }

    /// True if a token is needed.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.app.access.is_locked()
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("locked", &self.is_locked()).field("hosts", &self.app.hosts).finish()
    }
}

/// How many pages are kept up to date at once.
pub(crate) const MAX_LIVE: usize = 100;

/// Settings of a [`Dashboard`].
#[must_use = "a builder does nothing until it is built"]
pub struct DashboardBuilder {
    store: Arc<dyn Inspect>,
    clock: Clock,
    full: Option<String>,
    read_only: Option<String>,
    open: Right,
    hosts: Vec<String>,
    base: Option<String>,
    title: String,
    args: ArgsView,
    secure: bool,
}

impl fmt::Debug for DashboardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DashboardBuilder").field("hosts", &self.hosts).field("title", &self.title).finish()
    }
}

/// The shortest token, in bytes.
pub const MIN_TOKEN: usize = 16;

/// Settings that make no dashboard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A token was given, and is empty. That does not open the dashboard to everybody.
    #[error("the {which} token is empty; use at least 16 visible ASCII signs, or give none")]
    TokenEmpty {
        /// Which of the two.
        which: &'static str,
    },
    /// The token could be guessed.
    #[error("the {which} token has {given} bytes; use at least 16")]
    TokenTooShort {
        /// Which of the two.
        which: &'static str,
        /// How long it is.
        given: usize,
    },
    /// The token cannot be sent in a header.
    #[error("the {which} token has signs other than visible ASCII, such as a space")]
    TokenSigns {
        /// Which of the two.
        which: &'static str,
    },
    /// Whoever reads could also act.
    #[error("the token and the read-only token are the same")]
    TokensEqual,
    /// No host has that name.
    #[error("{given:?} is no name of a host; use letters, digits, `-` and `.`, without scheme, port or path")]
    Host {
        /// What was given, shortened.
        given: String,
    },
    /// Links would lead nowhere.
    #[error(
        "{given:?} is no base path; use `/` and names of letters, digits, `-`, `_` and `.`, such as \"/admin/jobs\""
    )]
    BasePath {
        /// What was given, shortened.
        given: String,
    },
}

impl DashboardBuilder {
    /// The token with which one may look and act. By default there is none: then everybody who can reach it may.
    ///
    /// Only its hash is kept. White space around it, such as the line break of a file, is not part of it.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.full = Some(token.into());
        self
    }

    /// A token with which one may look, but not act. By default there is none.
    pub fn read_only_token(mut self, token: impl Into<String>) -> Self {
        self.read_only = Some(token.into());
        self
    }

    /// Without any token, everybody may look, and nobody may act.
    pub const fn read_only(mut self) -> Self {
        self.open = Right::Read;
        self
    }

    /// Also answers requests for this host name, beside `localhost` and plain addresses. Any other name is refused, since
    /// a site could make its own name point here.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// Where browsers see it, if a proxy strips a path that this program does not know of. A path under which axum nests
    /// it is known.
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.base = Some(path.into());
        self
    }

    /// What the pages are headed with; by default "work".
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Shows args and outputs as they are, and lets people look for jobs by them. By default they are hidden, since they
    /// may be about persons.
    pub fn show_args(mut self) -> Self {
        self.args = ArgsView::Shown;
        self
    }

    /// Shows args and outputs after this function had them, which is told the job's kind. Nobody can look for jobs by
    /// them, since that would tell what is left out.
    pub fn redact(mut self, redact: impl Fn(&str, &mut Value) + Send + Sync + 'static) -> Self {
        self.args = ArgsView::Redacted(Arc::new(redact));
        self
    }

    /// Browsers send the cookie of a session by HTTPS only. For use behind a proxy that speaks HTTPS.
    pub const fn https(mut self) -> Self {
        self.secure = true;
        self
    }

    /// What says how long ago something was; by default this machine's clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the dashboard.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if a token, a host name or the base path is none.
    pub fn build(self) -> Result<Dashboard, BuildError> {
        let full = self.full.map(|token| checked_token("full", &token)).transpose()?;
        let read_only = self.read_only.map(|token| checked_token("read-only", &token)).transpose()?;
        if let (Some(full), Some(read_only)) = (&full, &read_only)
            && full.is(read_only)
        {
            return Err(BuildError::TokensEqual);
        }
        let census = Arc::new(Census::new(Arc::clone(&self.store), self.clock.clone()));
        let app = App {
            store: self.store,
            clock: self.clock,
            access: Access::new(full, read_only, self.open),
            hosts: self.hosts.iter().map(|name| checked_host(name)).collect::<Result<_, _>>()?,
            base: self.base.map(|path| checked_base(&path)).transpose()?,
            title: self.title,
            args: self.args,
            secure: self.secure,
            cached: Mutex::new(None),
            census,
            groups: Mutex::new(None),
            live: Arc::new(Semaphore::new(MAX_LIVE)),
        };
        Ok(Dashboard { app: Arc::new(app) })
    }
}

fn checked_token(which: &'static str, token: &str) -> Result<Hashed, BuildError> {
    let token = token.trim();
    match token.len() {
        0 => Err(BuildError::TokenEmpty { which }),
        _ if !token.bytes().all(|byte| byte.is_ascii_graphic()) => Err(BuildError::TokenSigns { which }),
        given if given < MIN_TOKEN => Err(BuildError::TokenTooShort { which, given }),
        _ => Ok(Hashed::of(token)),
    }
}

fn checked_host(name: &str) -> Result<String, BuildError> {
    let fine = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if fine { Ok(name.to_ascii_lowercase()) } else { Err(BuildError::Host { given: work_core::cut(name) }) }
}

fn checked_base(path: &str) -> Result<String, BuildError> {
    let base = path.strip_suffix('/').unwrap_or(path);
    let fine = |name: &str| {
        !name.is_empty()
            && name.bytes().any(|byte| byte != b'.')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match base.strip_prefix('/') {
        Some(names) if names.split('/').all(fine) => Ok(base.to_owned()),
        None if base.is_empty() => Ok(String::new()),
        _ => Err(BuildError::BasePath { given: work_core::cut(path) }),
    }
}
