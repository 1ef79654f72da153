//! The packet filter that keeps overlay traffic in the tunnel, as scripts for `nft`. Pure.
//!
//! What arrives by another device than the tunnel must not come from the overlay or go there, and what leaves by another must
//! not go to the overlay or come from this endpoint's overlay addresses: neighbours can neither reach the overlay's side of
//! this host nor make it send there what belongs in the tunnel, whatever routes they bring it to take (CVE-2019-14899, and
//! what is known as TunnelVision and TunnelCrack).
//!
//! Both chains come before address translation, so they see the addresses that the application meant. No connection is
//! tracked for their sake.
//!
//! | chain | sees | on |
//! |---|---|---|
//! | `arrivals` | what arrives | every device |
//! | `entering`, `crossing` | what comes in, what is passed on | bridges whose bridged packets pass the filter too |
//! | `outside` | what the three above do not let through at once | |
//! | `departures` | what leaves | every device |

mod quoted;

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;

use super::bridges::Inner;
use super::plan::{Desired, Protocol};
use super::slot::{BRIDGED_MARK, MARK, MARK_MASK, Slot};

/// How nft calls the two families, and how the sets end.
const FAMILIES: [(&str, u8); 2] = [("ip", 4), ("ip6", 6)];

/// The script that puts the filter in the place of whatever was there, all at once.
pub(super) fn script(slot: Slot, interface: &str, desired: &Desired) -> String {
    let mut text = removal(slot);
    // Writing to a `String` cannot fail.
    let _ = write(&mut text, slot, interface, desired);
    text
}

/// The script that takes the filter away, whether it is there or not.
pub(super) fn removal(slot: Slot) -> String {
    removal_of("inet", slot)
}

/// The script for the filter of ARP: neighbours cannot ask whether this host has an overlay address. For IPv6 the kernel answers
/// for the addresses of the device alone that was asked on.
pub(super) fn arp_script(slot: Slot, interface: &str, desired: &Desired) -> String {
    let mut text = arp_removal(slot);
    let own: Vec<String> = desired.guarded.iter().filter(|it| it.is_ipv4()).map(ToString::to_string).collect();
    let _ = writeln!(text, "table arp {} {{", slot.filter());
    text.push_str("\tchain questions {\n\t\ttype filter hook input priority filter; policy accept;\n");
    if !own.is_empty() {
        let _ = writeln!(text, "\t\tiifname != \"{interface}\" arp daddr ip {{ {} }} counter drop", own.join(", "));
    }
    text.push_str("\t}\n}\n");
    text
}

/// The script that takes the filter of ARP away, whether it is there or not.
pub(super) fn arp_removal(slot: Slot) -> String {
    removal_of("arp", slot)
}

fn removal_of(family: &str, slot: Slot) -> String {
    let name = slot.filter();
    format!("add table {family} {name}\ndelete table {family} {name}\n")
}

fn write(out: &mut String, slot: Slot, interface: &str, desired: &Desired) -> fmt::Result {
    writeln!(out, "table inet {} {{", slot.filter())?;
    let overlay: Vec<IpNet> = desired.tunnel.iter().chain(&desired.closed).copied().collect();
    let guarded: Vec<IpNet> = desired.guarded.iter().copied().map(IpNet::from).collect();
    write_sets(out, "overlay", &overlay)?;
    write_sets(out, "own", &guarded)?;
    let underlay: Vec<IpNet> = desired.underlay.iter().copied().map(IpNet::from).collect();
    write_sets(out, "underlay", &underlay)?;
    write_sets(out, "behind", &desired.behind)?;
    quoted::write_chain(out, desired)?;
    write_outside(out, desired)?;
    write_arrivals(out, interface, desired)?;
    write_bridged(out, &desired.bridged)?;
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
    write_hook(out, "arrivals", "prerouting")?;
    writeln!(out, "\t\tiifname {{ \"lo\", \"{interface}\" }} accept")?;
    for inner in &desired.inner_bridges {
        writeln!(out, "\t\tiifname \"{}\" jump quoted", inner.name)?;
        write_guests(out, inner, "iifname", "saddr")?;
    }
    for (ip, family) in FAMILIES {
        writeln!(out, "\t\t{ip} daddr @own{family} counter drop")?;
    }
    if !desired.bridged.is_empty() {
        // Whether they concern this host shows later.
        writeln!(out, "\t\tiifname {} accept", names(&desired.bridged))?;
    }
    out.write_str("\t\tjump outside\n\t}\n")
}

