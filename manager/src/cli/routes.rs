//! `festoon-manager routes`: prefixes outside the overlay that endpoints would carry packets to.

use clap::{Args, Subcommand};
use festoon_api::{Endpoint, EndpointUpdate, RouteRow};
use ipnet::IpNet;

use super::client::Query;
use super::fault::Fault;
use super::find;
use super::output::{Column, confirm, list_of};
use super::record::{ListArgs, Names, Record as _, Row, Session};

#[derive(Debug, Subcommand)]
pub(super) enum RoutesCommand {
    /// List the routes that endpoints offer
    List {
        /// Those in this network
        #[arg(long)]
        network: Option<String>,
        /// Those that are approved, or that are not
        #[arg(long, value_name = "true|false")]
        approved: Option<bool>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Use routes that an endpoint offers
    Approve {
        #[command(flatten)]
        which: Which,
    },
    /// Use routes of an endpoint no longer
    Unapprove {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The endpoint's name, id or address
    endpoint: String,
    /// The routes
    #[arg(required_unless_present = "all", value_name = "CIDR")]
    prefix: Vec<IpNet>,
    /// All that it offers now
    #[arg(long, conflicts_with = "prefix")]
    all: bool,
    /// Its network, where several have an endpoint of that name
    #[arg(long)]
    network: Option<String>,
}

pub(super) async fn run(session: &Session, command: RoutesCommand) -> anyhow::Result<()> {
    match command {
        RoutesCommand::List { network, approved, list } => {
            let query = Query::of("/routes").with("network", network).with("approved", approved);
            session.list::<RouteRow>(&query, &list).await
        }
        RoutesCommand::Approve { which } => which.set(session, true).await,
        RoutesCommand::Unapprove { which } => {
            which.see_that_it_is_meant(session).await?;
            which.set(session, false).await
        }
    }
}

impl Which {
    async fn find(&self, session: &Session) -> anyhow::Result<Endpoint> {
        find::endpoint(&session.client, &self.endpoint, self.network.as_deref()).await
    }

    /// Sees that it is meant, if a route that is used is not to be used any more.
    async fn see_that_it_is_meant(&self, session: &Session) -> anyhow::Result<()> {
        let endpoint = self.find(session).await?;
        let lost = self.lost(&endpoint)?;
        let cost = format!("what goes to {} by endpoint {} is cut off at once", list_of(&lost), endpoint.title());
        confirm(&cost, session.is_sure || lost.is_empty())
    }

    /// Routes that are used and are not to be any more.
    fn lost(&self, endpoint: &Endpoint) -> anyhow::Result<Vec<IpNet>> {
        let kept = self.update(endpoint, false)?.approved_routes.unwrap_or_default();
        let used = endpoint.routes.iter().filter(|it| it.approved).map(|it| it.prefix);
        Ok(used.filter(|prefix| !kept.contains(prefix)).collect())
    }

    async fn set(&self, session: &Session, is_approved: bool) -> anyhow::Result<()> {
        let find = async || self.find(session).await;
        let changed: Endpoint = session.change(find, |endpoint| self.update(endpoint, is_approved)).await?;
        let routes: Vec<String> =
            changed.routes.iter().filter(|it| it.approved).map(|it| it.prefix.to_string()).collect();
        session.output.show(&changed, || match routes.is_empty() {
            true => format!("No route of {} is used.\n", changed.title()),
            false => format!("Routes of {} that are used: {}.\n", changed.title(), routes.join(", ")),
        })
    }

    /// All of its routes that are to be used.
    fn update(&self, endpoint: &Endpoint, is_approved: bool) -> anyhow::Result<EndpointUpdate> {
        if let Some(prefix) = self.prefix.iter().find(|prefix| !endpoint.routes.iter().any(|it| it.prefix == **prefix))
        {
            let text =
                format!("endpoint {} does not offer {prefix}: see `festoon-manager routes list`", endpoint.title());
            return Err(Fault::Usage(text).into());
        }
        let is_meant = |prefix: &IpNet| self.all || self.prefix.contains(prefix);
        let used = endpoint.routes.iter().filter(|it| if is_meant(&it.prefix) { is_approved } else { it.approved });
        let approved_routes = Some(used.map(|it| it.prefix).collect());
        Ok(EndpointUpdate { approved_routes, ..EndpointUpdate::default() })
    }
}

impl Row for RouteRow {
    const COLUMNS: &'static [Column] = &[
        Column::always("ROUTE"),
        Column::always("ENDPOINT"),
        Column::if_room(2, "ID"),
        Column::if_room(1, "NETWORK"),
        Column::always("APPROVED"),
    ];
    const EMPTY: &'static str = "No endpoint offers routes: see `festoon up --help` for how one does.";

    fn row(&self, names: &Names) -> Vec<String> {
        vec![
            self.prefix.to_string(),
            self.endpoint_name.clone(),
            self.endpoint.to_string(),
            names.network(self.network),
            if self.approved { "yes" } else { "no" }.to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use festoon_api::{EndpointKind, Route, Time};

    use super::*;

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let prefix = |text: &str| text.parse::<IpNet>().unwrap();
        let (a, b, c) = (prefix("10.1.0.0/16"), prefix("10.2.0.0/16"), prefix("10.3.0.0/16"));
        let route = |prefix, approved| Route { prefix, approved };
        let endpoint = Endpoint {
            id: festoon_proto::EndpointId(1).into(),
            name: "gate".to_owned(),
            network: festoon_proto::NetworkId(1).into(),
            network_name: "default".to_owned(),
            kind: EndpointKind::Agent,
            addresses: Vec::new(),
            public_key: festoon_proto::PublicKey::from_bytes([1; 32]),
            enabled: true,
            tags: Vec::new(),
            expires: None,
            ephemeral: false,
            routes: vec![route(a, true), route(b, false)],
            key_due: false,
            created: Time(0),
            presence: None,
            version: 1,
        };
        let which =
            |prefix: &[IpNet], all| Which { endpoint: String::new(), prefix: prefix.to_vec(), all, network: None };
        let after = |which: Which, approved| which.update(&endpoint, approved).map(|it| it.approved_routes.unwrap());
        assert_eq!(after(which(&[b], false), true).unwrap(), [a, b]);
        assert_eq!(after(which(&[a], false), false).unwrap(), []);
        assert_eq!(after(which(&[b], false), false).unwrap(), [a]);
        assert_eq!(after(which(&[], true), true).unwrap(), [a, b]);
        assert!(after(which(&[c], false), true).is_err(), "it offers no such route");
        assert_eq!(which(&[b], false).lost(&endpoint).unwrap(), [], "it is not used anyway");
        assert_eq!(which(&[a, b], false).lost(&endpoint).unwrap(), [a]);
        assert_eq!(which(&[], true).lost(&endpoint).unwrap(), [a]);
    }
}
