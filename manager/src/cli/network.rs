//! `festoon-manager network`: the networks of the cluster.

use std::path::Path;

use axum::http::Method;
use clap::Args;
use festoon_control::registry::{AddNetwork, AddressRange, DEFAULT_MTU};
use ipnet::IpNet;

use super::{admin, render};
use crate::local::{Client, NETWORKS, NetworkRequest};
use crate::status::NetworkRow;

#[derive(Debug, clap::Subcommand)]
pub(super) enum NetworkCommand {
    /// Add a network: nothing passes between it and another, so both may use the same addresses
    Add {
        /// Its name
        name: String,
        /// A prefix of it, IPv4 or IPv6; may be repeated
        #[arg(long, required = true, value_name = "CIDR")]
        prefix: Vec<IpNet>,
        /// Its largest packet, in bytes
        #[arg(long, default_value_t = DEFAULT_MTU)]
        mtu: u16,
    },
    /// Change a network; no endpoint gets another address by any of it
    Set {
        /// Its name or id
        network: String,
        #[command(flatten)]
        changes: Changes,
    },
    /// List all networks
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Changes {
    /// Its new name
    #[arg(long)]
    name: Option<String>,
    /// Its largest packet from now on, in bytes
    #[arg(long)]
    mtu: Option<u16>,
    /// A prefix it has besides from now on; may be repeated
    #[arg(long, value_name = "CIDR")]
    add_prefix: Vec<IpNet>,
    /// A prefix it no longer has, in which no endpoint has an address; may be repeated
    #[arg(long, value_name = "CIDR")]
    remove_prefix: Vec<IpNet>,
    /// Addresses that endpoints get only when an admin names them: 10.0.0.2-10.0.0.9, a prefix or one; may be repeated
    #[arg(long, value_name = "RANGE")]
    reserve: Vec<AddressRange>,
    /// A reserved range, as `network list` shows it, that endpoints may get addresses of again; may be repeated
    #[arg(long, value_name = "RANGE")]
    unreserve: Vec<AddressRange>,
}

pub(super) async fn run(root: &Path, command: NetworkCommand) -> anyhow::Result<()> {
    let client = Client::new(root);
    match command {
        NetworkCommand::Add { name, prefix, mtu } => {
            let request = AddNetwork { name, prefixes: prefix, mtu };
            Ok(client.send_json(Method::POST, NETWORKS, &request).await?)
        }
        NetworkCommand::Set { network, changes } => {
            let path = admin::item(NETWORKS, &network)?;
            Ok(client.send_json(Method::POST, &path, &NetworkRequest::from(changes)).await?)
        }
        NetworkCommand::List { json } => {
            let networks: Vec<NetworkRow> = client.get(NETWORKS).await?;
            match json {
                true => println!("{}", serde_json::to_string_pretty(&networks)?),
                false => print!("{}", render::networks(&networks)),
            }
            Ok(())
        }
    }
}

impl From<Changes> for NetworkRequest {
    fn from(changes: Changes) -> Self {
        let Changes { name, mtu, add_prefix, remove_prefix, reserve, unreserve } = changes;
        Self { name, mtu, add_prefixes: add_prefix, remove_prefixes: remove_prefix, reserve, unreserve }
    }
}
