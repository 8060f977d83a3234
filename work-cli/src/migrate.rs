use serde_json::json;

use crate::cli::{Global, MigrateArgs};
use crate::error::CliError;
use crate::output::Out;
use crate::store::{StoreUrl, Tables};

/// Makes the tables, or brings them up to date.
pub(crate) async fn run(args: &MigrateArgs, global: &Global, out: &mut Out) -> Result<(), CliError> {
    let url = StoreUrl::of(global)?;
    let (found, known) = (url.tables().await?, url.known_version()?);
    let from = match found {
        Tables::Missing | Tables::Foreign => None,
        Tables::Version(found) if found > known => return Err(url.newer(found, known)),
        Tables::Version(found) => Some(found),
    };
    if !args.dry_run {
        drop(url.open_or_make().await?);
    }
    let would = if args.dry_run { "would be " } else { "" };
    let text = match from {
        Some(from) if from == known => format!("{url}: the tables have version {known}; nothing to do"),
        Some(from) => format!("{url}: {would}brought from version {from} to {known}"),
        None => format!("{url}: {would}made with tables of version {known}"),
    };
    out.answer(&json!({ "store": url.kind(), "from": from, "to": known, "dry_run": args.dry_run }), &text)
}
