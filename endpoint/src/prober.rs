//! Who probes managers for a command: the running agent, or, where there is none, a node of the command's own.
//!
//! The node has the endpoint's key, so it must not run beside the agent: managers would follow it. The lock of the state keeps
//! them apart. It has sessions with the managers and measures; it takes no part in what they carry.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use festoon_dataplane::io::{DriverHandle, Priority, TunPort, UdpConfig, UdpPort, spawn};
use festoon_proto::{Generation, ManagerId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config::Config;
use crate::control::{self, AgentStatus, ControlError};
use crate::host::MARK;
use crate::node::measure::{Measure, Measured};
use crate::node::status::Status;
use crate::node::{Command, EndpointNode, Event, NodeConfig};
use crate::state::{Lock, StateDir};

/// Events of the own node. Nobody reads them, and it keeps what the channel does not take.
const EVENTS: usize = 1;

/// Probes managers.
pub enum Prober {
    /// Through the running agent.
    Agent {
        /// Its control socket.
        socket: PathBuf,
        /// What it said of itself at the beginning.
        status: Box<AgentStatus>,
    },
    /// By itself.
    Own(Box<OwnNode>),
}

/// A node that measures and is carried by nobody.
pub struct OwnNode {
    driver: DriverHandle<EndpointNode>,
    listen_port: u16,
    _events: mpsc::Receiver<Event>,
    _lock: Lock,
}

impl Prober {
    /// The running agent, if there is one.
    pub fn agent(socket: &Path) -> Result<Self, ControlError> {
        let status = Box::new(control::status(socket)?);
        Ok(Self::Agent { socket: socket.to_owned(), status })
    }

    /// The running agent, or a node of our own.
    pub fn any(config: &Config) -> anyhow::Result<Self> {
        match Self::agent(&config.socket()) {
            Err(ControlError::NotRunning) => Ok(Self::Own(Box::new(OwnNode::start(config)?))),
            agent => Ok(agent?),
        }
    }

    /// What the agent said of itself at the beginning, if it runs.
    pub fn agent_status(&self) -> Option<&AgentStatus> {
        match self {
            Self::Agent { status, .. } => Some(status),
            Self::Own(_) => None,
        }
    }

    /// Our UDP port.
    pub fn listen_port(&self) -> u16 {
        match self {
            Self::Agent { status, .. } => status.setup.listen_port,
            Self::Own(node) => node.listen_port,
        }
    }

    /// Probes a manager, with a packet of `size` bytes in one piece if that matters. `None` if no answer comes in time.
    pub async fn measure(
        &self,
        manager: ManagerId,
        size: Option<u16>,
        patience: Duration,
    ) -> anyhow::Result<Option<Measured>> {
        match self {
            Self::Agent { socket, .. } => {
                let socket = socket.clone();
                Ok(spawn_blocking(move || control::measure(&socket, manager, size, patience)).await??)
            }
            Self::Own(node) => {
                let (reply, measured) = oneshot::channel();
                let done = Box::new(move |it| {
                    let _ = reply.send(it);
                });
                node.tell(Command::Measure(Measure { manager, size, done })).await?;
                Ok(timeout(patience, measured).await.ok().and_then(Result::ok))
            }
        }
    }

    /// The tunnels, now.
    pub async fn status(&self) -> anyhow::Result<Status> {
        match self {
            Self::Agent { socket, .. } => {
                let socket = socket.clone();
                Ok(spawn_blocking(move || control::status(&socket)).await??.node)
            }
            Self::Own(node) => {
                let (reply, status) = oneshot::channel();
                node.tell(Command::Status(Box::new(move |it| {
                    let _ = reply.send(it);
                })))
                .await?;
                status.await.context("the node has ended")
            }
        }
    }
}

impl OwnNode {
    fn start(config: &Config) -> anyhow::Result<Self> {
        let state = StateDir::new(&config.state_dir);
        let membership = state.membership()?;
        let lock = state.lock()?;
        let udp = UdpConfig { address: None, port: config.listen_port, segmentation: false, mark: Some(MARK) };
        // Without the privilege to mark packets they may still get through.
        let udp = UdpPort::bind(&udp).or_else(|_| UdpPort::bind(&UdpConfig { mark: None, ..udp }));
        let udp = udp.with_context(|| format!("cannot use UDP port {}", config.listen_port))?;
        let listen_port = udp.local_addr().context("cannot read the UDP port")?.port();
        let generation = Generation::first_of_boot(0);
        let node = NodeConfig { private_key: membership.private_key, generation, only_measures: true };
        #[expect(clippy::disallowed_methods, reason = "the shell starts the clock")]
        let now = Instant::now();
        let node = EndpointNode::new(&node, Arc::new(membership.map), now);
        let (events, unread) = mpsc::channel(EVENTS);
        let driver = spawn(node, udp, None::<TunPort>, events, Priority::Normal)?;
        Ok(Self { driver, listen_port, _events: unread, _lock: lock })
    }

    async fn tell(&self, command: Command) -> anyhow::Result<()> {
        self.driver.commands().send(command).await.map_err(|_| anyhow::anyhow!("the node has ended"))
    }
}
