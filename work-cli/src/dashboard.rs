use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use work_dashboard::{BuildError, Dashboard, DashboardBuilder, ServeError};

use crate::cli::DashboardArgs;
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;

/// Serves the dashboard of the store until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: &DashboardArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let mut builder = Dashboard::builder(Arc::clone(&session.store));
    if let Some(token) = token(args.token.as_deref(), "WORK_DASHBOARD_TOKEN")? {
        builder = builder.token(token);
    }
    if let Some(token) = token(args.read_only_token.as_deref(), "WORK_DASHBOARD_READ_ONLY_TOKEN")? {
        builder = builder.read_only_token(token);
    }
    builder = args.host.iter().fold(builder, DashboardBuilder::host);
    if let Some(path) = &args.base_path {
        builder = builder.base_path(path);
    }
    if args.read_only {
        builder = builder.read_only();
    }
    if args.show_args {
        builder = builder.show_args();
    }
    if args.https {
        builder = builder.https();
    }
    let dashboard = builder.build().map_err(|error: BuildError| CliError::usage(error.to_string()))?;
    let bound = dashboard.bind(SocketAddr::new(args.address, args.port)).await.map_err(|error| refused(&error))?;
    // Heard of from here on, so that whoever reads the address may stop it.
    let stop = stopped()?;
    let url = format!("http://{}", bound.address());
    out.answer(&json!({ "url": url, "locked": dashboard.is_locked() }), &url)?;
    out.flush()?;
    out.note(&format!("The dashboard of {}, until Ctrl-C.", session.url));
    bound.run_until(stop).await.map_err(|error| CliError::failed(error.to_string()))?;
    out.note("stopped");
    Ok(())
}

fn refused(error: &ServeError) -> CliError {
    match error {
        ServeError::Open { address } => CliError::usage(format!(
            "{address} can be reached from other machines; give a token by --token FILE or WORK_DASHBOARD_TOKEN, or leave \
             --address away"
        )),
        other => CliError::failed(other.to_string()),
    }
}

/// From a file or the environment, and never from the command line: that is seen by every user of the machine.
fn token(file: Option<&Path>, variable: &str) -> Result<Option<String>, CliError> {
    let Some(file) = file else { return Ok(std::env::var(variable).ok()) };
    let read = std::fs::read_to_string(file);
    read.map(Some).map_err(|error| {
        // A token may stand where its file should.
        let shown = if file.components().count() > 1 { file.display().to_string() } else { "the file".to_owned() };
        CliError::usage(format!("{shown} cannot be read: {error}; give a file that has the token in it"))
    })
}

#[cfg(unix)]
fn stopped() -> Result<impl Future<Output = ()>, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stopped() -> Result<impl Future<Output = ()>, CliError> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
