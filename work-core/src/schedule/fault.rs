use std::fmt;

/// What is wrong with one part of a cron field, see [`InvalidSchedule::Field`](crate::InvalidSchedule::Field).
///
/// ```
/// use work_core::{FieldFault, InvalidSchedule, Schedule};
///
/// let error = Schedule::cron("0 24 * * *", "UTC").unwrap_err();
/// let InvalidSchedule::Field { field, position, fault, .. } = error else { panic!("{error}") };
/// assert_eq!((field, position), ("hour", 2));
/// assert_eq!(fault, FieldFault::OutOfRange { value: 24, min: 0, max: 23 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldFault {
    /// Nothing stands where a value should, as in `1,,2`.
    Empty,
    /// It is neither a number nor a name of this field.
    NotAValue,
    /// A number beyond the limits of its field.
    OutOfRange {
        /// What was given; the greatest `u32` stands for all that are greater still.
        value: u32,
        /// The least that is accepted.
        min: u32,
        /// The greatest that is accepted.
        max: u32,
    },
    /// A range whose end is before its start, in a field where ranges do not wrap around.
    Backwards,
    /// A step that is no number from 1 to the number of values of the field.
    BadStep {
        /// The greatest step that is accepted.
        max: u32,
    },
    /// A sign that other schedulers know and this one does not: `L`, `W`, `#`, `?`, `H`, `~` or `!`.
    Unsupported {
        /// The sign.
        sign: char,
    },
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a value is missing"),
            Self::NotAValue => f.write_str("it is no value of this field"),
            Self::OutOfRange { value: u32::MAX, min, max } => write!(f, "the number is not in {min} to {max}"),
            Self::OutOfRange { value, min, max } => write!(f, "{value} is not in {min} to {max}"),
            Self::Backwards => f.write_str("the range ends before it starts"),
            Self::BadStep { max } => write!(f, "the step is not in 1 to {max}"),
            Self::Unsupported { sign } => write!(f, "{sign} is not supported"),
        }
    }
}
