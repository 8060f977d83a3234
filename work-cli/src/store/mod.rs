#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use work_core::shown;
use work_core::store::Inspect;

use crate::cli::Global;
use crate::doctor::Check;
use crate::error::CliError;
use crate::redact::redact_url;
use crate::text;

/// Where a store is. What is printed of it has no password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    Sqlite(PathBuf),
    Postgres { url: String, schema: String },
}

/// A store that is thrown away.
pub(crate) struct Temporary {
    pub(crate) store: Arc<dyn Inspect>,
    /// Where it is, for people.
    pub(crate) place: String,
    /// What throws it away.
    pub(crate) cleanup: Cleanup,
}

/// What is left of a temporary store.
pub(crate) enum Cleanup {
    Folder(tempfile::TempDir),
    Schema { url: String, schema: String },
}

/// How the tables of a store are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    /// There is no store yet.
    Missing,
    /// There is a database without our tables.
    Foreign,
    /// Tables of this version.
    Version(i64),
}

const ACCEPTED: &str = "use sqlite:jobs.db or postgres://user@host/database";

impl StoreUrl {
    /// The store that a call means: by `--store`, or the environment.
    pub(crate) fn of(global: &Global) -> Result<Self, CliError> {
        let var = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let (from, url) = [
            ("--store", global.store.clone()),
            ("WORK_STORE", var("WORK_STORE")),
            ("DATABASE_URL", var("DATABASE_URL")),
        ]
        .into_iter()
        .find_map(|(from, url)| url.map(|url| (from, url)))
        .ok_or_else(|| {
            CliError::usage(format!("which store? Give --store, or set WORK_STORE or DATABASE_URL; {ACCEPTED}"))
        })?;
        Self::parse(&url, &global.schema).map_err(|why| CliError::usage(format!("{from}: {why}")))
    }

    pub(crate) fn parse(url: &str, schema: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once(':') else {
            // A password could only stand before an `@`, or after a `=`.
            if url.contains(['@', '=']) {
                return Err(format!("this is no URL of a store; {ACCEPTED}"));
            }
            let plain = (1..=100).contains(&url.len()) && text::one_line(url) == url;
            let hint = if plain { format!("; did you mean sqlite:{url}?") } else { String::new() };
            return Err(format!("{} is no URL of a store; {ACCEPTED}{hint}", shown(url)));
        };
        match scheme {
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if let Some((path, _)) = path.split_once('?') {
                    return Err(format!(
                        "what follows {} is not understood; leave it away: {ACCEPTED}",
                        shown(&format!("{path}?"))
                    ));
                }
                if path.is_empty() || path == ":memory:" {
                    return Err(format!("a store of jobs needs a file; {ACCEPTED}"));
                }
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            "postgres" | "postgresql" if rest.starts_with("//") => {
                Ok(Self::Postgres { url: url.to_owned(), schema: schema.to_owned() })
            }
            _ => {
                let shown: String = scheme.chars().take_while(char::is_ascii_alphanumeric).take(20).collect();
                Err(format!("`{shown}:` is no kind of store that this program knows; {ACCEPTED}"))
            }
        }
    }

