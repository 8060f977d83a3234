//! Texts and values at random, for whatever reads what others wrote: any of them is an answer or a typed error, at once.

use std::collections::hash_map::RandomState;
use std::fmt::{Debug, Display};
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use serde_json::{Map, Number, Value};

/// The longest message that an error may have, in bytes.
pub const MAX_MESSAGE: usize = 400;

/// How long one case may take, on a machine that has other things to do, in a build without optimisation.
pub const MAX_CASE: Duration = Duration::from_secs(10);

/// Cases at random, for a second each, or for as many seconds as `WORK_FUZZ` says.
///
/// The seed of the run is printed, and that of the case that failed: with `WORK_SEED` it is the first one of the next run.
///
/// ```
/// use work_core::Queue;
/// use work_core::testing::fuzz::{Fuzz, check_message};
///
/// Fuzz::new("names of queues").cases(500).texts(&["mail", "mail:tenant-7"], |text| {
///     match Queue::from(text.to_owned()).validate() {
///         Ok(()) => assert!(text.is_ascii()),
///         Err(error) => check_message(error),
///     }
/// });
/// ```
#[derive(Debug)]
#[must_use = "nothing runs without `texts`, `bytes` or `run`"]
pub struct Fuzz {
    name: &'static str,
    seed: u64,
    until: Instant,
    done: u64,
    most: u64,
    worst: Duration,
    began: Instant,
    about: String,
}

/// Says what failed.
impl Drop for Fuzz {
    fn drop(&mut self) {
        if std::thread::panicking() && self.done > 0 {
            let about: String = self.about.chars().take(4_000).collect();
            println!("{}: WORK_SEED={} makes it again: {about}", self.name, self.case());
        }
    }
}

impl Fuzz {
    /// Of what the name says.
    pub fn new(name: &'static str) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seed = number("WORK_SEED").unwrap_or_else(|| RandomState::new().hash_one(name));
        let seconds = number("WORK_FUZZ").map_or(Duration::from_secs(1), Duration::from_secs);
        println!("{name}: seed {seed} (repeat with WORK_SEED={seed})");
        let most = if number("WORK_FUZZ").is_some() { u64::MAX } else { 200_000 };
        let began = Instant::now();
        Self { name, seed, until: began + seconds, done: 0, most, worst: Duration::ZERO, began, about: String::new() }
    }

    /// No more than so many, however long it is to take; 200,000 unless `WORK_FUZZ` is set.
    pub const fn cases(mut self, most: u64) -> Self {
        self.most = most;
        self
    }

    /// The randomness of the next case, as long as there is time: for cases that are asynchronous. At least one.
    ///
    /// # Panics
    ///
    /// If the case before took longer than [`MAX_CASE`].
    pub fn next_case(&mut self) -> Option<Random> {
        let now = Instant::now();
        if self.done > 0 {
            let took = now.saturating_duration_since(self.began);
            self.worst = self.worst.max(took);
            assert!(took <= MAX_CASE, "{}: a case took {took:?}", self.name);
            if self.done >= self.most || now >= self.until {
                println!("{}: {} cases, the slowest took {:?}", self.name, self.done, self.worst);
                return None;
            }
        }
        self.done += 1;
        self.began = now;
        Some(Random(self.case()))
    }

    /// The seed of the case that is under way.
    #[must_use]
    pub const fn case(&self) -> u64 {
        self.seed.wrapping_add(self.done.wrapping_sub(1))
    }

    /// What the case under way is about: it is printed if the case fails.
    pub fn about(&mut self, given: impl Debug) {
        self.about = format!("{given:?}");
    }

    /// Any case: what is made is what is printed if the check panics.
    ///
    /// # Panics
    ///
    /// As the check does, and if a case takes longer than [`MAX_CASE`].
    pub fn run<T: Debug>(mut self, mut make: impl FnMut(&mut Random) -> T, mut check: impl FnMut(&T)) {
        while let Some(mut random) = self.next_case() {
            let given = make(&mut random);
            let ended = catch_unwind(AssertUnwindSafe(|| check(&given)));
            if let Err(panic) = ended {
                self.about(&given);
                resume_unwind(panic);
            }
        }
    }

