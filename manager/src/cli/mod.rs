//! The command line: what acts on the manager of this machine, and a client of the API for all else.

mod api_tokens;
mod args;
mod audit;
mod ca;
mod client;
mod destinations;
mod drain;
mod endpoints;
mod events;
mod fault;
mod find;
#[cfg(test)]
mod golden;
mod init;
mod join;
mod login;
mod managers;
mod manual;
mod membership;
mod moment;
mod networks;
mod oidc;
mod output;
mod record;
mod routes;
mod snapshot;
mod status;
mod telling;
mod tokens;
mod users;

use crate::cluster::Part;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::https::route;
use crate::{api, app, cluster, telemetry};

pub use args::Cli;
pub use fault::exit_code;

use args::Subcommand;
use client::Connection;
use output::print;
use record::Session;

/// Does what the command line says.
#[expect(clippy::cognitive_complexity, reason = "a few lines for each command, and nothing else")]
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { connection, printing, yes, command } = cli;
    let output = printing.output();
    let session = || anyhow::Ok(Session { client: connection.client()?, output, is_sure: yes });
    match command {
        Subcommand::Status => status::run(&session()?).await,
        Subcommand::Networks(command) => networks::run(&session()?, command).await,
        Subcommand::Endpoints(command) => Box::pin(endpoints::run(&session()?, command)).await,
        Subcommand::Managers(command) if command.is_local() => {
            managers::run_here(connection.data_dir()?, command, yes).await
        }
        Subcommand::Managers(command) => Box::pin(managers::run(&session()?, command)).await,
        Subcommand::Tokens(command) => tokens::run(&session()?, command).await,
        Subcommand::Routes(command) => routes::run(&session()?, command).await,
        Subcommand::Users(command) => Box::pin(users::run(&session()?, command)).await,
        Subcommand::Oidc(command) => oidc::run(&session()?, command).await,
        Subcommand::ApiTokens(command) => api_tokens::run(&session()?, command).await,
        Subcommand::Snapshots(command) if !command.is_local() => Box::pin(snapshot::run(session()?, command)).await,
        Subcommand::Drain => drain::run(&session()?, true).await,
        Subcommand::Undrain => drain::run(&session()?, false).await,
        Subcommand::Login(args) => Box::pin(login::login(&connection, args, output)).await,
        Subcommand::Logout => login::logout(&connection, output).await,
        Subcommand::Whoami => login::whoami(&session()?).await,
        Subcommand::Profiles => login::profiles(output),
        Subcommand::Events(command) => events::run(&session()?, command).await,
        Subcommand::Destinations(command) => Box::pin(destinations::run(&session()?, command)).await,
        Subcommand::Audit(command) => audit::run(session, command).await,
        Subcommand::ApiDocument => print(&api::document_text()),
        Subcommand::InternalRoutes => print(&route::text()),
        Subcommand::Completions { shell } => manual::completions(shell),
        Subcommand::Man { directory } => manual::write(&directory),
        Subcommand::Version => print(concat!("festoon-manager ", env!("CARGO_PKG_VERSION"), "\n")),
        here => Box::pin(run_here(&connection, here, output, yes)).await,
    }
}

/// What acts on the manager of this machine, or makes one.
async fn run_here(
    connection: &Connection,
    command: Subcommand,
    output: output::Output,
    is_sure: bool,
) -> anyhow::Result<()> {
    let root = connection.data_dir()?;
    match command {
        Subcommand::Init(args) => init::run(root, args).await,
        Subcommand::Join(args) => join::full(root, args).await,
        Subcommand::Witness(args) => join::witness(root, args).await,
        Subcommand::Serve { config: path } => {
            let config = Config::load(path.as_deref())?;
            let filter = telemetry::start(&config.log);
            app::serve(DataDir::open(root)?, app::Settings { path, config, filter }).await
        }
        Subcommand::Snapshots(command) => snapshot::run_here(root, command).await,
        Subcommand::Ca(command) => ca::run(root, command, output, is_sure).await,
        Subcommand::Check { part, parent } => {
            parent.map(cluster::end_with).transpose()?;
            let (data, all) = (DataDir::open(root)?, [Part::Registry, Part::Audit]);
            let mut meant = all.into_iter().filter(|each| part.is_none_or(|part| part == *each));
            meant.try_for_each(|part| cluster::check(&data, part))?;
            print(&format!("The registry and the audit log in {} are in order.\n", root.display()))
        }
        Subcommand::Leave => membership::leave(root, is_sure).await,
        Subcommand::Promote(args) => membership::promote(root, &args, is_sure).await,
        Subcommand::Rejoin => membership::rejoin(root, is_sure).await,
        _ => Ok(()),
    }
}
