use std::error::Error;

use bytes::BytesMut;
use chrono::{DateTime, Utc};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// A `timestamptz`, in microseconds since 2000, with both infinities: a row may hold what no calendar of ours can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(i64);

impl Instant {
    /// A moment later or earlier; the infinities stay.
    pub(crate) const fn plus(self, micros: i64) -> Self {
        if self.0 == i64::MIN || self.0 == i64::MAX { self } else { Self(self.0.saturating_add(micros)) }
    }
}

/// 2000-01-01 in microseconds since 1970.
const EPOCH: i64 = 946_684_800_000_000;

/// The first instant that Postgres takes, in 4714 BC.
const FIRST: i64 = -211_813_488_000_000_000;

impl From<DateTime<Utc>> for Instant {
    fn from(at: DateTime<Utc>) -> Self {
        let micros = at.timestamp_micros().saturating_sub(EPOCH);
        Self(if micros < FIRST { i64::MIN } else { micros })
    }
}

impl From<Instant> for DateTime<Utc> {
    fn from(Instant(micros): Instant) -> Self {
        let edge = if micros < 0 { Self::MIN_UTC } else { Self::MAX_UTC };
        micros.checked_add(EPOCH).and_then(Self::from_timestamp_micros).unwrap_or(edge)
    }
}

impl<'r> FromSql<'r> for Instant {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

impl ToSql for Instant {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instant_comes_back_and_those_of_no_calendar_are_the_edges() {
        for text in ["1969-12-31T23:59:59.999999Z", "2000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
            let at: DateTime<Utc> = text.parse().unwrap();
            assert_eq!(DateTime::<Utc>::from(Instant::from(at)), at);
        }
        assert_eq!(DateTime::<Utc>::from(Instant(i64::MAX)), DateTime::<Utc>::MAX_UTC);
        assert_eq!(DateTime::<Utc>::from(Instant(i64::MIN)), DateTime::<Utc>::MIN_UTC);
        assert_eq!(Instant::from(DateTime::<Utc>::MIN_UTC), Instant(i64::MIN), "minus infinity");
    }
}
