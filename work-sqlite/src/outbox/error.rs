use crate::OpenError;

/// Why a table cannot be used as an outbox. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A name that no table or column can have.
    #[error("{role} {given:?} is no name; use 1 to 128 bytes without control characters")]
    BadName {
        /// What it should have named.
        role: &'static str,
        /// What was given, at most 80 characters of it.
        given: String,
    },
    /// The file has no such table.
    #[error("there is no table {}; the file has: {}", work_core::shown(.given), work_core::brief(.known))]
    NoTable {
        /// What was given.
        given: String,
        /// The tables of the file, in order.
        known: String,
    },
    /// It is something else than a table.
    #[error("{} is a {found}; use a table, whose rows can be marked", work_core::shown(.given))]
    NotATable {
        /// What was given.
        given: String,
        /// What it is.
        found: String,
    },
    /// The table has no such column.
    #[error("table {} has no {role} column {}; it has: {}", work_core::shown(.table), work_core::shown(.given), work_core::brief(.known))]
    NoColumn {
        /// The table.
        table: String,
        /// What the column is for.
        role: &'static str,
        /// What was given.
        given: String,
        /// The columns of the table, in order.
        known: String,
    },
    /// Two things that exclude each other are in one column.
    #[error("column {} is given for {role} and for {other}; use two columns", work_core::shown(.given))]
    SameColumn {
        /// The column.
        given: String,
        /// What it is for.
        role: &'static str,
        /// What else it is for.
        other: &'static str,
    },
    /// A column of the wrong kind.
    #[error("{role} column {} is {found}; use {accepted}", work_core::shown(.given))]
    BadColumn {
        /// What the column is for.
        role: &'static str,
        /// The column.
        given: String,
        /// What it is.
        found: String,
        /// What is accepted.
        accepted: &'static str,
    },
    /// An option outside its range.
    #[error("{option} {given} is out of range; use {accepted}")]
    OutOfRange {
        /// Which option.
        option: &'static str,
        /// What was given.
        given: String,
        /// What is accepted.
        accepted: &'static str,
    },
}
