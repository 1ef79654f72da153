//! The command line.

mod admin;
mod args;
mod ca;
mod init;
mod join;
mod membership;
mod network;
mod render;
mod snapshot;

use crate::cluster::Part;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::{api, app, cluster, telemetry};

pub use args::Cli;
use args::Subcommand;

/// Does what the command line says.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { data_dir, command } = cli;
    match command {
        Subcommand::Init(args) => Box::pin(init::run(&data_dir, args)).await,
        Subcommand::Join(args) => join::full(&data_dir, args).await,
        Subcommand::Witness(args) => join::witness(&data_dir, args).await,
        Subcommand::Serve { config } => {
            let config = Config::load(config.as_deref())?;
            telemetry::start(&config.log);
            Box::pin(app::serve(DataDir::open(&data_dir)?, config)).await
        }
        Subcommand::Token(command) => admin::token(&data_dir, command).await,
        Subcommand::Network(command) => network::run(&data_dir, command).await,
        Subcommand::Endpoint(command) => admin::endpoint(&data_dir, command).await,
        Subcommand::Manager(command) => admin::manager(&data_dir, command).await,
        Subcommand::Snapshot(command) => Box::pin(snapshot::run(&data_dir, command)).await,
        Subcommand::Ca(command) => ca::run(&data_dir, command).await,
        Subcommand::Status { json } => admin::status(&data_dir, json).await,
        Subcommand::Check { part, parent } => {
            parent.map(cluster::end_with).transpose()?;
            let (data, all) = (DataDir::open(&data_dir)?, [Part::Registry, Part::Audit]);
            all.into_iter()
                .filter(|each| part.is_none_or(|part| part == *each))
                .try_for_each(|part| cluster::check(&data, part))?;
            println!("The registry and the audit log in {} are in order.", data_dir.display());
            Ok(())
        }
        Subcommand::Leave => membership::leave(&data_dir).await,
        Subcommand::Promote { yes } => membership::promote(&data_dir, yes).await,
        Subcommand::Rejoin => membership::rejoin(&data_dir).await,
        Subcommand::Drain => admin::set_draining(&data_dir, true).await,
        Subcommand::Undrain => admin::set_draining(&data_dir, false).await,
        Subcommand::ApiDocument => {
            print!("{}", api::document_text());
            Ok(())
        }
        Subcommand::Version => {
            println!("festoon-manager {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}