    /// The kind of store, as `--json` has it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres { .. } => "postgres",
        }
    }

    /// The version of the tables that this program works with.
    pub(crate) fn known_version(&self) -> Result<i64, CliError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Ok(sqlite::VERSION),
            #[cfg(feature = "postgres")]
            Self::Postgres { .. } => Ok(postgres::VERSION),
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            other => Err(other.left_out()),
        }
    }

    /// How its tables are; nothing is changed.
    pub(crate) async fn tables(&self) -> Result<Tables, CliError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => sqlite::tables(path).await,
            #[cfg(feature = "postgres")]
            Self::Postgres { url, schema } => postgres::tables(url, schema).await,
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            other => Err(other.left_out()),
        }
    }

    /// Opens a store that is there and has tables of this version: nothing that only looks changes them.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Inspect>, CliError> {
        let known = self.known_version()?;
        match self.tables().await? {
            Tables::Missing => Err(CliError::unusable(format!(
                "{self}: there is no such file; check the path, or make the store with `work migrate`"
            ))),
            Tables::Foreign => Err(CliError::unusable(format!(
                "{self}: this database has no tables of jobs; check the URL, or make them with `work migrate`"
            ))),
            Tables::Version(found) if found < known => Err(CliError::unusable(format!(
                "{self}: the tables have version {found}, and this program works with {known}; bring them up to date \
                 with `work migrate`, when the programs that use them know that version"
            ))),
            Tables::Version(found) if found > known => Err(self.newer(found, known)),
            Tables::Version(_) => self.open_or_make().await,
        }
    }

    /// The tables are those of a newer program.
    pub(crate) fn newer(&self, found: i64, known: i64) -> CliError {
        CliError::unusable(format!(
            "{self}: the tables have version {found}, and this program knows versions up to {known}; run a newer `work`"
        ))
    }

    /// Opens a store, makes it if it is not there, and brings its tables up to date.
    pub(crate) async fn open_or_make(&self) -> Result<Arc<dyn Inspect>, CliError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => sqlite::open(path).await,
            #[cfg(feature = "postgres")]
            Self::Postgres { url, schema } => postgres::open(url, schema).await,
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            other => Err(other.left_out()),
        }
    }

    /// What can only be seen from below: settings, integrity, the clock.
    pub(crate) async fn examine(&self) -> Result<Vec<Check>, CliError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => sqlite::examine(path).await,
            #[cfg(feature = "postgres")]
            Self::Postgres { url, .. } => postgres::examine(url).await,
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            other => Err(other.left_out()),
        }
    }

    /// A new store of the same kind at the same place.
    pub(crate) async fn temporary(&self, folder: Option<&Path>) -> Result<Temporary, CliError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => sqlite::temporary(path, folder).await,
            #[cfg(feature = "postgres")]
            Self::Postgres { url, .. } => postgres::temporary(url).await,
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            other => {
                let _ = folder;
                Err(other.left_out())
            }
        }
    }

    #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
    fn left_out(&self) -> CliError {
        let kind = self.kind();
        CliError::usage(format!("this program was built without {kind} stores; build it with the feature `{kind}`"))
    }
}

impl Cleanup {
    /// Throws the store away, once it is closed.
    pub(crate) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Folder(folder) => Ok(folder.close()?),
            #[cfg(feature = "postgres")]
            Self::Schema { url, schema } => postgres::drop_schema(&url, &schema).await,
            #[cfg(not(feature = "postgres"))]
            Self::Schema { .. } => Ok(()),
        }
    }
}

/// Without a password.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres { url, .. } => f.write_str(&redact_url(url)),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_what_kind_of_store_it_is() {
        for (url, path) in
            [("sqlite:jobs.db", "jobs.db"), ("sqlite://a/b.db", "a/b.db"), ("sqlite:///a/b.db", "/a/b.db")]
        {
            assert_eq!(StoreUrl::parse(url, "work"), Ok(StoreUrl::Sqlite(path.into())), "{url}");
        }
        let postgres = StoreUrl::parse("postgres://ann:s3cret@host/db", "work").unwrap();
        assert_eq!(format!("{postgres} {postgres:?}").matches("s3cret").count(), 0);
        assert_eq!(postgres.to_string(), "postgres://ann:***@host/db");
    }

    #[test]
    fn a_bad_url_names_what_is_accepted_and_no_password() {
        for url in [
            "",
            "jobs.db",
            "mysql://ann:s3cret@h/db",
            "ann:s3cret@h",
            "s3cret@h",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a?mode=rw",
            "postgres:db",
        ] {
            let why = StoreUrl::parse(url, "work").unwrap_err();
            assert!(why.contains("sqlite:jobs.db") && why.contains("postgres://") && !why.contains("s3cret"), "{why}");
        }
    }
}
