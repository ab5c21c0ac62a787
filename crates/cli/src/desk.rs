//! `performer desk`: the pages for the people who look after failed work, over a store or an Orchestrator, or of a server.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use performer_core::orchestrator::Insight as _;
use performer_server::{DeskMode, Server, ServerBuilder};
use performer_store::Store;
use serde_json::json;
use tokio::net::TcpListener;

use super::GlobalArgs;
use super::environment::actor;
use super::output::{self, CliError, CommandResult};
use super::serve::{start_logging, without_password};
use super::signals::Signals;

/// Open the desk: pages for the people who look after failed work
///
/// Over a file or a database, the command serves the desk alone until Ctrl-C, on 127.0.0.1. The printed link signs one
/// person in, who may do everything; nobody else gets in. The store needs no server and gets no users. For a server, the command prints a
/// link to the server's own desk, which signs in the user of the credentials; an application has to be registered for all scopes. A link
/// works once, within five minutes. Over a UiPath Orchestrator, the command serves pages of the queues, items and jobs of one folder, with
/// what the credentials allow; queues are read at most once a minute.
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer desk --url sqlite:invoices.db\n  \
performer desk --url sqlite:invoices.db --read-only --port 8096\n  \
performer desk --url http://127.0.0.1:8095\n  \
performer desk --url https://cloud.uipath.com/acme/production")]
pub(super) struct Desk {
    /// Serve pages that change nothing; not for a server of performer, which has permissions of its own
    #[arg(long)]
    read_only: bool,
    /// The port on 127.0.0.1; not for a server of performer [default: one that is free]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The log filter, such as info or debug
    #[arg(long, env = "RUST_LOG", default_value = "warn", value_name = "FILTER")]
    log: String,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Desk {
    pub(super) async fn run(self) -> CommandResult {
        let target = self.global.target()?;
        if !self.global.is_http()? {
            let store = Store::open(target.url()).await?;
            return self.serve(target.url(), Server::builder(store).own_desk(actor())).await;
        }
        let server = target.connect_server().await?;
        if server.keeps_operations() {
            return self.of_server().await;
        }
        // A UiPath Orchestrator: its store keeps the items, and memory who is signed in here.
        let desk = Server::builder(Store::memory()).own_desk_of(Arc::new(server), actor());
        self.serve(target.url(), desk).await
    }

    /// The link to the desk of a server.
    async fn of_server(self) -> CommandResult {
        if self.read_only || self.port.is_some() {
            let message =
                "--read-only and --port are for a desk over a store: a server serves its desk itself";
            return Err(CliError::usage(message));
        }
        // A session on the desk has all permissions of its user, so a server gives no link to a token with fewer scopes.
        let server = self.global.target()?.connect_server_with(Some("OrchestratorApiUserAccess")).await?;
        let link = server.desk_link().await?;
        tell(&link, &format!("The desk of the server: {link}"), "The link works once, within five minutes.")?;
        Ok(ExitCode::SUCCESS)
    }

    /// Serves the desk until it is stopped.
    async fn serve(self, url: &str, desk: ServerBuilder) -> CommandResult {
        let log = start_logging(&self.log, false)?;
        let port = self.port.unwrap_or(0);
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .map_err(|error| CliError::failed(format!("cannot listen on 127.0.0.1:{port}: {error}")))?;
        let mode = if self.read_only { DeskMode::ReadOnly } else { DeskMode::On };
        let server = desk.desk(mode).log_lines_dropped(log.dropped()).open().await?;
        let link = format!("http://{}{}", listener.local_addr()?, server.desk_link().await?);
        let stopping = log.clone();
        let on_stop = move || stopping.remark("performer: stopping; a second signal stops at once");
        // Before the greeting, because the parent process may send a signal as soon as it has read that.
        let signals = Signals::handle(on_stop, || {})?;
        let shown = without_password(url);
        let more =
            "The link works once, within five minutes, and for this machine alone. Ctrl-C ends the desk.";
        tell(&link, &format!("The desk over {shown}: {link}"), more)?;
        let (stop, force) = (signals.stop.cancelled_owned(), signals.force.cancelled_owned());
        server.serve_until(listener, stop, force).await?;
        log.finish();
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints the link.
fn tell(link: &str, text: &str, more: &str) -> Result<(), CliError> {
    if output::is_json() {
        return output::json_line(&json!({ "Url": link }));
    }
    output::line(text)?;
    output::remark(more);
    Ok(())
}
