use crate::Status;

/// What a final status says about an item that a source delivered: for sources that deliver again.
///
/// ```
/// use work_core::Status;
/// use work_core::source::Meaning;
///
/// assert_eq!(Meaning::of(Some(Status::SUCCESS)), Meaning::Published);
/// assert_eq!(Meaning::of(Some(Status::BAD_REQUEST)), Meaning::Dead);
/// assert_eq!(Meaning::of(None), Meaning::NotNow);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Done.
    Published,
    /// It will never be.
    Dead,
    /// Deliver it again; it counts as a failure.
    Failed,
    /// Deliver it again; nobody has found anything wrong with it.
    NotNow,
}

impl Meaning {
    /// The decisions are those of [`RetryPolicy`](crate::RetryPolicy), but for 499: a worker that stops says nothing about
    /// the item. Nor does `None`, which is no status at all.
    #[must_use]
    pub fn of(status: Option<Status>) -> Self {
        let Some(status) = status else {
            return Self::NotNow;
        };
        match status.code() {
            _ if status.is_complete() => Self::Published,
            429 | 499 => Self::NotNow,
            408 => Self::Failed,
            400..=499 => Self::Dead,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_meaning_for_a_row() {
        assert_eq!(Meaning::of(None), Meaning::NotNow);
        for code in 100..=999 {
            let expected = match code {
                200..=299 | 444 => Meaning::Published,
                429 | 499 => Meaning::NotNow,
                400..=498 if code != 408 => Meaning::Dead,
                _ => Meaning::Failed,
            };
            assert_eq!(Meaning::of(Status::new(code).ok()), expected, "{code}");
        }
    }
}
