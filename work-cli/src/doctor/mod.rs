mod check;
mod live;

pub(crate) use check::Check;

use crate::cli::Global;
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;
use crate::store::{StoreUrl, Tables};
use check::Level;

/// Looks at everything that may be wrong, and says what to do. Changes nothing.
pub(crate) async fn run(global: &Global, out: &mut Out) -> Result<(), CliError> {
    let url = StoreUrl::of(global)?;
    let (mut warned, mut failed) = (0, 0);
    let mut print = |check: &Check, out: &mut Out| {
        warned += u64::from(check.level == Level::Warn);
        failed += u64::from(check.level == Level::Fail);
        check.print(out)
    };
    match opened(&url, global, &mut print, out).await {
        Err(unusable @ CliError::Unusable(_)) => {
            print(&Check::fail("store", unusable.to_string(), ""), out)?;
            out.flush()?;
            return Err(CliError::unusable("the store cannot be used; see the check that failed"));
        }
        Err(error) => return Err(error),
        Ok(session) => {
            for check in url.examine().await?.iter().chain(&live::checks(&session).await) {
                print(check, out)?;
            }
        }
    }
    out.flush()?;
    match (failed, warned) {
        (0, 0) => Ok(()),
        (0, warned) => {
            out.note(&format!("{}, nothing that failed.", crate::text::count_of(warned, "warning")));
            Ok(())
        }
        (failed, _) => Err(CliError::failed(format!("{failed} of the checks failed; each says what to do"))),
    }
}

/// Whether the store can be reached, and what its tables are.
async fn opened(
    url: &StoreUrl,
    global: &Global,
    print: &mut impl FnMut(&Check, &mut Out) -> Result<(), CliError>,
    out: &mut Out,
) -> Result<Session, CliError> {
    let (tables, known) = (url.tables().await?, url.known_version()?);
    let session = Session::open(global).await?;
    print(&Check::ok("store", format!("{url} can be reached, read and written")), out)?;
    if tables == Tables::Version(known) {
        print(&Check::ok("schema", format!("the tables have version {known}, the one of this program")), out)?;
    }
    Ok(session)
}
