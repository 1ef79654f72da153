//! Where an agent keeps its things. Several agents on one machine differ in their state directory.

use std::path::{Path, PathBuf};

use clap::Args;

/// The state directory of the agent that systemd runs.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/festoon";

const DEFAULT_SOCKET: &str = "/run/festoon/agent.sock";

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where keys, credential and the last map are kept
    #[arg(long, global = true, env = "FESTOON_STATE", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,

    /// The running agent's control socket [default: /run/festoon/agent.sock, or agent.sock in another state directory]
    #[arg(long, global = true, env = "FESTOON_SOCKET")]
    socket: Option<PathBuf>,

    /// The overlay's network interface
    #[arg(long, global = true, env = "FESTOON_INTERFACE", default_value = "festoon0")]
    pub interface: String,

    /// UDP port for tunnels; 0 leaves the choice to the kernel
    #[arg(long, global = true, env = "FESTOON_LISTEN_PORT", default_value_t = 0)]
    pub listen_port: u16,

    /// Send and receive packets one by one, for network drivers that get joined ones wrong; slower
    #[arg(long, global = true, env = "FESTOON_NO_SEGMENTATION")]
    pub no_segmentation: bool,
}

impl Config {
    /// Whether this is the agent that systemd runs.
    pub fn is_system_agent(&self) -> bool {
        self.state_dir == Path::new(DEFAULT_STATE_DIR)
    }

    /// The control socket of the agent.
    pub fn socket(&self) -> PathBuf {
        match &self.socket {
            Some(socket) => socket.clone(),
            None if self.is_system_agent() => PathBuf::from(DEFAULT_SOCKET),
            None => self.state_dir.join("agent.sock"),
        }
    }

    /// The options that a person must repeat to mean this agent, with a space in front; empty for the system's own.
    pub fn options(&self) -> String {
        if self.is_system_agent() { String::new() } else { format!(" --state-dir {}", self.state_dir.display()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(state_dir: &str, socket: Option<&str>) -> Config {
        let socket = socket.map(PathBuf::from);
        let interface = "festoon0".into();
        Config { state_dir: state_dir.into(), socket, interface, listen_port: 0, no_segmentation: false }
    }

    #[test]
    fn agents_with_different_state_never_share_a_socket() {
        assert_eq!(config(DEFAULT_STATE_DIR, None).socket(), Path::new("/run/festoon/agent.sock"));
        assert_eq!(config("/tmp/a", None).socket(), Path::new("/tmp/a/agent.sock"));
        assert_eq!(config("/tmp/a", Some("/tmp/s")).socket(), Path::new("/tmp/s"));
    }
}
