//! `festoon-manager networks`: the networks of the cluster.

use clap::{Args, Subcommand};
use festoon_api::{Network, NetworkCreate, NetworkUpdate};
use festoon_control::registry::{AddressRange, DEFAULT_MTU};
use ipnet::IpNet;

use super::client::Query;
use super::fault::Fault;
use super::find::find;
use super::output::{Column, list_of};
use super::record::{ListArgs, Names, Record, Row, Session};

#[derive(Debug, Subcommand)]
pub(super) enum NetworksCommand {
    /// List all networks
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a network
    Show {
        /// Its name or id
        network: String,
    },
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
    /// Remove a network that no endpoint is in
    #[command(visible_alias = "rm")]
    Remove {
        /// Its name or id
        network: String,
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
    /// A reserved range, as `networks list` shows it, that endpoints may get addresses of again; may be repeated
    #[arg(long, value_name = "RANGE")]
    unreserve: Vec<AddressRange>,
}

pub(super) async fn run(session: &Session, command: NetworksCommand) -> anyhow::Result<()> {
    let client = &session.client;
    match command {
        NetworksCommand::List { list } => session.list::<Network>(&Query::of("/networks"), &list).await,
        NetworksCommand::Show { network } => session.show(&find::<Network>(client, &network).await?).await,
        NetworksCommand::Add { name, prefix, mtu } => {
            let request = NetworkCreate { name, prefixes: prefix, mtu: Some(mtu) };
            let added: Network = client.create("/networks", &request).await?;
            session.done(&added, "added")
        }
        NetworksCommand::Set { network, changes } => {
            session
                .change_and_say(async || find(client, &network).await, |network| update(network, &changes), "changed")
                .await
        }
        NetworksCommand::Remove { network } => {
            let network: Network = find(client, &network).await?;
            session.remove(&network, "no endpoint may be in it").await
        }
    }
}

/// All that it is to have, of what it has.
fn update(network: &Network, changes: &Changes) -> anyhow::Result<NetworkUpdate> {
    let Changes { name, mtu, add_prefix, remove_prefix, reserve, unreserve } = changes;
    if let Some(prefix) = remove_prefix.iter().find(|prefix| !network.prefixes.contains(prefix)) {
        let text = format!("network {} has no prefix {prefix}: see `festoon-manager networks list`", network.name);
        return Err(Fault::Usage(text).into());
    }
    let mut prefixes = network.prefixes.clone();
    prefixes.retain(|prefix| !remove_prefix.contains(prefix));
    prefixes.extend(add_prefix.iter().filter(|prefix| !network.prefixes.contains(prefix)));
    let changes_ranges = !reserve.is_empty() || !unreserve.is_empty();
    Ok(NetworkUpdate {
        name: name.clone(),
        mtu: *mtu,
        prefixes: (prefixes != network.prefixes).then_some(prefixes),
        reserved: changes_ranges.then(|| reserved(network, remove_prefix, reserve, unreserve)).transpose()?,
    })
}

/// All ranges that are to be reserved.
fn reserved(
    network: &Network,
    remove_prefixes: &[IpNet],
    reserve: &[AddressRange],
    unreserve: &[AddressRange],
) -> anyhow::Result<Vec<String>> {
    let mut all: Vec<AddressRange> = network.reserved.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    if let Some(range) = unreserve.iter().find(|range| !all.contains(range)) {
        let text = format!("network {} reserves no {range}: see `festoon-manager networks list`", network.name);
        return Err(Fault::Usage(text).into());
    }
    // Ranges go with the prefix they are in.
    let goes = |range: &AddressRange| remove_prefixes.iter().any(|prefix| prefix.contains(&range.first));
    all.retain(|range| !unreserve.contains(range) && !goes(range));
    for range in reserve {
        if !all.contains(range) {
            all.push(*range);
        }
    }
    Ok(all.iter().map(ToString::to_string).collect())
}

impl Row for Network {
    const COLUMNS: &'static [Column] = &[
        Column::always("NETWORK"),
        Column::if_room(2, "ID"),
        Column::always("PREFIXES"),
        Column::if_room(3, "RESERVED"),
        Column::if_room(4, "MTU"),
        Column::if_room(1, "ENDPOINTS"),
        Column::wide("GATEWAYS"),
    ];
    const EMPTY: &'static str = "There are no networks: `festoon-manager networks add` makes one.";

