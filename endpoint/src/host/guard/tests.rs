use super::*;
use crate::host::plan::Direct;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn desired() -> Desired {
    Desired {
        tunnel: vec![net("172.31.0.0/16"), net("fd31::/64")],
        closed: vec![net("10.9.0.0/24")],
        guarded: vec!["172.31.0.5".parse().unwrap()],
        underlay: vec!["172.31.9.7".parse().unwrap()],
        behind: vec![net("192.168.77.0/24")],
        inner_bridges: vec![Inner { name: "docker0".into(), subnets: vec![net("172.17.0.0/16"), net("fd17::/64")] }],
        direct: vec![Direct { address: "172.31.0.9".parse().unwrap(), protocol: Protocol::Tcp, port: 8443 }],
        ..Desired::default()
    }
}

fn script_of(desired: &Desired) -> String {
    script(Slot::of("festoon0"), "festoon0", desired)
}

#[track_caller]
fn assert_has(script: &str, all: &[&str]) {
    for expected in all {
        assert!(script.contains(expected), "{expected} is not in\n{script}");
    }
}

/// The lines of one chain.
fn chain<'a>(script: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("\tchain {name} {{");
    let lines = script.lines().skip_while(|line| *line != begin).skip(1);
    lines.take_while(|line| *line != "\t}").map(str::trim).collect()
}

fn place(lines: &[&str], wanted: &str) -> usize {
    lines.iter().position(|line| line.contains(wanted)).unwrap_or_else(|| panic!("no {wanted} in {lines:#?}"))
}

#[test]
fn the_script_says_what_may_pass_beside_the_tunnel() {
    let script = script_of(&desired());
    assert_has(
        &script,
        &[
            "elements = { 172.31.0.0/16, 10.9.0.0/24 }",
            "elements = { fd31::/64 }",
            "elements = { 172.31.0.5/32 }",
            "iifname { \"lo\", \"festoon0\" } accept",
            "oifname { \"lo\", \"festoon0\" } accept",
            "ip saddr 172.31.0.9 tcp sport 8443 accept",
            "ip daddr 172.31.0.9 tcp dport 8443 accept",
            "ip6 daddr @own6 counter drop",
            "elements = { 172.31.9.7/32 }",
            "ip daddr @underlay4 ip saddr != @overlay4 accept",
            "ip daddr @overlay4 ip saddr != @behind4 counter drop",
            "meta mark & 0xff000000 == 0x46000000 accept",
        ],
    );
    // What is there is replaced in the same transaction: there is no moment without it.
    assert!(script.starts_with(&removal(Slot::of("festoon0"))));
}

#[test]
fn guests_pass_by_their_own_addresses_alone() {
    let script = script_of(&desired());
    let arrivals = chain(&script, "arrivals");
    let guests = place(&arrivals, "iifname \"docker0\" ip saddr 172.17.0.0/16 ip saddr != @overlay4 accept");
    assert!(guests < place(&arrivals, "@own4"), "they may use the overlay");
    place(&arrivals, "iifname \"docker0\" ip6 saddr fd17::/64 ip6 saddr != @overlay6 accept");
    let accepted: Vec<_> = arrivals.iter().filter(|line| line.contains("docker0") && line.contains("accept")).collect();
    assert!(accepted.iter().all(|line| line.contains("saddr 172.17.0.0/16") || line.contains("saddr fd17::/64")));
    let departures = chain(&script, "departures");
    place(&departures, "oifname \"docker0\" ip daddr 172.17.0.0/16 ip daddr != @overlay4 accept");
}

#[test]
fn whoever_is_behind_this_host_comes_from_where_it_is() {
    let script = script_of(&desired());
    place(&chain(&script, "outside"), "ip daddr @overlay4 fib saddr . iif oif missing counter drop");
    assert!(!script.contains("ip6 daddr @overlay6 fib"), "nobody is behind it there");
    // Not every kernel has it, so only who needs it depends on it.
    let alone = Desired { behind: Vec::new(), ..desired() };
    assert!(!script_of(&alone).contains("fib"));
}

#[test]
fn errors_about_overlay_packets_come_by_the_tunnel() {
    let script = script_of(&desired());
    let quoted = chain(&script, "quoted4");
    assert_eq!(place(&quoted, "ip frag-off & 0x3fff != 0 counter drop"), 0);
    let direct = place(&quoted, "@th,136,8 6 @th,240,16 8443 @th,192,32 0xac1f0009 return");
    let overlay = "{ 0x0a090000-0x0a0900ff, 0xac1f0000-0xac1fffff } counter drop";
    assert!(direct < place(&quoted, &format!("@th,192,32 {overlay}")));
    let v6 = "{ 0xfd310000000000000000000000000000-0xfd31000000000000ffffffffffffffff } counter drop";
    place(&chain(&script, "quoted6"), &format!("@th,256,128 {v6}"));
    place(&chain(&script, "quoted"), &format!("icmpv6 type nd-redirect @th,192,128 {v6}"));

    let outside = chain(&script, "outside");
    assert_eq!(place(&outside, "jump quoted"), 0);
    let answers = place(&outside, &format!("@th,160,32 {overlay}"));
    assert!(outside[answers].starts_with("ip daddr != @overlay4 icmp type {"), "hosts behind this one may answer");
    assert!(answers < place(&outside, "ip daddr @underlay4"));
    place(&outside, &format!("@th,128,128 {v6}"));
    let arrivals = chain(&script, "arrivals");
    assert!(place(&arrivals, "\"docker0\" jump quoted") < place(&arrivals, "\"docker0\" ip saddr"));
    // Of a family that the overlay does not have.
    let without = Desired { tunnel: vec![net("172.31.0.0/16")], ..desired() };
    assert!(!script_of(&without).contains("icmpv6"));
}

#[test]
fn what_is_only_bridged_does_not_concern_the_overlay() {
    let none = script_of(&desired());
    assert!(!none.contains("entering") && !none.contains("crossing") && !none.contains("0x47000000"));
    let script = script_of(&Desired { bridged: vec!["br0".into(), "br1".into()], ..desired() });
    let arrivals = chain(&script, "arrivals");
    let passed = place(&arrivals, "iifname { \"br0\", \"br1\" } accept");
    assert!(place(&arrivals, "ip daddr @own4") < passed && passed < place(&arrivals, "jump outside"));
    assert_eq!(chain(&script, "entering")[1], "iifname { \"br0\", \"br1\" } jump outside");
    let crossing = chain(&script, "crossing");
    let bridged = "iifname \"br1\" oifname \"br1\" meta mark set meta mark & 0x00ffffff | 0x47000000 accept";
    assert!(place(&crossing, bridged) < place(&crossing, "jump outside"));
    place(&chain(&script, "departures"), "oifname { \"br0\", \"br1\" } meta mark & 0xff000000 == 0x47000000 accept");
}

#[test]
fn nobody_is_told_who_has_an_overlay_address() {
    let script = arp_script(Slot::of("festoon0"), "festoon0", &desired());
    assert!(script.contains("iifname != \"festoon0\" arp daddr ip { 172.31.0.5 } counter drop"), "{script}");
    assert!(script.starts_with(&arp_removal(Slot::of("festoon0"))));
    let nobody = arp_script(Slot::of("festoon0"), "festoon0", &Desired { guarded: Vec::new(), ..desired() });
    assert!(!nobody.contains("drop"));
}