    /// Texts: of any bytes, and those of the corpus, tampered with.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn texts(self, corpus: &[&str], mut check: impl FnMut(&str)) {
        self.run(|random| random.text(corpus), |text: &String| check(text));
    }

    /// As [`texts`](Self::texts), and not always UTF-8.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn bytes(self, corpus: &[&str], mut check: impl FnMut(&[u8])) {
        self.run(|random| random.bytes(corpus), |bytes: &Vec<u8>| check(bytes));
    }
}

/// What an error says can be printed anywhere: it is short, and no terminal obeys it.
///
/// # Panics
///
/// If not.
pub fn check_message(error: impl Display) {
    let text = error.to_string();
    assert!(!text.trim().is_empty(), "an error without a message");
    assert!(text.len() < MAX_MESSAGE, "a message of {} bytes: {text:?}", text.len());
    let sign = text
        .chars()
        .find(|sign| sign.is_control() || matches!(*sign, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    assert!(sign.is_none(), "a message with {sign:?}: {text:?}");
}

/// What stands between the words of most languages, and what breaks those who read them.
const PARTS: &[&str] = &[
    "",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\0",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{202e}",
    "\u{feff}",
    "é",
    "\u{301}",
    "\u{10ffff}",
    "٣",
    "😀",
    "'",
    "\"",
    "`",
    "\\",
    "/",
    "//",
    "..",
    ".",
    ",",
    ";",
    ":",
    "://",
    "=",
    "==",
    "&",
    "?",
    "#",
    "%",
    "%00",
    "%ff",
    "%zz",
    "+",
    "-",
    "--",
    "_",
    "*",
    "@",
    "$",
    "{",
    "}",
    "{}",
    "[",
    "]",
    "[]",
    "(",
    ")",
    "<",
    ">",
    "|",
    "~",
    "^",
    "!",
    "0",
    "1",
    "9",
    "-0",
    "-1",
    "1.5",
    "1e999",
    "-1e-999",
    "255",
    "65536",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999",
    "NaN",
    "inf",
    "null",
    "true",
    "\\u0000",
    "\\ud800",
    "s",
    "ms",
    "d",
    "w",
    "T",
    "Z",
    "+14:00",
    "9999-12-31",
    "-262143-01-01",
    "' OR 1=1 --",
    "<script>",
    "${x}",
    "%s%n",
    "\u{0}\u{0}",
];

/// SplitMix64: a seed is all there is to repeat a case.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 up to `end`, without it; 0 if that is none.
    pub const fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    /// True once in so many times.
    pub const fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub const fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A number, often at an edge.
    pub fn number(&mut self) -> i64 {
        const EDGES: [i64; 17] = [
            i64::MIN,
            i64::MIN + 1,
            -9_007_199_254_740_993,
            -4_294_967_297,
            -2_147_483_649,
            -256,
            -2,
            -1,
            0,
            1,
            2,
            255,
            65_536,
            2_147_483_648,
            4_294_967_296,
            253_402_300_800_000,
            i64::MAX,
        ];
        match self.below(3) {
            0 => self.next().cast_signed(),
            1 => self.below(2_000) as i64 - 1_000,
            _ => *self.pick(&EDGES),
        }
    }

    /// A text: of any bytes, of parts of any language, or one of the corpus that was tampered with.
    pub fn text(&mut self, corpus: &[&str]) -> String {
        match self.below(8) {
            0 => String::from_utf8_lossy(&self.any_bytes(200)).into_owned(),
            1 => (0..self.below(40)).map(|_| *self.pick(PARTS)).collect(),
            2 if self.once_in(8) => self.pick(PARTS).repeat(self.below(2_000)),
            _ => self.tampered(corpus),
        }
    }

    /// As [`text`](Self::text), and not always UTF-8.
    pub fn bytes(&mut self, corpus: &[&str]) -> Vec<u8> {
        let mut bytes = self.text(corpus).into_bytes();
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = self.next().to_le_bytes()[0];
            }
        }
        bytes
    }

    /// So many bytes at most, of any value.
    pub fn any_bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn tampered(&mut self, corpus: &[&str]) -> String {
        if corpus.is_empty() {
            return String::new();
        }
        let mut signs: Vec<char> = self.pick(corpus).chars().collect();
        for _ in 0..self.below(5) {
            let from = self.below(signs.len() + 1);
            let to = (from + self.below(4)).min(signs.len());
            match self.below(6) {
                0 => drop(signs.drain(from..to)),
                // What is there once more, or elsewhere.
                1 => drop(signs.splice(from..from, signs[from..to].to_vec())),
                2 => {
                    let other: Vec<char> = self.pick(corpus).chars().collect();
                    let cut = self.below(other.len() + 1);
                    drop(signs.splice(from.., other[cut..].iter().copied()));
                }
                3 if self.once_in(50) => {
                    let part = signs[from..to].iter().collect::<String>().repeat(self.below(1_000));
                    drop(signs.splice(from..to, part.chars()));
                }
                _ => drop(signs.splice(from..to, self.pick(PARTS).chars())),
            }
        }
        signs.into_iter().collect()
    }

    /// A value somewhere in it becomes another one, or is gone. Texts are often one of the corpus, tampered with.
    pub fn tamper(&mut self, json: &mut Value, corpus: &[&str]) {
        match json {
            Value::Array(items) if !items.is_empty() && !self.once_in(6) => {
                let at = self.below(items.len());
                self.tamper(&mut items[at], corpus);
            }
            Value::Object(fields) if !fields.is_empty() && !self.once_in(6) => {
                let at = self.below(fields.len());
                let Some(name) = fields.keys().nth(at).cloned() else { return };
                if self.once_in(10) {
                    fields.remove(&name);
                } else if let Some(value) = fields.get_mut(&name) {
                    self.tamper(value, corpus);
                }
            }
            Value::String(text) if !self.once_in(4) => {
                let given = std::mem::take(text);
                let one = if self.once_in(3) { self.pick(corpus) } else { given.as_str() };
                *text = self.text(&[one]);
            }
            other => *other = self.json(3),
        }
    }

    /// JSON of any shape, so many levels deep at most.
    pub fn json(&mut self, levels: usize) -> Value {
        match self.below(if levels == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => Value::Bool(self.once_in(2)),
            2 => self.number().into(),
            3 => Number::from_f64(f64::from_bits(self.next())).map_or(Value::Null, Value::Number),
            4 | 5 => Value::String(self.text(&["a", "id", "user.id"])),
            6 => (0..self.below(5)).map(|_| self.json(levels - 1)).collect::<Vec<_>>().into(),
            _ => {
                let pairs = (0..self.below(5)).map(|_| (self.text(&["a", "id", "user.id", ""]), self.json(levels - 1)));
                Value::Object(pairs.collect::<Vec<_>>().into_iter().collect::<Map<_, _>>())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_texts_again() {
        let texts = |seed: u64| (0..100).map(|n| Random::new(seed + n).text(&["mail", "90s"])).collect::<Vec<_>>();
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(1_000));
    }

    #[test]
    fn the_case_that_fails_is_the_first_one_of_its_seed() {
        let mut fuzz = Fuzz::new("itself").cases(50);
        let (mut last, mut case) = (None, 0);
        while let Some(mut random) = fuzz.next_case() {
            (last, case) = (Some(random.next()), fuzz.case());
        }
        assert_eq!(last, Some(Random::new(case).next()));
    }

    #[test]
    fn messages_that_a_terminal_obeys_or_that_have_no_end_are_found() {
        for message in [String::new(), "a\u{1b}[31m".to_owned(), "a\u{202e}b".to_owned(), "x".repeat(400)] {
            assert!(catch_unwind(|| check_message(&message)).is_err(), "{message:?}");
        }
        check_message("use 1 to 63");
    }
}
