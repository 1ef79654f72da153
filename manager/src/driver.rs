//! The node, running: the way to it for the rest of the program.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use festoon_dataplane::Node as _;
use festoon_proto::map::ManagerMap;
use festoon_proto::{ManagerId, PrivateKey};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::cluster::unix_now;
use crate::node::{Command, ManagerNode, NodeConfig, Status};

/// Of tunnels and links.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen. By default on all addresses, on the port that the registry names for this manager.
    pub listen: Option<SocketAddr>,
}

/// The node has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packet loop of this manager has stopped: see its log")]
pub struct Stopped;

/// The way to the node.
#[derive(Debug, Clone)]
pub struct NodeHandle {
    commands: mpsc::UnboundedSender<Command>,
}

/// Starts the node. `port` is that of the registry.
pub fn build(
    config: &Config,
    port: u16,
    manager: ManagerId,
    private_key: PrivateKey,
    map: Arc<ManagerMap>,
) -> anyhow::Result<NodeHandle> {
    let _ = (config, port);
    let node = NodeConfig { private_key, manager, link_sequence: unix_now().0 };
    let mut node = ManagerNode::new(node, map, Instant::now());
    let (commands, mut queue) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .spawn(move || {
            let mut effects = festoon_dataplane::Effects {
                underlay: festoon_dataplane::batch::UnderlayBatch::new(1),
                overlay: festoon_dataplane::batch::OverlayBatch::new(festoon_dataplane::batch::Coalesce::None),
            };
            while let Some(command) = queue.blocking_recv() {
                node.handle_command(Instant::now(), command, &mut effects);
            }
        })
        .context("can't start the packet loop")?;
    Ok(NodeHandle { commands })
}

impl NodeHandle {
    /// Gives the node a new map.
    pub fn set_map(&self, map: Arc<ManagerMap>) -> Result<(), Stopped> {
        self.send(Command::SetMap(map))
    }

    /// Has it take no more endpoints and move away those it has, or take them again.
    pub fn set_draining(&self, draining: bool) -> Result<(), Stopped> {
        self.send(Command::SetDraining(draining))
    }

    /// How it is doing.
    pub async fn status(&self) -> Result<Status, Stopped> {
        let (reply, answer) = oneshot::channel();
        // Who asked may be gone, which is no matter.
        self.send(Command::Status(Box::new(move |status| drop(reply.send(status)))))?;
        answer.await.map_err(|_| Stopped)
    }

    fn send(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).map_err(|_| Stopped)
    }
}
