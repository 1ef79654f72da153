//! `festoon-manager managers`: the nodes that switch and route, and their witnesses.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::http::Method;
use clap::Subcommand;
use festoon_api::{CaReplacement, CompromisedRemoved, Manager, ManagerRole, ManagerState, ManagerUpdate};

use super::args::{https_address, overlap, underlay_address};
use super::client::{Ask, Client, Query, api};
use super::drain;
use super::find::find;
use super::output::{Column, confirm, list_of, or_dash, print, span};
use super::record::{ListArgs, Names, Record, Row, Session};
use crate::local::{OWN_KEY, RotationRequest, RotationResponse};

#[derive(Debug, Subcommand)]
pub(super) enum ManagersCommand {
    /// List all managers
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a manager
    Show {
        /// Its name or id
        manager: String,
    },
    /// Change a manager
    Set {
        /// Its name or id
        manager: String,
        #[command(flatten)]
        changes: Changes,
    },
    /// Say how much a manager is preferred: endpoints go to the highest that is alive, and to the nearest of equals
    Priority {
        /// Its name or id
        manager: String,
        /// 0 to 255
        priority: u8,
    },
    /// Say where a manager is
    Region {
        /// Its name or id
        manager: String,
        /// As you call it; empty for nowhere in particular
        region: String,
    },
    /// Move all endpoints of a manager to others, and have it take no new ones
    Drain {
        /// Its name or id
        manager: String,
    },
    /// Have a manager take endpoints again
    Undrain {
        /// Its name or id
        manager: String,
    },
    /// Give the manager on this machine a new key for its tunnels and links; no traffic is lost
    RotateKey {
        /// How long the key before is good too. Agents and managers move within seconds; stock clients have the key in their
        /// configuration: 1h, 7d, or 0s for a key that was stolen
        #[arg(long, default_value = "1h", value_parser = overlap)]
        overlap: Duration,
    },
    /// Remove a manager from the cluster
    #[command(visible_alias = "rm")]
    Remove {
        /// Its name or id
        manager: String,
        /// It fell into the wrong hands: begin to replace the CA as well, whose key it knew, and say what has to be done next
        #[arg(long)]
        compromised: bool,
    },
}

#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct Changes {
    /// Its new name
    #[arg(long)]
    name: Option<String>,
    /// Where others reach its tunnels from now on; may be repeated, best first
    #[arg(long, value_name = "IP[:PORT]", value_parser = underlay_address)]
    underlay: Vec<SocketAddr>,
    /// Where others reach its HTTPS listener from now on; may be repeated, best first
    #[arg(long, value_name = "IP[:PORT]", value_parser = https_address)]
    https: Vec<SocketAddr>,
    /// Its new priority
    #[arg(long)]
    priority: Option<u8>,
    /// Where it is, as you call it; empty for nowhere in particular
    #[arg(long)]
    region: Option<String>,
}

impl From<Changes> for ManagerUpdate {
    fn from(changes: Changes) -> Self {
        let Changes { name, underlay, https, priority, region } = changes;
        let some = |addresses: Vec<SocketAddr>| (!addresses.is_empty()).then_some(addresses);
        Self { name, underlay: some(underlay), https: some(https), priority, region, draining: None }
    }
}

impl ManagersCommand {
    /// Whether it acts on the manager of this machine.
    pub(super) const fn is_local(&self) -> bool {
        matches!(self, Self::RotateKey { .. })
    }
}

/// What acts on the manager of this machine.
pub(super) async fn run_here(root: &Path, command: ManagersCommand, is_sure: bool) -> anyhow::Result<()> {
    match command {
        ManagersCommand::RotateKey { overlap } => rotate_key(&Client::local(root), overlap, is_sure).await,
        _ => Ok(()),
    }
}

pub(super) async fn run(session: &Session, command: ManagersCommand) -> anyhow::Result<()> {
    let client = &session.client;
    let change = async |manager: String, update: ManagerUpdate, done: &str| {
        session.change_and_say(async || find::<Manager>(client, &manager).await, |_| Ok(update.clone()), done).await
    };
    match command {
        ManagersCommand::List { list } => session.list::<Manager>(&Query::of("/managers"), &list).await,
        ManagersCommand::Show { manager } => session.show(&find::<Manager>(client, &manager).await?).await,
        ManagersCommand::Set { manager, changes } => change(manager, changes.into(), "changed").await,
        ManagersCommand::Priority { manager, priority } => {
            change(manager, ManagerUpdate { priority: Some(priority), ..ManagerUpdate::default() }, "changed").await
        }
        ManagersCommand::Region { manager, region } => {
            change(manager, ManagerUpdate { region: Some(region), ..ManagerUpdate::default() }, "changed").await
        }
        ManagersCommand::Drain { manager } => {
            drain::set(session, &find::<Manager>(client, &manager).await?, true).await
        }
        ManagersCommand::Undrain { manager } => {
            drain::set(session, &find::<Manager>(client, &manager).await?, false).await
        }
        ManagersCommand::RotateKey { .. } => Ok(()),
        ManagersCommand::Remove { manager, compromised: true } => {
            remove_compromised(session, &find::<Manager>(client, &manager).await?).await
        }
        ManagersCommand::Remove { manager, compromised: false } => {
            let manager = find::<Manager>(client, &manager).await?;
            session.remove(&manager, "it carries nothing any more and can't come back").await?;
            let text = "If it fell into the wrong hands, replace the CA too: `festoon-manager ca rotate` begins it.";
            session.output.say(text)
        }
    }
}

