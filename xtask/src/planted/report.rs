use std::fmt::Write;

use serde_json::json;

use super::bug::Bug;

/// What became of each bug.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) trials: Vec<Trial>,
}

/// What became of one bug.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) name: String,
    pub(super) sentence: String,
    pub(super) stores: String,
    pub(super) seconds: u64,
    pub(super) result: Found,
}

/// Whether a bug was found.
#[derive(Debug)]
pub(super) enum Found {
    /// Each of its checks failed.
    Caught {
        /// The tests that failed.
        by: Vec<String>,
        /// The seeds that they printed.
        seeds: Vec<String>,
    },
    /// A check passed all the same.
    Missed(String),
    /// It could not be tried.
    Error(String),
}

impl Report {
    pub(super) fn add(&mut self, bug: &Bug, seconds: u64, result: Found) {
        let (name, sentence, stores) = (bug.name.clone(), bug.sentence.clone(), bug.stores.clone());
        self.trials.push(Trial { name, sentence, stores, seconds, result });
    }

    pub(super) fn is_good(&self) -> bool {
        self.trials.iter().all(|trial| matches!(trial.result, Found::Caught { .. }))
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = String::from("| bug | stores | found by | seed | seconds |\n|---|---|---|---|---|\n");
        for Trial { name, sentence, stores, seconds, result } in &self.trials {
            let number = name.split('_').next().unwrap_or_default();
            let (by, seeds) = match result {
                Found::Caught { by, seeds } => {
                    (by.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(", "), seeds.join(", "))
                }
                Found::Missed(check) => (format!("**nothing**: {check} passed"), String::new()),
                Found::Error(why) => (format!("**not tried**: {why}"), String::new()),
            };
            // Writing to a text does not fail.
            let _ = writeln!(text, "| {number} {sentence} | {stores} | {by} | {seeds} | {seconds} |");
        }
        text
    }

    pub(super) fn json(&self) -> String {
        let trials: Vec<serde_json::Value> = self.trials.iter().map(Trial::json).collect();
        format!("{:#}\n", json!(trials))
    }
}

impl Trial {
    fn json(&self) -> serde_json::Value {
        let (result, by, seeds, why) = match &self.result {
            Found::Caught { by, seeds } => ("caught", &**by, &**seeds, None),
            Found::Missed(check) => ("missed", &[][..], &[][..], Some(check)),
            Found::Error(why) => ("error", &[][..], &[][..], Some(why)),
        };
        json!({
            "name": self.name, "bug": self.sentence, "stores": self.stores, "seconds": self.seconds,
            "result": result, "by": by, "seeds": seeds, "why": why,
        })
    }
}
