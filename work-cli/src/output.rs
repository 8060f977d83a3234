use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use clap::ColorChoice;
use serde::Serialize;

use crate::cli::Global;
use crate::error::{CliError, say};

/// Where answers go: standard output, as tables or as JSON. Remarks go to standard error.
pub(crate) struct Out {
    to: BufWriter<Stdout>,
    json: bool,
    quiet: bool,
    coloured: bool,
    terminal: bool,
}

impl Out {
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let coloured = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            // Whatever its value, says no-color.org.
            ColorChoice::Auto if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
            ColorChoice::Auto => terminal || set("CLICOLOR_FORCE"),
        };
        let to = BufWriter::with_capacity(32 * 1024, io::stdout());
        Self { to, json: global.json, quiet: global.quiet, coloured: coloured && !global.json, terminal }
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) const fn is_coloured(&self) -> bool {
        self.coloured
    }

    pub(crate) const fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<(), CliError> {
        Ok(writeln!(self.to, "{text}")?)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        Ok(self.to.write_all(bytes)?)
    }

    /// One value on one line.
    pub(crate) fn value(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut self.to, value).map_err(io::Error::from)?;
        Ok(self.to.write_all(b"\n")?)
    }

    /// The value if JSON is wanted, otherwise the text.
    pub(crate) fn answer(&mut self, value: &impl Serialize, text: &str) -> Result<(), CliError> {
        if self.json { self.value(value) } else { self.line(text) }
    }

    /// Says something beside the answer.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say(&format!("{text}\n"));
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.to.flush()?)
    }
}
