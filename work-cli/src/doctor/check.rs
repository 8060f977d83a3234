use comfy_table::Color;
use serde_json::json;

use crate::error::CliError;
use crate::output::Out;
use crate::text::one_line;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    /// What was found.
    pub(crate) found: String,
    /// What to do.
    pub(crate) mend: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Ok,
    Warn,
    Fail,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    const fn color(self) -> Color {
        match self {
            Self::Ok => Color::Green,
            Self::Warn => Color::Yellow,
            Self::Fail => Color::Red,
        }
    }
}

impl Check {
    pub(crate) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, level: Level::Ok, found: found.into(), mend: String::new() }
    }

    pub(crate) fn warn(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, level: Level::Warn, found: found.into(), mend: mend.into() }
    }

    pub(crate) fn fail(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, level: Level::Fail, found: found.into(), mend: mend.into() }
    }

    /// Prints it on one line: `[warn] queue mail: …; do that`.
    pub(crate) fn print(&self, out: &mut Out) -> Result<(), CliError> {
        let Self { name, level, found, mend } = self;
        let end = if mend.is_empty() { String::new() } else { format!("; {mend}") };
        let mark = format!("[{}]", level.name());
        let mark = if out.is_coloured() { coloured(&mark, level.color()) } else { mark };
        let next = (!mend.is_empty()).then_some(mend);
        let value = json!({ "check": name, "level": level.name(), "message": found, "next": next });
        out.answer(&value, &format!("{mark} {name}: {}", one_line(&format!("{found}{end}"))))
    }
}

fn coloured(text: &str, color: Color) -> String {
    let code = match color {
        Color::Green => 32,
        Color::Yellow => 33,
        _ => 31,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
