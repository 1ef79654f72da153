//! What goes wrong, and what puts it right.

use std::fmt;

use festoon_proto::{EndpointId, ManagerId};

use crate::world::NodeId;

/// Which directions of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// Both.
    Both,
    /// Only from the first node to the second.
    Forth,
}

/// A change of the underlay or of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The path between two nodes is cut; nothing answers.
    Cut(NodeId, NodeId, Ways),
    /// It is whole again.
    Mend(NodeId, NodeId, Ways),
    /// A manager dies and forgets everything. With `icmp` its host still says that the port is closed.
    Kill {
        /// Which.
        manager: ManagerId,
        /// Whether its host answers for it.
        icmp: bool,
    },
    /// A dead manager starts anew.
    Restart(ManagerId),
    /// A manager is stopped (SIGSTOP): what arrives waits for it.
    Freeze(ManagerId),
    /// It goes on.
    Thaw(ManagerId),
    /// A manager asks its endpoints to leave.
    Drain(ManagerId),
    /// It takes endpoints again.
    Undrain(ManagerId),
    /// An endpoint gets another underlay address. With `told` it hears of it from its host.
    Roam {
        /// Which.
        endpoint: EndpointId,
        /// Whether it is told.
        told: bool,
    },
    /// An endpoint's agent is told to end, and runs on for a while.
    Leave(EndpointId),
    /// A node has a new key, and all hear of it by and by. The one before is good too.
    NewKey(NodeId),
    /// The one before is no longer good.
    ForgetKey(NodeId),
}

impl Fault {
    /// Whether packets may be lost by it. Draining and new keys are maintenance, and must lose none.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Drain(_) | Self::Undrain(_) | Self::NewKey(_) | Self::ForgetKey(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(a, b, Ways::Both) => write!(f, "cut {a} <-> {b}"),
            Self::Cut(a, b, Ways::Forth) => write!(f, "cut {a} -> {b}"),
            Self::Mend(a, b, Ways::Both) => write!(f, "mend {a} <-> {b}"),
            Self::Mend(a, b, Ways::Forth) => write!(f, "mend {a} -> {b}"),
            Self::Kill { manager, icmp: true } => write!(f, "kill {manager}, its host answers"),
            Self::Kill { manager, icmp: false } => write!(f, "kill {manager}, silently"),
            Self::Restart(manager) => write!(f, "restart {manager}"),
            Self::Freeze(manager) => write!(f, "freeze {manager}"),
            Self::Thaw(manager) => write!(f, "thaw {manager}"),
            Self::Drain(manager) => write!(f, "drain {manager}"),
            Self::Undrain(manager) => write!(f, "undrain {manager}"),
            Self::Leave(endpoint) => write!(f, "{endpoint} leaves"),
            Self::NewKey(node) => write!(f, "new key of {node}"),
            Self::ForgetKey(node) => write!(f, "end of the key before of {node}"),
            Self::Roam { endpoint, told: true } => write!(f, "roam {endpoint}"),
            Self::Roam { endpoint, told: false } => write!(f, "roam {endpoint}, untold"),
        }
    }
}
