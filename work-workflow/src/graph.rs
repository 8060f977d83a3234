//! A workflow without its types: states by number, in the order they are declared in the enum.

use std::fmt::Write as _;
use std::time::Duration;

use work_core::limit::{Gradient, Rate};
use work_core::{Kind, RetryPolicy};

use crate::InvalidWorkflow;
use crate::envelope::Shape;
use crate::names;
use crate::step::StateLimit;

pub(crate) struct Graph {
    pub(crate) name: String,
    pub(crate) starts: Vec<usize>,
    pub(crate) defs: Vec<Def>,
}

pub(crate) struct Def {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) declared: bool,
    pub(crate) terminal: bool,
    pub(crate) to: Vec<usize>,
    pub(crate) kicks: Vec<usize>,
    pub(crate) dead: Option<usize>,
    pub(crate) concurrency: usize,
    pub(crate) max_attempts: u32,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: Option<Duration>,
    pub(crate) limit: Option<StateLimit>,
    /// It says how many at once, and the concurrency is its most.
    pub(crate) gradient: Option<Gradient>,
    /// Over all processes.
    pub(crate) rate: Option<Rate>,
}

/// How many items that arrive in terminal states are seen to at once.
const TERMINAL_CONCURRENCY: usize = 64;

impl Graph {
    pub(crate) fn new(name: String, states: impl Iterator<Item = &'static str>) -> Self {
        let def = |state| Def {
            name: state,
            kind: names::kind(&name, state),
            declared: false,
            terminal: true,
            to: Vec::new(),
            kicks: Vec::new(),
            dead: None,
            concurrency: TERMINAL_CONCURRENCY,
            max_attempts: work_core::DEFAULT_MAX_ATTEMPTS,
            retry: RetryPolicy::default(),
            timeout: None,
            limit: None,
            gradient: None,
            rate: None,
        };
        let defs = states.map(def).collect();
        Self { name, starts: Vec::new(), defs }
    }

    pub(crate) fn index(&self, state: &str) -> Option<usize> {
        self.defs.iter().position(|def| def.name == state)
    }

    /// The names of these states, for a message.
    pub(crate) fn list(&self, states: impl IntoIterator<Item = usize>) -> String {
        let names: Vec<&str> = states.into_iter().map(|state| self.defs[state].name).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidWorkflow> {
        for def in &self.defs {
            def.check()?;
        }
        if self.starts.is_empty() {
            return Err(InvalidWorkflow::NoStart);
        }
        let mut reached: Vec<bool> = vec![false; self.defs.len()];
        let mut next = self.starts.clone();
        while let Some(state) = next.pop() {
            if !std::mem::replace(&mut reached[state], true) {
                next.extend(self.defs[state].leads_to());
            }
        }
        if let Some(lost) = reached.iter().position(|reached| !reached) {
            return Err(InvalidWorkflow::Unreachable(self.defs[lost].name));
        }
        self.check_ends()
    }

    /// From every state some terminal one can be reached: kicks do not count, they are other items.
    fn check_ends(&self) -> Result<(), InvalidWorkflow> {
        let mut ends: Vec<bool> = self.defs.iter().map(|def| def.terminal).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for (n, def) in self.defs.iter().enumerate() {
                if !ends[n] && def.to.iter().any(|to| ends[*to]) {
                    ends[n] = true;
                    changed = true;
                }
            }
        }
        match ends.iter().position(|ends| !ends) {
            Some(endless) => Err(InvalidWorkflow::NoEnd(self.defs[endless].name)),
            None => Ok(()),
        }
    }

    /// What the record of a run keeps of it.
    pub(crate) fn shape(&self) -> Vec<Shape> {
        let names = |states: &[usize]| states.iter().map(|state| self.defs[*state].name.to_owned()).collect();
        let shape = |(n, def): (usize, &Def)| Shape {
            state: def.name.to_owned(),
            start: self.starts.contains(&n),
            terminal: def.terminal,
            to: names(&def.to),
            kicks: names(&def.kicks),
            dead: def.dead.map(|dead| self.defs[dead].name.to_owned()),
            max_attempts: def.max_attempts,
        };
        self.defs.iter().enumerate().map(shape).collect()
    }

    /// Every arrow: from, to, and its label.
    fn arrows(&self) -> Vec<(&str, &str, &'static str)> {
        let mut arrows = Vec::new();
        for def in &self.defs {
            let mut all = |states: &[usize], label| {
                arrows.extend(states.iter().map(|to| (def.name, self.defs[*to].name, label)));
            };
            all(&def.to, "");
            all(&def.kicks, "kick");
            all(def.dead.as_slice(), "failed");
        }
        arrows
    }

    pub(crate) fn mermaid(&self) -> String {
        let mut text = "stateDiagram-v2\n".to_owned();
        let id = |name: &str| name.replace('-', "_");
        for def in self.defs.iter().filter(|def| id(def.name) != def.name) {
            let _ = writeln!(text, "    state \"{}\" as {}", def.name, id(def.name));
        }
        for start in &self.starts {
            let _ = writeln!(text, "    [*] --> {}", id(self.defs[*start].name));
        }
        for (from, to, label) in self.arrows() {
            let label = if label.is_empty() { String::new() } else { format!(": {label}") };
            let _ = writeln!(text, "    {} --> {}{label}", id(from), id(to));
        }
        for def in self.defs.iter().filter(|def| def.terminal) {
            let _ = writeln!(text, "    {} --> [*]", id(def.name));
        }
        text
    }

    pub(crate) fn dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n", self.name);
        for def in &self.defs {
            let shape = if def.terminal { "doublecircle" } else { "box" };
            let _ = writeln!(text, "    \"{}\" [shape={shape}];", def.name);
        }
        for (from, to, label) in self.arrows() {
            let look = match label {
                "" => String::new(),
                "kick" => " [style=dotted]".to_owned(),
                label => format!(" [style=dashed, label=\"{label}\"]"),
            };
            let _ = writeln!(text, "    \"{from}\" -> \"{to}\"{look};");
        }
        text.push_str("}\n");
        text
    }
}

impl Def {
    /// What starts has to have a permit.
    pub(crate) const fn is_limited(&self) -> bool {
        self.limit.is_some() || self.rate.is_some()
    }

    fn check(&self) -> Result<(), InvalidWorkflow> {
        if !self.declared {
            return Err(InvalidWorkflow::MissingHandler(self.name));
        }
        if !(1..=1_000_000).contains(&self.concurrency) {
            return Err(InvalidWorkflow::Concurrency { state: self.name, given: self.concurrency });
        }
        if !(1..=work_core::MAX_ATTEMPTS).contains(&self.max_attempts) {
            return Err(InvalidWorkflow::MaxAttempts { state: self.name, given: self.max_attempts });
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(InvalidWorkflow::Timeout(self.name));
        }
        Ok(())
    }

    fn leads_to(&self) -> impl Iterator<Item = usize> {
        self.to.iter().chain(&self.kicks).chain(&self.dead).copied()
    }
}
