//! The host, by a few fixed commands and files. None of them shows keys: the kernel gives those of tunnels to `wg` alone.

use std::fs;
use std::process::{Command, Stdio};

use super::Entry;

/// Of each, at most.
const MAX_LEN: usize = 1 << 20;
/// Where commands are looked for, whatever the user's path is.
const PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// File in the bundle, what it is, the command.
const COMMANDS: [(&str, &str, &[&str]); 9] = [
    ("host/uname", "kernel", &["uname", "-srvm"]),
    ("host/links", "interfaces with their counters", &["ip", "-details", "-statistics", "link"]),
    ("host/addresses", "addresses", &["ip", "address"]),
    ("host/routes-v4", "IPv4 routes of all tables", &["ip", "-4", "route", "show", "table", "all"]),
    ("host/routes-v6", "IPv6 routes of all tables", &["ip", "-6", "route", "show", "table", "all"]),
    ("host/rules-v4", "IPv4 routing rules", &["ip", "-4", "rule"]),
    ("host/rules-v6", "IPv6 routing rules", &["ip", "-6", "rule"]),
    ("host/nftables", "the firewall's rules, as somebody wrote them", &["nft", "--stateless", "list", "ruleset"]),
    (
        "host/journal",
        "the journal of the agent's service",
        &["journalctl", "--unit=festoon", "--lines=2000", "--no-pager", "--output=short-iso"],
    ),
];

/// File in the bundle, what it is, the file.
const FILES: [(&str, &str, &str); 5] = [
    ("host/os-release", "the distribution", "/etc/os-release"),
    ("host/resolv.conf", "the resolver", "/etc/resolv.conf"),
    ("host/uptime", "seconds since the start of the host", "/proc/uptime"),
    ("host/snmp", "the kernel's counters of IP, ICMP and UDP", "/proc/net/snmp"),
    ("host/sockstat", "the kernel's sockets", "/proc/net/sockstat"),
];

/// Kernel parameters that matter to tunnels.
const SYSCTLS: [&str; 18] = [
    "net/core/default_qdisc",
    "net/core/rmem_max",
    "net/core/wmem_max",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ip_no_pmtu_disc",
    "net/ipv4/ping_group_range",
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_mtu_probing",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/disable_ipv6",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_udp_timeout",
    "net/netfilter/nf_conntrack_udp_timeout_stream",
];

/// All of it.
pub(super) fn gather() -> Vec<Entry> {
    let commands = COMMANDS
        .iter()
        .map(|(name, about, command)| Entry::new(*name, format!("{about} (`{}`)", command.join(" ")), run(command)));
    let files = FILES.iter().map(|(name, about, path)| {
        let content = fs::read(path).unwrap_or_else(|error| format!("none: {error}\n").into_bytes());
        Entry::new(*name, format!("{about} ({path})"), cut(content))
    });
    let sysctls = Entry::new("host/sysctl", "kernel parameters that matter", sysctls());
    commands.chain(files).chain([sysctls]).collect()
}

fn run(command: &[&str]) -> Vec<u8> {
    let Some((program, arguments)) = command.split_first() else { return Vec::new() };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).stdin(Stdio::null());
    match command.output() {
        Ok(output) => cut([output.stdout, output.stderr].concat()),
        Err(error) => format!("none: cannot run {program}: {error}\n").into_bytes(),
    }
}

fn cut(mut content: Vec<u8>) -> Vec<u8> {
    content.truncate(MAX_LEN);
    content
}

fn sysctls() -> String {
    let line = |name: &&str| {
        let value = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
        Some(format!("{} = {}\n", name.replace('/', "."), value.trim()))
    };
    SYSCTLS.iter().filter_map(line).collect()
}
