//! The node, running: the way to it for the rest of the program.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use festoon_dataplane::io::{
    DriverError, DriverHandle, IoCounters, IoCounts, Priority, TunPort, UdpConfig, UdpPort, spawn,
};
use festoon_proto::map::{ManagerMap, ManagerMapDelta};
use festoon_proto::{EndpointId, ManagerId};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::cluster::unix_now;
use crate::node::{Carried, Command, Event, Figures, ManagerNode, NodeConfig, NodeKeys, Reply, Sighting, Status};

/// Events on their way from the packet loop. It keeps more, up to a bound of its own.
const EVENT_QUEUE: usize = 256;

/// Of tunnels and links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen. By default on all addresses, on the port that the registry names for this manager.
    pub listen: Option<SocketAddr>,
    /// Whether the kernel may join and split datagrams (GSO, GRO). Off is slower, for networks whose drivers get it wrong.
    pub segmentation: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: None, segmentation: true }
    }
}

impl Config {
    fn socket(&self, port: u16) -> UdpConfig {
        let address = self.listen.map(|at| at.ip()).filter(|ip: &IpAddr| !ip.is_unspecified());
        let port = self.listen.map_or(port, |at| at.port());
        UdpConfig { address, port, segmentation: self.segmentation, mark: None }
    }
}

/// The node has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packet loop of this manager has stopped: see its log")]
pub struct Stopped;

/// The way to the node.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    commands: mpsc::Sender<Command>,
    counters: Arc<IoCounters>,
}

/// The node, running.
pub struct Driver {
    handle: DriverHandle<ManagerNode>,
    /// The last drain that ended.
    drained: watch::Receiver<u32>,
    drains: u32,
}

/// Starts the node. `port` is that of the registry. What it sees goes to `sightings`. Must run inside tokio.
pub fn build(
    config: &Config,
    port: u16,
    manager: ManagerId,
    keys: NodeKeys,
    map: ManagerMap,
    sightings: mpsc::Sender<Sighting>,
) -> anyhow::Result<Driver> {
    let socket = config.socket(port);
    let udp = UdpPort::bind(&socket).with_context(|| format!("can't listen on UDP port {}", socket.port))?;
    let node = NodeConfig { keys, manager, link_sequence: unix_now().0 };
    #[expect(clippy::disallowed_methods, reason = "the shell starts the clock")]
    let now = Instant::now();
    let node = ManagerNode::new(&node, map, now);
    let (sender, events) = mpsc::channel(EVENT_QUEUE);
    let handle = spawn(node, udp, None::<TunPort>, sender, Priority::Highest)?;
    let (drain, drained) = watch::channel(0);
    tokio::spawn(sort(events, drain, sightings));
    Ok(Driver { handle, drained, drains: 0 })
}

/// Hands on what the node tells. Ends with the node; holds nothing back that is not in a channel.
async fn sort(mut events: mpsc::Receiver<Event>, drained: watch::Sender<u32>, sightings: mpsc::Sender<Sighting>) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Drained(number) => drop(drained.send_replace(number)),
            // Nobody keeps a record while the manager stops.
            Event::Seen(sighting) => drop(sightings.send(sighting).await),
        }
    }
}

impl Driver {
    /// The way to the node.
    pub fn handle(&self) -> NodeHandle {
        NodeHandle { commands: self.handle.commands().clone(), counters: Arc::clone(self.handle.counters()) }
    }

    /// Waits until the node stops by itself, which it does only if something is broken.
    pub async fn failed(&mut self) -> DriverError {
        self.handle.failed().await
    }

    /// Has the node move all agents away, and waits until they are gone.
    pub async fn drain(&mut self) -> Result<(), Stopped> {
        self.drains += 1;
        self.handle().send(Command::Drain(self.drains)).await?;
        let wanted = self.drains;
        // The end of an earlier drain says nothing of now.
        self.drained.wait_for(|&number| number == wanted).await.map(drop).map_err(|_| Stopped)
    }

    /// Stops the node.
    pub async fn shutdown(self) -> Result<(), DriverError> {
        self.handle.shutdown().await.map(drop)
    }
}

impl NodeHandle {
    /// Gives the node a whole new map.
    pub async fn set_map(&self, map: ManagerMap) -> Result<(), Stopped> {
        self.send(Command::SetMap(Box::new(map))).await
    }

    /// Gives it a change of its map. `false` if its map is another one, and it needs a whole new one.
    pub async fn change_map(&self, delta: ManagerMapDelta) -> Result<bool, Stopped> {
        self.ask(|reply| Command::ChangeMap(Box::new(delta), reply)).await
    }

    /// Gives it other keys.
    pub async fn set_keys(&self, keys: NodeKeys) -> Result<(), Stopped> {
        self.send(Command::SetKeys(keys)).await
    }

    /// Has it take no more endpoints and move away those it has, or take them again.
    pub async fn set_draining(&self, draining: bool) -> Result<(), Stopped> {
        self.send(Command::SetDraining(draining)).await
    }

    /// Has it cut an endpoint off. It may come back by itself.
    pub async fn disconnect(&self, endpoint: EndpointId) -> Result<(), Stopped> {
        self.send(Command::Disconnect(endpoint)).await
    }

    /// How it and the endpoints with these ids are doing.
    pub async fn status(&self, ids: Vec<EndpointId>) -> Result<Status, Stopped> {
        self.ask(|reply| Command::Status(ids, reply)).await
    }

    /// What it counted and measured, without single endpoints.
    pub async fn figures(&self) -> Result<Figures, Stopped> {
        self.ask(Command::Figures).await
    }

    /// The same of at most `limit` endpoints that it carries, those behind `after`, by id. Packets wait while it is made.
    pub async fn carried(&self, after: Option<EndpointId>, limit: usize) -> Result<Vec<Carried>, Stopped> {
        self.ask(|reply| Command::Carried(after, limit, reply)).await
    }

    /// What the packet loop received and sent. It is not asked for it.
    pub fn io_counts(&self) -> IoCounts {
        self.counters.counts()
    }

    async fn ask<T: Send + 'static>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        // Who asked may be gone, which is no matter.
        self.send(command(Box::new(move |value| drop(reply.send(value))))).await?;
        answer.await.map_err(|_| Stopped)
    }

    async fn send(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }
}
