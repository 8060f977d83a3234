use std::fmt;
use std::num::NonZeroU16;

/// How one attempt of a job went, as a number that layers can act on.
///
/// The codes follow HTTP where a code of that meaning exists. Any other number from 100 to 999 is a custom code;
/// what happens after it follows from its class, see [`RetryPolicy`](crate::RetryPolicy).
///
/// ```
/// use work_core::Status;
///
/// assert!(Status::SUCCESS.is_success());
/// assert!(Status::TIMEOUT.is_error());
/// assert_eq!(Status::new(204)?.code(), 204);
/// assert!(Status::new(7).is_err());
/// # Ok::<(), work_core::InvalidStatus>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(NonZeroU16);

/// A number that is no [`Status`]: only 100 to 999 are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("status {given} is out of range; use 100 to 999")]
pub struct InvalidStatus {
    given: u16,
}

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Status = Status(NonZeroU16::new($code).expect("not zero"));)*

            /// The name of a standard code, in lower case with underscores: a label of few values.
            ///
            /// Custom codes are named by their class: `other_2xx`, `other_4xx` and so on.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0.get() {
                    $($code => $text,)*
                    200..=299 => "other_2xx",
                    300..=399 => "other_3xx",
                    400..=499 => "other_4xx",
                    500..=599 => "other_5xx",
                    _ => "other",
                }
            }
        }
    };
}

statuses! {
    /// 200: the job did what it should.
    SUCCESS = 200, "success";
    /// 400: the arguments are wrong, and would be wrong again.
    BAD_REQUEST = 400, "bad_request";
    /// 401: the job carries no valid credentials.
    UNAUTHORIZED = 401, "unauthorized";
    /// 403: the job may not do this.
    FORBIDDEN = 403, "forbidden";
    /// 404: no handler of that kind, or the thing to work on does not exist.
    NOT_FOUND = 404, "not_found";
    /// 408: the attempt took longer than its timeout.
    TIMEOUT = 408, "timeout";
    /// 409: the world is in another state than the job needs.
    CONFLICT = 409, "conflict";
    /// 429: rate-limited; the attempt is given back.
    TOO_MANY = 429, "too_many";
    /// 444: there was nothing to do.
    NO_RESPONSE = 444, "no_response";
    /// 499: cancelled while it ran.
    CANCELLED = 499, "cancelled";
    /// 500: the handler failed or panicked.
    INTERNAL_ERROR = 500, "internal_error";
    /// 503: something that the handler needs is away.
    UNAVAILABLE = 503, "unavailable";
}

impl Status {
    /// Makes a status of any code from 100 to 999.
    ///
    /// # Errors
    ///
    /// [`InvalidStatus`] outside that range.
    pub const fn new(code: u16) -> Result<Self, InvalidStatus> {
        match NonZeroU16::new(code) {
            Some(code) if code.get() >= 100 && code.get() <= 999 => Ok(Self(code)),
            _ => Err(InvalidStatus { given: code }),
        }
    }

    /// The code as a number.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0.get()
    }

    /// True for 200 to 299.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.code() / 100 == 2
    }

    /// True for what ends a job well: 200 to 299, and 444.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        self.is_success() || self.code() == Self::NO_RESPONSE.code()
    }

    /// True for exactly 408, 500 and 503: the codes that say something about the health of a worker.
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(self.code(), 408 | 500 | 503)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.name())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl TryFrom<u16> for Status {
    type Error = InvalidStatus;

    fn try_from(code: u16) -> Result<Self, Self::Error> {
        Self::new(code)
    }
}

impl From<Status> for u16 {
    fn from(status: Status) -> Self {
        status.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_set_is_exactly_408_500_503() {
        let errors: Vec<u16> = (100..=999).filter(|code| Status::new(*code).unwrap().is_error()).collect();
        assert_eq!(errors, [408, 500, 503]);
    }

    #[test]
    fn every_code_round_trips_and_no_other_is_accepted() {
        for code in 0..=u16::MAX {
            assert_eq!(Status::new(code).map(Status::code).ok(), (100..=999).contains(&code).then_some(code));
        }
    }
}
