//! Documents that name tests name ones that there are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENTS: [&str; 3] = ["docs/promises.md", "docs/bad_input.md", "docs/capabilities.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Functions, modules, files and folders of the sources.
fn names(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if stem == "target" || stem.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            self::names(&path, names);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let named = words.windows(2).filter(|pair| matches!(pair[0], "fn" | "mod"));
            names.extend(named.map(|pair| pair[1].to_owned()));
            // Behaviours of the conformance suite stand in a list, and tests of several stores in macros.
            names.extend(text.lines().filter_map(|line| line.trim().strip_suffix(',')).map(str::to_owned));
        } else {
            continue;
        }
        names.insert(stem);
    }
}

/// Paths of at least two parts, and names of at least five words.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let spans = line.split('`').skip(1).step_by(2);
    spans.filter(|span| {
        let plain = span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | ':' | '-'));
        let path = span.contains("::") && !span.starts_with("work_core::");
        plain && (path || span.split('_').count() > 4 && !span.contains(':'))
    })
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let mut there = BTreeSet::new();
    names(&root(), &mut there);
    let begins = |part: &str| there.range(part.to_owned()..).next().is_some_and(|name| name.starts_with(part));
    let mut checked = 0;
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for (n, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
            for name in named(line) {
                checked += 1;
                let unknown = name.split("::").find(|part| !part.starts_with("work-") && !begins(part));
                assert_eq!(unknown, None, "{document}, line {}: `{name}`", n + 1);
            }
        }
    }
    assert!(checked > 300, "only {checked} names were found: are the documents written differently?");
}
