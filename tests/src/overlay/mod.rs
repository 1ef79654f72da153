//! An overlay in a lab: managers in clouds of their own, agents and stock WireGuard clients, all through the command lines
//! that a person would use.

mod admin;
mod agent;
mod lan;
mod manager;
mod status;
mod traffic;
mod wireguard;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread::park_timeout;
use std::time::Duration;

use anyhow::Context;

use crate::clock::now;
use crate::lab::{Cloud, Host, Internet, Lab};

pub use admin::{Admin, EventStream, Problem};
pub use agent::{Agent, MapReader};
pub use lan::{Lan, Leaks, Numbers, OFFICE};
pub use manager::{Introduction, Manager};
pub use status::{AgentStatus, Endpoint, Listed, ManagerStatus, Member, MemberId, Neighbour, Note, Registry, Uplink};
pub use traffic::{Outcome, Traffic};
pub use wireguard::{Conf, WireGuard};

/// A join token as a command line takes it: in a file, which nobody else on the machine reads.
///
/// # Errors
/// When the file can't be written.
pub fn in_file(directory: &Path, token: &str) -> anyhow::Result<String> {
    let hash = token.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let path = directory.join(format!("token-{hash:016x}"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(token.as_bytes()).context("can't write a token")?;
    Ok(format!("@{}", path.display()))
}

/// How long a whole overlay may take to settle after anything.
const SETTLE: Duration = Duration::from_secs(20);
/// How often programs are asked for their status. Asking costs a process each time.
const ASK: Duration = Duration::from_millis(50);
/// Five clouds at most, in the subnets set aside for examples (RFC 5737) and for measurements (RFC 2544).
const CLOUDS: [(&str, &str); 5] = [
    ("cloud1", "192.0.2.0/24"),
    ("cloud2", "198.51.100.0/24"),
    ("cloud3", "203.0.113.0/24"),
    ("cloud4", "198.18.0.0/24"),
    ("cloud5", "198.18.1.0/24"),
];
/// What the customer brings along.
pub const PREFIXES: [&str; 2] = ["172.31.0.0/16", "fd31::/64"];

/// Of the addresses of the underlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What to build.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// The priority of each manager. Each gets a cloud of its own.
    pub priorities: &'a [u8],
    /// The name of each agent. They go round the clouds.
    pub agents: &'a [&'a str],
    /// Of the underlay.
    pub family: Family,
}

impl Default for Spec<'_> {
    /// Two equal managers and two agents.
    fn default() -> Self {
        Self { priorities: &[100, 100], agents: &["a", "b"], family: Family::V4 }
    }
}

/// An overlay. It ends with its lab.
#[derive(Debug)]
pub struct Overlay<'a> {
    lab: &'a Lab,
    /// What joins the clouds.
    pub net: Internet,
    family: Family,
    /// Where hosts are.
    pub clouds: Vec<Cloud>,
    /// In the order in which they joined.
    pub managers: Vec<Manager>,
    /// In the order in which they joined.
    pub agents: Vec<Agent>,
}

impl<'a> Overlay<'a> {
    /// Builds it and waits until it is ready.
    ///
    /// # Errors
    /// What the programs say; so for all that follow.
    pub fn start(lab: &'a Lab, spec: &Spec<'_>) -> anyhow::Result<Self> {
        let net = lab.internet()?;
        let mut overlay =
            Self { lab, net, family: spec.family, clouds: Vec::new(), managers: Vec::new(), agents: Vec::new() };
        for &priority in spec.priorities {
            overlay.add_manager(priority)?;
        }
        for (name, cloud) in spec.agents.iter().zip(overlay.clouds.clone().iter().cycle()) {
            overlay.add_agent(name, &cloud.host(name)?)?;
        }
        overlay.wait_until_ready()?;
        Ok(overlay)
    }

    /// Runs one more manager, in a cloud of its own. It may not be ready yet.
    ///
    /// # Errors
    /// When there is no cloud left, or it is not let in.
    pub fn add_manager(&mut self, priority: u8) -> anyhow::Result<()> {
        let (cloud, subnet) = CLOUDS.get(self.clouds.len()).context("no cloud is left for another manager")?;
        let cloud = self.net.cloud(cloud, subnet)?;
        let name = format!("m{}", self.clouds.len() + 1);
        let host = cloud.host(&name)?;
        self.clouds.push(cloud);
        let underlay = if self.family == Family::V4 { IpAddr::V4(host.v4()) } else { IpAddr::V6(host.v6()) };
        let dir = self.lab.dir().join(&name);
        let me = Introduction { name, underlay, priority };
        let manager = match self.managers.first() {
            None => Manager::init(&host, dir, &me, &PREFIXES)?,
            Some(first) => Manager::join(&host, dir, &me, first.run(&["tokens", "add", "--manager"])?.trim())?,
        };
        self.managers.push(manager);
        Ok(())
    }

    /// Has a manager move its endpoints away, leave the cluster and end.
    ///
    /// # Errors
    /// When it does not.
    pub fn remove_manager(&mut self, index: usize) -> anyhow::Result<()> {
        let mut manager = self.managers.remove(index);
        manager.run(&["leave", "--yes"])?;
        manager.program()?.wait(SETTLE)?;
        Ok(())
    }