    fn row(&self, _: &Names) -> Vec<String> {
        vec![
            self.name.clone(),
            self.id.to_string(),
            list_of(&self.prefixes),
            list_of(&self.reserved),
            self.mtu.to_string(),
            self.endpoints.to_string(),
            list_of(&self.gateways),
        ]
    }
}

impl Record for Network {
    const KIND: &'static str = "network";
    const LIST: &'static str = "networks list";
    const PATH: &'static str = "/networks";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn lines(&self, _: &Names) -> Vec<(&'static str, String)> {
        vec![
            ("prefixes", list_of(&self.prefixes)),
            ("gateways", list_of(&self.gateways)),
            ("reserved", list_of(&self.reserved)),
            ("mtu", self.mtu.to_string()),
            ("endpoints", self.endpoints.to_string()),
            ("version", self.version.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(reserved: &[&str]) -> Network {
        Network {
            id: festoon_proto::NetworkId(1).into(),
            name: "default".to_owned(),
            prefixes: vec!["10.0.0.0/16".parse().unwrap(), "10.1.0.0/16".parse().unwrap()],
            gateways: Vec::new(),
            reserved: reserved.iter().map(|text| (*text).to_owned()).collect(),
            mtu: 1360,
            endpoints: 0,
            version: 7,
        }
    }

    #[test]
    fn ranges_are_added_and_taken_away_by_name() {
        let before = network(&["10.0.0.2-10.0.0.9", "10.1.0.0-10.1.0.255"]);
        let after = |remove: &[&str], reserve: &[&str], unreserve: &[&str]| {
            let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<AddressRange>>();
            let remove: Vec<_> = remove.iter().map(|text| text.parse().unwrap()).collect();
            reserved(&before, &remove, &all(reserve), &all(unreserve)).map(|all| all.join(" "))
        };
        let kept = "10.0.0.2-10.0.0.9 10.1.0.0-10.1.0.255";
        assert_eq!(after(&[], &["10.0.0.2-10.0.0.9"], &[]).unwrap(), kept, "reserved already");
        assert_eq!(after(&[], &["10.0.0.20"], &["10.1.0.0/24"]).unwrap(), "10.0.0.2-10.0.0.9 10.0.0.20-10.0.0.20");
        assert_eq!(after(&["10.1.0.0/16"], &[], &["10.0.0.2-10.0.0.9"]).unwrap(), "");
        assert!(after(&[], &[], &["10.0.0.2"]).is_err(), "only a part of a range");
    }

    #[test]
    fn only_what_is_to_change_is_sent() {
        let changes = |add: &[&str], remove: &[&str]| Changes {
            name: None,
            mtu: None,
            add_prefix: add.iter().map(|text| text.parse().unwrap()).collect(),
            remove_prefix: remove.iter().map(|text| text.parse().unwrap()).collect(),
            reserve: Vec::new(),
            unreserve: Vec::new(),
        };
        assert_eq!(update(&network(&[]), &changes(&["10.1.0.0/16"], &[])).unwrap(), NetworkUpdate::default());
        let prefixes = |add: &[&str], remove: &[&str]| {
            update(&network(&[]), &changes(add, remove)).map(|update| list_of(&update.prefixes.unwrap()))
        };
        assert_eq!(prefixes(&["10.2.0.0/16"], &["10.0.0.0/16"]).unwrap(), "10.1.0.0/16,10.2.0.0/16");
        assert!(prefixes(&[], &["10.9.0.0/16"]).is_err());
    }
}
