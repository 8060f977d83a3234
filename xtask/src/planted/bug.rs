use std::fs;
use std::path::{Path, PathBuf};

/// One bug: a file of header lines and changes.
///
/// ```text
/// bug: what is wrong, as a sentence
/// stores: SQLite
/// check: work-sqlite --test faults :: test(=a_disk_that_is_full_refuses_and_goes_on_when_there_is_room)
/// --- work-sqlite/src/error.rs
/// @@
///  a line that is there before and after
/// -a line that goes
/// +a line that comes
/// ```
///
/// A change has no line numbers: its lines have to be in the file exactly once.
#[derive(Debug)]
pub(super) struct Bug {
    /// The name of its file, without the ending.
    pub(super) name: String,
    pub(super) sentence: String,
    pub(super) stores: String,
    pub(super) checks: Vec<Check>,
    files: Vec<(PathBuf, Vec<Hunk>)>,
}

/// What has to fail: tests of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// The package and which of its targets to build, as arguments of cargo.
    pub(super) targets: String,
    /// An expression of nextest.
    pub(super) filter: String,
    /// The environment: names and values.
    pub(super) env: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct Hunk {
    old: String,
    new: String,
}

impl Bug {
    /// All of a folder, by name.
    pub(super) fn all(folder: &Path) -> Result<Vec<Self>, String> {
        let read = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut paths: Vec<PathBuf> = read.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "patch"));
        paths.sort();
        if paths.is_empty() {
            return Err(format!("{}: no bugs", folder.display()));
        }
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Self::parse(&name, &text).map_err(|why| format!("{}: {why}", path.display()))
    }

    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut bug =
            Self { name: name.into(), sentence: String::new(), stores: String::new(), checks: vec![], files: vec![] };
        let mut env = Vec::new();
        for line in text.lines() {
            if let Some(path) = line.strip_prefix("--- ") {
                bug.files.push((path.into(), Vec::new()));
            } else if let Some((_, hunks)) = bug.files.last_mut() {
                change(hunks, line)?;
            } else {
                bug.header(line, &mut env)?;
            }
        }
        bug.checks.iter_mut().for_each(|check| check.env.clone_from(&env));
        let lacks = |what: bool, name: &str| if what { Err(format!("it has no `{name}`")) } else { Ok(()) };
        lacks(bug.sentence.is_empty(), "bug:")?;
        lacks(bug.stores.is_empty(), "stores:")?;
        lacks(bug.checks.is_empty(), "check:")?;
        lacks(bug.files.iter().all(|(_, hunks)| hunks.is_empty()), "@@")?;
        Ok(bug)
    }

    fn header(&mut self, line: &str, env: &mut Vec<(String, String)>) -> Result<(), String> {
        let (key, value) = line.split_once(": ").ok_or_else(|| format!("not a header: {line:?}"))?;
        match key {
            "bug" => self.sentence = value.into(),
            "stores" => self.stores = value.into(),
            "check" => {
                let both =
                    value.split_once(" :: ").ok_or_else(|| format!("a check is TARGETS :: FILTER: {value:?}"))?;
                self.checks.push(Check { targets: both.0.into(), filter: both.1.into(), env: Vec::new() });
            }
            "env" => {
                let both = value.split_once('=').ok_or_else(|| format!("env is NAME=VALUE: {value:?}"))?;
                env.push((both.0.into(), both.1.into()));
            }
            _ => return Err(format!("unknown header {key:?}; use bug, stores, check and env")),
        }
        Ok(())
    }

    /// The files that it changes, as they are with it.
    pub(super) fn planted(&self, root: &Path) -> Result<Vec<(PathBuf, String)>, String> {
        self.files.iter().map(|(path, hunks)| Ok((path.clone(), self.change(root, path, hunks)?))).collect()
    }

    fn change(&self, root: &Path, path: &Path, hunks: &[Hunk]) -> Result<String, String> {
        let place = format!("{} cannot be planted: {}", self.name, path.display());
        let mut text = fs::read_to_string(root.join(path)).map_err(|error| format!("{place}: {error}"))?;
        for hunk in hunks {
            let found: Vec<usize> = text.match_indices(&hunk.old).map(|(at, _)| at).collect();
            let whole = |at: &&usize| **at == 0 || text.as_bytes()[**at - 1] == b'\n';
            let at = match found.iter().filter(whole).collect::<Vec<_>>()[..] {
                [at] => *at,
                [] => return Err(format!("{place} does not have these lines:\n{}", hunk.old)),
                _ => return Err(format!("{place} has these lines more than once:\n{}", hunk.old)),
            };
            text.replace_range(at..at + hunk.old.len(), &hunk.new);
        }
        Ok(text)
    }

    pub(super) fn wants_postgres(&self) -> bool {
        self.stores.contains("Postgres")
    }
}

/// Takes one line below a file name.
fn change(hunks: &mut Vec<Hunk>, line: &str) -> Result<(), String> {
    if line.starts_with("@@") {
        hunks.push(Hunk::default());
        return Ok(());
    }
    let hunk = hunks.last_mut().ok_or_else(|| format!("before the first @@: {line:?}"))?;
    let (old, new) = match line.as_bytes().first() {
        Some(b'-') => (true, false),
        Some(b'+') => (false, true),
        // An empty line, whether its blank has survived or not.
        Some(b' ') | None => (true, true),
        _ => return Err(format!("a line begins with a blank, - or +: {line:?}")),
    };
    let rest = line.get(1..).unwrap_or_default();
    for text in [old.then_some(&mut hunk.old), new.then_some(&mut hunk.new)].into_iter().flatten() {
        text.push_str(rest);
        text.push('\n');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

    use super::*;

    const HEAD: &str = "bug: it is wrong\nstores: SQLite\ncheck: a --lib :: test(x)\n--- file.rs\n@@\n";

    fn planted(change: &str, file: &str) -> Result<String, String> {
        let dir =
            std::env::temp_dir().join(format!("planted-{}-{:?}", std::process::id(), std::thread::current().id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("file.rs"), file).unwrap();
        let planted = Bug::parse("00", &format!("{HEAD}{change}")).and_then(|bug| bug.planted(&dir));
        fs::remove_dir_all(&dir).unwrap();
        planted.map(|mut files| files.remove(0).1)
    }

    #[test]
    fn lines_are_replaced_wherever_they_are() {
        assert_eq!(planted(" a\n-b\n+c\n+d\n\n e\n", "x\na\nb\n\ne\n").unwrap(), "x\na\nc\nd\n\ne\n");
    }

    #[test]
    fn lines_that_are_not_there_or_twice_are_an_error() {
        assert!(planted("-b\n", "a\n").unwrap_err().contains("does not have these lines:\nb"));
        assert!(planted("-a\n", "a\na\n").unwrap_err().contains("more than once"));
        assert!(planted("-b\n", "ab\n").unwrap_err().contains("does not have"), "whole lines only");
    }

    #[test]
    fn a_header_that_is_missing_or_unknown_is_named() {
        assert!(Bug::parse("00", "bug: x\nstores: SQLite\n").unwrap_err().contains("check:"));
        assert!(Bug::parse("00", "store: SQLite\n").unwrap_err().contains("store"));
    }
}