/// Removes a manager whose files somebody else has.
async fn remove_compromised(session: &Session, manager: &Manager) -> anyhow::Result<()> {
    let title = manager.title();
    let cost = "it carries nothing any more and can't come back, and the CA begins to be replaced";
    confirm(&format!("manager {title} is to be removed; {cost}"), session.is_sure)?;
    let path = Query::of(&manager.path()).with("compromised", Some(true));
    let removed: CompromisedRemoved = session.client.ask(&Ask::new(Method::DELETE, &api(path.as_str()))).await?;
    session.output.show(&removed, || compromised(&title, &removed))
}

/// What was done, and what has to be done next.
fn compromised(title: &str, removed: &CompromisedRemoved) -> String {
    let ca = match (removed.ca, &removed.problem) {
        (CaReplacement::Begun, _) => "The next CA was made, and is trusted from now on.".to_owned(),
        (CaReplacement::NotNeeded, _) => "It was a witness and knew no secrets: the CA stays.".to_owned(),
        (CaReplacement::NotBegun, Some(problem)) => format!("The CA is not being replaced: {problem}."),
        (CaReplacement::NotBegun, None) => "The CA is not being replaced.".to_owned(),
    };
    let steps = removed.next.iter().zip(1..).map(|(step, number)| format!("{number}. {step}\n"));
    format!("{title} is removed. {ca}\nWhat has to be done next:\n{}", steps.collect::<String>())
}

async fn rotate_key(client: &Client, overlap: Duration, is_sure: bool) -> anyhow::Result<()> {
    let cost =
        "this manager's key of now is to be refused at once; stock clients are cut off until they have the new one";
    confirm(cost, is_sure || !overlap.is_zero())?;
    let request = RotationRequest { overlap_s: overlap.as_secs() };
    let rotated: RotationResponse = client.send(Method::POST, OWN_KEY, &request).await?;
    let mut text = format!("The key of this manager is {} from now on.\n", rotated.public_key);
    text.push_str(&match overlap.as_secs() {
        0 => "The one before is refused.\n".to_owned(),
        seconds => format!("The one before is good for {} more.\n", span(seconds)),
    });
    if rotated.clients > 0 {
        text.push_str(
            "Stock clients that use this manager need the new key as PublicKey in their configuration by then.\n",
        );
    }
    print(&text)
}

const fn state(state: ManagerState) -> &'static str {
    match state {
        ManagerState::Serving => "serving",
        ManagerState::Draining => "draining",
        ManagerState::Down => "down",
        ManagerState::Witness => "witness",
        ManagerState::Unknown => "unknown",
    }
}

fn rtt(us: Option<u32>) -> String {
    or_dash(us.map(|us| format!("{:.1} ms", f64::from(us) / 1000.0)))
}

fn link(manager: &Manager, names: &Names) -> String {
    match (manager.direct, manager.next_hop) {
        (true, _) => "direct".to_owned(),
        (_, Some(hop)) => format!("via {}", names.manager(hop)),
        _ => "-".to_owned(),
    }
}

impl Row for Manager {
    const COLUMNS: &'static [Column] = &[
        Column::always("MANAGER"),
        Column::if_room(3, "ID"),
        Column::always("STATE"),
        Column::if_room(2, "PRIORITY"),
        Column::if_room(4, "REGION"),
        Column::always("UNDERLAY"),
        Column::if_room(6, "LINK"),
        Column::if_room(5, "RTT"),
        Column::if_room(1, "ENDPOINTS"),
        Column::wide("HTTPS"),
        Column::wide("RELEASE"),
    ];
    const EMPTY: &'static str = "There are no managers.";

    fn row(&self, names: &Names) -> Vec<String> {
        vec![
            self.name.clone(),
            self.id.to_string(),
            state(self.state).to_owned(),
            self.priority.to_string(),
            or_dash(self.region.as_ref()),
            list_of(&self.underlay),
            link(self, names),
            rtt(self.rtt_us),
            self.endpoints.to_string(),
            list_of(&self.https),
            or_dash(self.release.as_ref()),
        ]
    }
}

impl Record for Manager {
    const KIND: &'static str = "manager";
    const LIST: &'static str = "managers list";
    const PATH: &'static str = "/managers";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn lines(&self, names: &Names) -> Vec<(&'static str, String)> {
        let role = match self.role {
            ManagerRole::Full => "switches and routes",
            ManagerRole::Witness => "witness: votes, and carries nothing",
        };
        vec![
            ("role", role.to_owned()),
            ("state", state(self.state).to_owned()),
            ("release", or_dash(self.release.as_ref())),
            ("priority", self.priority.to_string()),
            ("region", or_dash(self.region.as_ref())),
            ("underlay", list_of(&self.underlay)),
            ("https", list_of(&self.https)),
            ("link", link(self, names)),
            ("rtt", rtt(self.rtt_us)),
            ("endpoints", self.endpoints.to_string()),
            ("public key", self.public_key.to_string()),
            ("version", self.version.to_string()),
        ]
    }
}