    /// Joins `host` as an agent.
    ///
    /// # Errors
    /// When it is not let in.
    pub fn add_agent(&mut self, name: &str, host: &Host) -> anyhow::Result<()> {
        let token = self.first_manager()?.token()?;
        self.agents.push(Agent::join(host, name, self.lab.dir().join(name), &token)?);
        Ok(())
    }

    /// The configuration of a new stock client of a manager.
    ///
    /// # Errors
    /// When it is refused.
    pub fn new_client(&self, name: &str, manager: usize) -> anyhow::Result<Conf> {
        let manager = format!("--manager={}", self.managers.get(manager).context("no such manager")?.name());
        Conf::parse(&self.first_manager()?.run(&["endpoints", "add", name, &manager])?)
    }

    /// The first, which has the CA.
    ///
    /// # Errors
    /// When there is none.
    pub fn first_manager(&self) -> anyhow::Result<&Manager> {
        self.managers.first().context("the overlay has no manager")
    }

    /// The index of the manager with this id.
    ///
    /// # Errors
    /// When there is none.
    pub fn index_of(&self, id: u16) -> anyhow::Result<usize> {
        self.managers.iter().position(|manager| manager.id == id).with_context(|| format!("there is no manager {id}"))
    }

    /// The index of the manager that carries all agents.
    ///
    /// # Errors
    /// When they are not all with one.
    pub fn active(&self) -> anyhow::Result<usize> {
        let carriers: Vec<u16> = self.agents.iter().map(Agent::active).collect::<Result<_, _>>()?;
        let first = *carriers.first().context("the overlay has no agent")?;
        anyhow::ensure!(carriers.iter().all(|&id| id == first), "the agents are not with one manager: {carriers:?}");
        self.index_of(first)
    }

    /// Waits until every manager has a link to every other, every agent is carried by one and could go to any, and all agree
    /// on who carries whom.
    ///
    /// # Errors
    /// When that does not come about, with what is missing.
    pub fn wait_until_ready(&self) -> anyhow::Result<()> {
        wait_until_fine(SETTLE, || self.check_ready())
    }

    fn check_ready(&self) -> anyhow::Result<()> {
        let managers: Vec<ManagerStatus> = self.managers.iter().map(Manager::status).collect::<Result<_, _>>()?;
        for from in &managers {
            for to in from.managers.iter().filter(|to| to.id != from.manager) {
                let (from, id, state) = (from.manager, to.id, &to.state);
                anyhow::ensure!(state == "serving" && to.direct, "manager {from} finds {id} {state}: {to:?}");
            }
        }
        for agent in &self.agents {
            let status = agent.status()?;
            let active = status.active.with_context(|| format!("no manager carries {}", agent.name()))?;
            let known = status.managers.len() == managers.len();
            anyhow::ensure!(
                known && status.managers.iter().all(Uplink::is_usable),
                "{} sees {:?}",
                agent.name(),
                status.managers
            );
            for manager in &managers {
                let carrier = manager.carrier(agent.name());
                let (at, name) = (manager.manager, agent.name());
                anyhow::ensure!(carrier == Some(active), "manager {at} has {name} with {carrier:?}, not {active}");
            }
        }
        Ok(())
    }

    /// Makes another recovery key, and waits until all agents know of it: they believe what is restored with the key that their
    /// map names.
    ///
    /// # Errors
    /// When it is refused, or an agent does not hear of it.
    pub fn new_recovery_key(&self) -> anyhow::Result<String> {
        let known = || self.agents.iter().map(Agent::recovery_key).collect::<anyhow::Result<Vec<_>>>();
        let before = known()?;
        let key = self.first_manager()?.run(&["snapshots", "key", "--yes"])?;
        wait_until_slowly(SETTLE, "all agents know of the new recovery key", || {
            Ok(known()?.iter().zip(&before).all(|(now, before)| now != before))
        })?;
        Ok(key)
    }

    /// Waits until an agent is carried by the manager of this index.
    ///
    /// # Errors
    /// When it is not by then.
    pub fn wait_carried(&self, agent: usize, manager: usize) -> anyhow::Result<()> {
        let agent = self.agents.get(agent).context("no such agent")?;
        let manager = self.managers.get(manager).context("no such manager")?;
        let what = format!("{} carried by {}", agent.name(), manager.name());
        wait_until_slowly(SETTLE, &what, || Ok(agent.status()?.active == Some(manager.id)))
    }
}

/// Waits until `check` says yes, asking without haste.
///
/// # Errors
/// After `within`, naming `what` was waited for; and at once with what `check` fails with.
pub fn wait_until_slowly(
    within: Duration,
    what: &str,
    mut check: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = now() + within;
    while !check()? {
        anyhow::ensure!(now() < deadline, "not within {within:?}: {what}");
        park_timeout(ASK);
    }
    Ok(())
}

/// Waits until `check` no longer fails.
///
/// # Errors
/// After `within`, with what it fails with.
pub fn wait_until_fine(within: Duration, mut check: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut last = None;
    let waited = wait_until_slowly(within, "a good state", || {
        last = check().err();
        Ok(last.is_none())
    });
    waited.map_err(|late| last.map_or(late, |error| error.context(format!("still so after {within:?}"))))
}

/// Lets time pass, because a measurement needs an undisturbed stretch of it.
pub fn let_pass(time: Duration) {
    let end = now() + time;
    while let Some(left) = end.checked_duration_since(now()).filter(|left| !left.is_zero()) {
        park_timeout(left);
    }
}
