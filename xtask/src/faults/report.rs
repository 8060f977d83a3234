use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

/// Where everything is that a run leaves.
pub(super) const FOLDER: &str = "target/faults";

/// What the groups came to that have ended: kept after each, so that a run that is broken off goes on where it was.
pub(super) struct Report {
    size: &'static str,
    groups: Map<String, Value>,
}

impl Report {
    /// That of earlier runs of this size.
    pub(super) fn open(size: &'static str) -> Self {
        let kept = fs::read(state()).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let groups = kept.and_then(|mut kept| kept.get_mut(size).map(Value::take));
        Self { size, groups: groups.and_then(|groups| groups.as_object().cloned()).unwrap_or_default() }
    }

    pub(super) fn has_passed(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| group["verdict"] == "passed")
    }

    pub(super) fn note(&mut self, group: &str, what: Value) -> io::Result<()> {
        // Another run may have noted something meanwhile.
        self.groups = Self::open(self.size).groups;
        self.groups.insert(group.to_owned(), what);
        fs::create_dir_all(FOLDER)?;
        let kept = fs::read(state()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut all: Value = kept.unwrap_or_else(|| json!({}));
        all[self.size] = Value::Object(self.groups.clone());
        fs::write(state(), format!("{all:#}"))?;
        fs::write(PathBuf::from(FOLDER).join("report.json"), format!("{:#}", all[self.size]))?;
        fs::write(PathBuf::from(FOLDER).join("report.md"), self.text())
    }

    /// As a table, and what each group has said below it.
    fn text(&self) -> String {
        let line = |cells: [&str; 6]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("# Faults, {} size\n\n", self.size);
        text += &line(["group", "what breaks", "sizes", "seconds", "commit", "verdict"]);
        text += &line(["---"; 6]);
        let said = |group: &Value, key: &str| group[key].as_str().unwrap_or_default().to_owned();
        for (name, group) in &self.groups {
            let [about, sizes, commit, verdict] = ["about", "sizes", "commit", "verdict"].map(|key| said(group, key));
            text += &line([name, &about, &sizes, &group["seconds"].to_string(), &commit, &verdict]);
        }
        for (name, group) in &self.groups {
            text += &format!("\n## {name}\n\n```text\n");
            let lines = |key: &str| group[key].as_array().cloned().unwrap_or_default();
            for figure in lines("seeds").iter().chain(&lines("figures")).filter_map(Value::as_str) {
                text += &format!("{figure}\n");
            }
            text += "```\n";
        }
        text
    }
}

fn state() -> PathBuf {
    PathBuf::from(FOLDER).join("state.json")
}
