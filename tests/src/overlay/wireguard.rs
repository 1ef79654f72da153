//! Stock WireGuard programs, in user space: `wireguard-go`, and whatever else speaks `wg`'s language.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use ipnet::IpNet;

use super::wait_until_slowly;
use crate::lab::{Host, Program};

const START: Duration = Duration::from_secs(10);
/// Where such programs have their control sockets, whatever the network namespace: so an interface's name must be unique on
/// the machine, not only on its host.
const SOCKETS: &str = "/var/run/wireguard";

static INTERFACES: AtomicU32 = AtomicU32::new(0);

/// What `wg-quick` would read.
#[derive(Debug, Clone, Default)]
pub struct Conf {
    /// What `wg setconf` understands.
    pub wg: String,
    /// Its own addresses.
    pub addresses: Vec<IpNet>,
    /// The largest packet inside, if not the program's default.
    pub mtu: Option<u16>,
    /// What is routed into the tunnel.
    pub routes: Vec<IpNet>,
}

impl Conf {
    /// Takes a configuration file apart, as `wg-quick` does.
    ///
    /// # Errors
    /// When an address makes no sense.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut conf = Self::default();
        for line in text.lines() {
            let (key, value) = line.split_once('=').map_or((line, ""), |(key, value)| (key.trim(), value.trim()));
            match key {
                "Address" => conf.addresses = parse_prefixes(value)?,
                "MTU" => conf.mtu = Some(value.parse().context("the MTU is no number")?),
                _ => {
                    if key == "AllowedIPs" {
                        conf.routes = parse_prefixes(value)?;
                    }
                    conf.wg.push_str(line);
                    conf.wg.push('\n');
                }
            }
        }
        Ok(conf)
    }

    /// Puts another value in the place of every `key`.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        let replace = |line: &str| match line.split_once('=') {
            Some((name, _)) if name.trim() == key => format!("{key} = {value}\n"),
            _ => format!("{line}\n"),
        };
        self.wg = self.wg.lines().map(replace).collect();
        self
    }
}

/// Where the program behind an interface is configured.
fn socket(interface: &str) -> PathBuf {
    Path::new(SOCKETS).join(format!("{interface}.sock"))
}

/// Whether a socket takes connections, as `/proc/net/unix` has it: the flag `__SO_ACCEPTCON` in the fourth column.
fn is_listening(sockets: &str, path: &Path) -> bool {
    sockets.lines().any(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        columns.get(3) == Some(&"00010000") && columns.get(7).is_some_and(|at| Path::new(at) == path)
    })
}

fn parse_prefixes(text: &str) -> anyhow::Result<Vec<IpNet>> {
    let prefix = |text: &str| text.trim().parse().with_context(|| format!("{text} is no prefix"));
    text.split(',').map(prefix).collect()
}

/// A WireGuard interface on a host, and the program behind it.
#[derive(Debug)]
pub struct WireGuard {
    /// Where it runs.
    pub host: Host,
    interface: String,
    conf: Conf,
    program: Program,
}

impl WireGuard {
    /// Runs Debian's `wireguard-go`.
    ///
    /// # Errors
    /// When it does not start, or the configuration is refused.
    pub fn start(host: &Host, conf: Conf) -> anyhow::Result<Self> {
        Self::with_program(host, Path::new("wireguard-go"), &["-f"], conf)
    }

    /// Runs another program, which takes the interface's name as its last argument.
    ///
    /// # Errors
    /// When it does not start, or the configuration is refused.
    pub fn with_program(host: &Host, program: &Path, args: &[&str], conf: Conf) -> anyhow::Result<Self> {
        let interface = format!("w{}x{}", std::process::id(), INTERFACES.fetch_add(1, Ordering::Relaxed));
        // A killed program leaves its socket.
        host.remove_with_lab(socket(&interface));
        let program = host.spawn(program, &[args, &[&interface]].concat())?;
        let mut wireguard = Self { host: host.clone(), interface, conf, program };
        wireguard.configure()?;
        Ok(wireguard)
    }

    fn configure(&mut self) -> anyhow::Result<()> {
        let interface = &self.interface;
        wait_until_slowly(START, &format!("interface {interface}"), || {
            anyhow::ensure!(self.program.is_running(), "{}", self.program.log());
            // Not by `wg show`: it removes the socket if it comes between the program's bind and its listen.
            Ok(is_listening(&self.host.run("cat", &["/proc/net/unix"])?, &socket(interface)))
        })?;
        self.host.run_with_input("wg", &["setconf", interface, "/dev/stdin"], &self.conf.wg)?;
        let mut lines = String::new();
        for address in &self.conf.addresses {
            lines.push_str(&format!("addr add {address} dev {interface}\n"));
        }
        let mtu = self.conf.mtu.map_or_else(String::new, |mtu| format!("mtu {mtu}"));
        lines.push_str(&format!("link set {interface} {mtu} up\n"));
        for route in &self.conf.routes {
            lines.push_str(&format!("route replace {route} dev {interface}\n"));
        }
        self.host.run_with_input("ip", &["-batch", "-"], &lines).map(drop)
    }

    /// Its interface.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Its first IPv4 address in the overlay.
    ///
    /// # Errors
    /// When it has none.
    pub fn v4(&self) -> anyhow::Result<IpAddr> {
        let mut addresses = self.conf.addresses.iter().map(IpNet::addr);
        addresses.find(IpAddr::is_ipv4).context("the client has no IPv4 address")
    }

    /// Its first IPv6 address in the overlay.
    ///
    /// # Errors
    /// When it has none.
    pub fn v6(&self) -> anyhow::Result<IpAddr> {
        let mut addresses = self.conf.addresses.iter().map(IpNet::addr);
        addresses.find(IpAddr::is_ipv6).context("the client has no IPv6 address")
    }

    /// Whether it has ever completed a handshake.
    ///
    /// # Errors
    /// When `wg` does not say.
    pub fn has_session(&self) -> anyhow::Result<bool> {
        let times = self.host.run("wg", &["show", &self.interface, "latest-handshakes"])?;
        Ok(times.split_whitespace().nth(1).is_some_and(|time| time != "0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_only_bound_does_not_listen() {
        let of = |flags: &str, state: &str| {
            format!("Num  Path\n0000: 00000002 00000000 {flags} 0001 {state} 7 /s/w0.sock\n")
        };
        assert!(is_listening(&of("00010000", "01"), Path::new("/s/w0.sock")));
        assert!(!is_listening(&of("00010000", "01"), Path::new("/s/w1.sock")));
        assert!(!is_listening(&of("00000000", "01"), Path::new("/s/w0.sock")));
    }

    #[test]
    fn a_conf_is_taken_apart() {
        let text = "[Interface]\nPrivateKey = x=\nAddress = 172.31.0.2/32, fd00::2/128\nMTU = 1360\n[Peer]\n\
                    AllowedIPs = 172.31.0.0/16\n";
        let conf = Conf::parse(text).expect("a conf");
        assert_eq!(conf.wg, "[Interface]\nPrivateKey = x=\n[Peer]\nAllowedIPs = 172.31.0.0/16\n");
        assert_eq!((conf.addresses.len(), conf.mtu, conf.routes.len()), (2, Some(1360), 1));
        assert!(conf.with("PrivateKey", "y=").wg.contains("PrivateKey = y=\n[Peer]"));
    }
}