/// What nothing lets through at once.
fn write_outside(out: &mut String, desired: &Desired) -> fmt::Result {
    out.write_str("\tchain outside {\n\t\tjump quoted\n")?;
    write_direct(out, desired, "saddr", "sport")?;
    quoted::write_answers(out, desired)?;
    for (ip, family) in FAMILIES {
        writeln!(out, "\t\t{ip} daddr @underlay{family} {ip} saddr != @overlay{family} accept")?;
        writeln!(out, "\t\t{ip} saddr @overlay{family} counter drop")?;
        writeln!(out, "\t\t{ip} daddr @overlay{family} {ip} saddr != @behind{family} counter drop")?;
        if desired.behind.iter().any(|prefix| prefix.addr().is_ipv4() == (family == 4)) {
            // Anybody could claim to be behind this host. Only where packets to them leave may they come in.
            writeln!(out, "\t\t{ip} daddr @overlay{family} fib saddr . iif oif missing counter drop")?;
        }
    }
    out.write_str("\t}\n")
}

/// Where br_netfilter is on, packets pass the hooks of IP that a bridge only carries from one port to another. Such a packet leaves by
/// the bridge that it came by. It gets a mark, for nothing else tells it from one of this host when it leaves.
fn write_bridged(out: &mut String, bridges: &[String]) -> fmt::Result {
    if bridges.is_empty() {
        return Ok(());
    }
    let all = names(bridges);
    write_hook(out, "entering", "input")?;
    writeln!(out, "\t\tiifname {all} jump outside\n\t}}")?;
    write_hook(out, "crossing", "forward")?;
    let others = !MARK_MASK;
    for bridge in bridges {
        writeln!(
            out,
            "\t\tiifname \"{bridge}\" oifname \"{bridge}\" meta mark set meta mark & {others:#010x} | {BRIDGED_MARK:#010x} accept"
        )?;
    }
    writeln!(out, "\t\tiifname {all} jump outside\n\t}}")
}

fn write_departures(out: &mut String, interface: &str, desired: &Desired) -> fmt::Result {
    write_hook(out, "departures", "postrouting")?;
    writeln!(out, "\t\toifname {{ \"lo\", \"{interface}\" }} accept")?;
    writeln!(out, "\t\tmeta mark & {MARK_MASK:#010x} == {MARK:#010x} accept")?;
    if !desired.bridged.is_empty() {
        let bridges = names(&desired.bridged);
        writeln!(out, "\t\toifname {bridges} meta mark & {MARK_MASK:#010x} == {BRIDGED_MARK:#010x} accept")?;
    }
    for inner in &desired.inner_bridges {
        write_guests(out, inner, "oifname", "daddr")?;
    }
    write_direct(out, desired, "daddr", "dport")?;
    for (ip, family) in FAMILIES {
        writeln!(out, "\t\t{ip} daddr @overlay{family} counter drop")?;
        writeln!(out, "\t\t{ip} saddr @own{family} counter drop")?;
    }
    out.write_str("\t}\n")
}

fn write_hook(out: &mut String, chain: &str, hook: &str) -> fmt::Result {
    writeln!(out, "\tchain {chain} {{\n\t\ttype filter hook {hook} priority mangle; policy accept;")
}

/// Lets the guests behind a bridge through, by the addresses that it has for them.
fn write_guests(out: &mut String, inner: &Inner, device: &str, address: &str) -> fmt::Result {
    for (ip, family) in FAMILIES {
        let subnets = inner.subnets.iter().filter(|subnet| subnet.addr().is_ipv4() == (family == 4));
        for subnet in subnets {
            writeln!(
                out,
                "\t\t{device} \"{}\" {ip} {address} {subnet} {ip} {address} != @overlay{family} accept",
                inner.name
            )?;
        }
    }
    Ok(())
}

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

fn names(interfaces: &[String]) -> String {
    let quoted: Vec<String> = interfaces.iter().map(|name| format!("\"{name}\"")).collect();
    format!("{{ {} }}", quoted.join(", "))
}

#[cfg(test)]
mod tests;
