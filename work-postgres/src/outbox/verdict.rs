use work_core::Status;

/// What a final status says about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Published,
    Dead,
    /// Deliver it again; it counts as a failure.
    Failed,
    /// Deliver it again; nobody has found anything wrong with it.
    NotNow,
}

/// The decisions are those of [`RetryPolicy`](work_core::RetryPolicy), but for 499: a worker that stops says nothing about
/// the row.
pub(super) fn meaning(status: Option<Status>) -> Meaning {
    let Some(status) = status else {
        return Meaning::NotNow;
    };
    match status.code() {
        _ if status.is_complete() => Meaning::Published,
        429 | 499 => Meaning::NotNow,
        408 => Meaning::Failed,
        400..=499 => Meaning::Dead,
        _ => Meaning::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_meaning_for_a_row() {
        assert_eq!(meaning(None), Meaning::NotNow);
        for code in 100..=999 {
            let expected = match code {
                200..=299 | 444 => Meaning::Published,
                429 | 499 => Meaning::NotNow,
                400..=498 if code != 408 => Meaning::Dead,
                _ => Meaning::Failed,
            };
            assert_eq!(meaning(Status::new(code).ok()), expected, "{code}");
        }
    }
}
