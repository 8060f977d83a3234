use super::{FieldFault, InvalidSchedule};

/// One field of a cron expression: the values it matches, as bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) bits: u64,
    /// Whether a `*` is in it.
    pub(super) wildcard: bool,
    /// The field with numbers for names.
    pub(super) text: String,
}

/// What may stand in a field.
pub(super) struct Kind {
    name: &'static str,
    min: u32,
    max: u32,
    /// How many numbers above `max` stand for the first ones.
    beyond: u32,
    /// The names of its values, from `min` on.
    names: &'static [&'static str],
    accepted: &'static str,
}

pub(super) const SECOND: Kind = Kind {
    name: "second",
    min: 0,
    max: 59,
    beyond: 0,
    names: &[],
    accepted: "0 to 59, *, ranges a-b, steps */n or a-b/n, lists a,b",
};

pub(super) const MINUTE: Kind = Kind { name: "minute", ..SECOND };

pub(super) const HOUR: Kind =
    Kind { name: "hour", max: 23, accepted: "0 to 23, *, ranges a-b, steps */n or a-b/n, lists a,b", ..SECOND };

pub(super) const DAY: Kind = Kind {
    name: "day of month",
    min: 1,
    max: 31,
    accepted: "1 to 31, *, ranges a-b, steps */n or a-b/n, lists a,b",
    ..SECOND
};

pub(super) const MONTH: Kind = Kind {
    name: "month",
    min: 1,
    max: 12,
    beyond: 0,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    accepted: "1 to 12 or JAN to DEC, *, ranges a-b, steps */n or a-b/n, lists a,b",
};

/// Sunday is 0; 7 is read as Sunday, too.
pub(super) const WEEKDAY: Kind = Kind {
    name: "day of week",
    min: 0,
    max: 6,
    beyond: 1,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    accepted: "0 to 7 (0 and 7 are Sunday) or SUN to SAT, *, ranges a-b, steps */n or a-b/n, lists a,b",
};

/// An item of a list: the values from `first` to `last`, around the end of the field if `last` is less.
struct Item {
    first: u32,
    last: u32,
    step: u32,
    wildcard: bool,
    text: String,
}

impl Kind {
    /// Reads a field that starts at byte `position` of its expression.
    pub(super) fn parse(&self, text: &str, mut position: usize) -> Result<Field, InvalidSchedule> {
        let mut field = Field { bits: 0, wildcard: false, text: String::with_capacity(text.len()) };
        for part in text.split(',') {
            let item = self.item(part).map_err(|fault| self.error(part, position, fault))?;
            field.bits |= self.bits(&item);
            field.wildcard |= item.wildcard;
            if !field.text.is_empty() {
                field.text.push(',');
            }
            field.text.push_str(&item.text);
            position += part.len() + 1;
        }
        Ok(field)
    }

    fn error(&self, part: &str, position: usize, fault: FieldFault) -> InvalidSchedule {
        InvalidSchedule::Field { field: self.name, text: crate::cut(part), position, fault, accepted: self.accepted }
    }

    /// How many values there are.
    const fn count(&self) -> u32 {
        self.max - self.min + 1
    }

    fn item(&self, part: &str) -> Result<Item, FieldFault> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (part, None),
        };
        let mut item = if range == "*" {
            Item { first: self.min, last: self.max, step: 1, wildcard: true, text: "*".to_owned() }
        } else if let Some((first, last)) = range.split_once('-') {
            self.range(self.value(first)?, self.value(last)?)?
        } else {
            let first = self.wrapped(self.value(range)?);
            let last = if step.is_some() { self.max } else { first };
            Item { first, last, step: 1, wildcard: false, text: first.to_string() }
        };
        if let Some(step) = step {
            item.step = step;
            item.text = format!("{}/{step}", item.text);
        }
        Ok(item)
    }

    fn range(&self, first: u32, last: u32) -> Result<Item, FieldFault> {
        if last < first && self.names.is_empty() {
            return Err(FieldFault::Backwards);
        }
        Ok(Item { first, last, step: 1, wildcard: false, text: format!("{first}-{last}") })
    }

    /// Of 7 and 0, both Sunday, 0.
    const fn wrapped(&self, value: u32) -> u32 {
        if value > self.max { value - self.count() } else { value }
    }

    fn step(&self, text: &str) -> Result<u32, FieldFault> {
        let max = self.count();
        let step = number(text).ok_or(FieldFault::BadStep { max })?;
        if (1..=max).contains(&step) { Ok(step) } else { Err(FieldFault::BadStep { max }) }
    }

    fn value(&self, text: &str) -> Result<u32, FieldFault> {
        let (min, max) = (self.min, self.max + self.beyond);
        if let Some(value) = number(text) {
            return if (min..=max).contains(&value) {
                Ok(value)
            } else {
                Err(FieldFault::OutOfRange { value, min, max })
            };
        }
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.names[..at].iter().fold(min, |value, _| value + 1));
        }
        Err(match text.chars().last() {
            None => FieldFault::Empty,
            Some(sign @ ('L' | 'W' | '?' | 'H' | '~' | '!')) => FieldFault::Unsupported { sign },
            Some(_) if text.contains('#') => FieldFault::Unsupported { sign: '#' },
            Some(_) => FieldFault::NotAValue,
        })
    }

    fn bits(&self, item: &Item) -> u64 {
        let last = if item.last < item.first { item.last + self.count() } else { item.last };
        (item.first..=last).step_by(item.step as usize).fold(0, |bits, value| bits | 1 << self.wrapped(value))
    }
}

/// A number of ASCII digits; the greatest there is stands for those that are greater still.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}
