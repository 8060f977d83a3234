use std::io::{self, IsTerminal};

use crate::cli::Consent;
use crate::error::{CliError, say};
use crate::output::Out;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    Do,
    OnlySay,
}

/// Asks before something that cannot be taken back, unless that was answered in the call. `what` says what would be
/// done, such as "delete 12 jobs".
pub(crate) fn confirm(consent: &Consent, what: &str, out: &mut Out) -> Result<Go, CliError> {
    if consent.dry_run {
        return Ok(Go::OnlySay);
    }
    if consent.yes {
        return Ok(Go::Do);
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let how = "add --yes to do so, or --dry-run to look only; nothing was done";
        return Err(CliError::usage(format!("this would {what}: {how}")));
    }
    out.flush()?;
    say(&format!("This will {what}. Go on? [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(Go::Do);
    }
    Err(CliError::failed("not confirmed; nothing was done"))
}
