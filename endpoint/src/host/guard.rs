//! The packet filter that keeps overlay traffic in the tunnel, as a script for `nft`. Pure.
//!
//! What arrives by another device than the tunnel must not come from the overlay or go there, and what leaves by another must
//! not go to the overlay or come from this endpoint's overlay addresses: neighbours can neither reach the overlay's side of
//! this host nor make it send there what belongs in the tunnel, whatever routes they bring it to take (CVE-2019-14899, and
//! what is known as TunnelVision and TunnelCrack).
//!
//! Both chains come before address translation, so they see the addresses that the application meant. No connection is
//! tracked for their sake.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;

use super::plan::{Desired, Protocol};
use super::slot::{MARK, MARK_MASK, Slot};

/// The script that puts the filter in the place of whatever was there, all at once.
pub(super) fn script(slot: Slot, interface: &str, desired: &Desired) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = write(&mut text, slot, interface, desired);
    text
}

/// The script that takes the filter away, whether it is there or not.
pub(super) fn removal(slot: Slot) -> String {
    let name = slot.filter();
    format!("add table inet {name}\ndelete table inet {name}\n")
}

fn write(out: &mut String, slot: Slot, interface: &str, desired: &Desired) -> fmt::Result {
    writeln!(out, "{}table inet {} {{", removal(slot), slot.filter())?;
    let overlay: Vec<IpNet> = desired.tunnel.iter().chain(&desired.closed).copied().collect();
    let guarded: Vec<IpNet> = desired.guarded.iter().copied().map(IpNet::from).collect();
    write_sets(out, "overlay", &overlay)?;
    write_sets(out, "own", &guarded)?;
    let underlay: Vec<IpNet> = desired.underlay.iter().copied().map(IpNet::from).collect();
    write_sets(out, "underlay", &underlay)?;
    write_sets(out, "behind", &desired.behind)?;
    write_arrivals(out, interface, desired)?;
    write_departures(out, interface, desired)?;
    out.write_str("}\n")
}

/// A set of each family.
fn write_sets(out: &mut String, name: &str, prefixes: &[IpNet]) -> fmt::Result {
    for (number, kind, is_v4) in [(4, "ipv4_addr", true), (6, "ipv6_addr", false)] {
        writeln!(out, "\tset {name}{number} {{\n\t\ttype {kind}\n\t\tflags interval")?;
        let elements: Vec<String> =
            prefixes.iter().filter(|prefix| prefix.addr().is_ipv4() == is_v4).map(ToString::to_string).collect();
        if !elements.is_empty() {
            writeln!(out, "\t\telements = {{ {} }}", elements.join(", "))?;
        }
        out.write_str("\t}\n")?;
    }
    Ok(())
}

fn write_arrivals(out: &mut String, interface: &str, desired: &Desired) -> fmt::Result {
    out.write_str("\tchain arrivals {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n")?;
    writeln!(out, "\t\tiifname {{ \"lo\", \"{interface}\" }} accept")?;
    for bridge in &desired.inner_bridges {
        writeln!(out, "\t\tiifname \"{bridge}\" ip saddr != @overlay4 accept")?;
        writeln!(out, "\t\tiifname \"{bridge}\" ip6 saddr != @overlay6 accept")?;
    }
    for (ip, family) in FAMILIES {
        writeln!(out, "\t\t{ip} daddr @own{family} counter drop")?;
    }
    write_direct(out, desired, "saddr", "sport")?;
    for (ip, family) in FAMILIES {
        writeln!(out, "\t\t{ip} daddr @underlay{family} {ip} saddr != @overlay{family} accept")?;
        writeln!(out, "\t\t{ip} saddr @overlay{family} counter drop")?;
        writeln!(out, "\t\t{ip} daddr @overlay{family} {ip} saddr != @behind{family} counter drop")?;
    }
    out.write_str("\t}\n")
}

fn write_departures(out: &mut String, interface: &str, desired: &Desired) -> fmt::Result {
    out.write_str("\tchain departures {\n\t\ttype filter hook postrouting priority mangle; policy accept;\n")?;
    writeln!(out, "\t\toifname {{ \"lo\", \"{interface}\" }} accept")?;
    writeln!(out, "\t\tmeta mark & {MARK_MASK:#010x} == {MARK:#010x} accept")?;
    for bridge in &desired.inner_bridges {
        writeln!(out, "\t\toifname \"{bridge}\" accept")?;
    }
    write_direct(out, desired, "daddr", "dport")?;
    for (ip, family) in FAMILIES {
        writeln!(out, "\t\t{ip} daddr @overlay{family} counter drop")?;
        writeln!(out, "\t\t{ip} saddr @own{family} counter drop")?;
    }
    out.write_str("\t}\n")
}

/// How nft calls the two families, and how the sets end.
const FAMILIES: [(&str, u8); 2] = [("ip", 4), ("ip6", 6)];

fn write_direct(out: &mut String, desired: &Desired, address: &str, port: &str) -> fmt::Result {
    for direct in &desired.direct {
        let protocol = match direct.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let ip = if matches!(direct.address, IpAddr::V4(_)) { "ip" } else { "ip6" };
        writeln!(out, "\t\t{ip} {address} {} {protocol} {port} {} accept", direct.address, direct.port)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::plan::Direct;

    #[test]
    fn the_script_says_what_may_pass_beside_the_tunnel() {
        let desired = Desired {
            tunnel: vec!["172.31.0.0/16".parse().unwrap(), "fd31::/64".parse().unwrap()],
            closed: vec!["10.9.0.0/24".parse().unwrap()],
            guarded: vec!["172.31.0.5".parse().unwrap()],
            underlay: vec!["172.31.9.7".parse().unwrap()],
            behind: vec!["192.168.77.0/24".parse().unwrap()],
            inner_bridges: vec!["docker0".into()],
            direct: vec![Direct { address: "172.31.0.9".parse().unwrap(), protocol: Protocol::Tcp, port: 8443 }],
            ..Desired::default()
        };
        let script = script(Slot::of("festoon0"), "festoon0", &desired);
        for expected in [
            "elements = { 172.31.0.0/16, 10.9.0.0/24 }",
            "elements = { fd31::/64 }",
            "elements = { 172.31.0.5/32 }",
            "iifname { \"lo\", \"festoon0\" } accept",
            "oifname { \"lo\", \"festoon0\" } accept",
            "iifname \"docker0\" ip saddr != @overlay4 accept",
            "ip saddr 172.31.0.9 tcp sport 8443 accept",
            "ip daddr 172.31.0.9 tcp dport 8443 accept",
            "ip6 daddr @own6 counter drop",
            "elements = { 172.31.9.7/32 }",
            "ip daddr @underlay4 ip saddr != @overlay4 accept",
            "ip daddr @overlay4 ip saddr != @behind4 counter drop",
            "meta mark & 0xff000000 == 0x46000000 accept",
        ] {
            assert!(script.contains(expected), "{expected} is not in\n{script}");
        }
        // What is there is replaced in the same transaction: there is no moment without it.
        assert!(script.starts_with(&removal(Slot::of("festoon0"))));
    }
}
