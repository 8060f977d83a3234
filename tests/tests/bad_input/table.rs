//! What all the answers have in common.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// A row of `docs/bad_input.md`, what is given, and how an answer shows it: escaped, at most 80 characters.
#[derive(Clone, Copy)]
pub(crate) struct Case<'c>(pub u32, pub &'c str, pub &'c str);

/// The password of every URL in here.
pub(crate) const PASSWORD: &str = "s3cret";

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer says at least one of these about what is accepted, or about what to do.
const WAYS_OUT: [&str; 18] = [
    "; use ",
    "use ",
    "at most ",
    "at least ",
    "more than ",
    "are accepted",
    "not accepted",
    "the router has",
    "did you mean",
    "names have",
    "; give ",
    "must be ",
    "; create ",
    "; restore ",
    "; connect ",
    "is the server up",
    "; run ",
    "instead",
];

/// The answers of one area.
pub(crate) struct Table {
    area: &'static str,
    text: String,
    hidden: Vec<(String, &'static str)>,
}

impl Table {
    pub(crate) const fn of(area: &'static str) -> Self {
        Self { area, text: String::new(), hidden: Vec::new() }
    }

    /// Shows `name` where an answer has `text`, which is another one in each run.
    pub(crate) fn hide(&mut self, text: impl Into<String>, name: &'static str) {
        self.hidden.push((text.into(), name));
    }

    /// It is refused, in time, by an answer that names what was given and what is accepted.
    pub(crate) async fn refused<T, E: Display>(&mut self, case: Case<'_>, asked: impl Future<Output = Result<T, E>>) {
        let Case(row, what, _) = case;
        let answer = in_time(case, asked).await;
        let message = answer.err().unwrap_or_else(|| panic!("{row}, {what}: accepted")).to_string();
        let way_out = WAYS_OUT.iter().any(|words| message.contains(words));
        assert!(way_out, "{row}, {what}: says nothing of what is accepted: {message}");
        self.says(case, &message);
    }

    /// It is refused, in time, and nothing else would be accepted there.
    pub(crate) async fn refused_for_good<T, E: Display>(
        &mut self,
        case: Case<'_>,
        asked: impl Future<Output = Result<T, E>>,
    ) {
        let Case(row, what, _) = case;
        let answer = in_time(case, asked).await;
        let message = answer.err().unwrap_or_else(|| panic!("{row}, {what}: accepted")).to_string();
        self.says(case, &message);
    }

    /// It is accepted, in time; what came of it is said in so many words.
    pub(crate) async fn accepted<T, E: Display>(
        &mut self,
        case: Case<'_>,
        asked: impl Future<Output = Result<T, E>>,
    ) -> T {
        let Case(row, what, then) = case;
        let answer = in_time(case, asked).await.unwrap_or_else(|error| panic!("{row}, {what}: {error}"));
        self.line(case, &format!("accepted: {then}"));
        answer
    }

    /// A message that was found elsewhere, as with a dead letter.
    pub(crate) fn says(&mut self, case: Case<'_>, message: &str) {
        let Case(row, what, given) = case;
        assert!(message.len() < 400, "{row}, {what}: a message of {} bytes: {message}", message.len());
        assert!(!message.is_empty() && !message.chars().any(is_dangerous), "{row}, {what}: {message:?}");
        assert!(!message.contains(PASSWORD), "{row}, {what}: the password is shown: {message}");
        assert!(message.contains(given), "{row}, {what}: does not name {given}: {message}");
        self.line(case, message);
    }

    fn line(&mut self, Case(row, what, _): Case<'_>, message: &str) {
        let hide = |message: String, (text, name): &(String, &str)| message.replace(text, name);
        let message = self.hidden.iter().fold(message.to_owned(), hide);
        self.text.push_str(&format!("{row} {what}\n  {message}\n"));
    }

    /// The whole of it is what it was.
    pub(crate) fn stays(self) {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(self.area, self.text);
        });
    }
}

async fn in_time<T>(Case(row, what, _): Case<'_>, asked: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{row}, {what}: no answer"));
    assert!(begun.elapsed() < PATIENCE, "{row}, {what}: an answer after {:?}", begun.elapsed());
    answer
}

/// What moves a cursor, or makes a text look like another one.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The rows of a text that has each in a line of its own, which begins with its number.
fn rows(text: &str, number: impl Fn(&str) -> Option<&str>) -> BTreeSet<u32> {
    text.lines().filter_map(|line| number(line)?.trim().parse().ok()).collect()
}

#[test]
fn every_row_of_the_document_that_names_these_tests_has_a_case_and_no_other_row_has() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("../docs/bad_input.md")).unwrap();
    let here = |line: &str| line.contains("`work-tests::bad_input::");
    let lines: Vec<&str> = document.lines().filter(|line| here(line)).collect();
    let said = rows(&lines.join("\n"), |line| line.strip_prefix('|')?.split('|').next());
    let mut shown = BTreeSet::new();
    for file in std::fs::read_dir(root.join("tests/bad_input/snapshots")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        shown.extend(rows(&text, |line| line.split(' ').next()));
    }
    assert_eq!(said, shown);
}
