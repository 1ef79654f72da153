use festoon_proto::EndpointId;

use super::*;
use crate::netcheck::mtu::PathMtu;
use crate::netcheck::nat::Nat;
use crate::netcheck::{Family, Udp};

const DAY: i64 = 86_400;

fn answered(ahead: i64, left: i64) -> Outcome {
    let (ahead, left) = (Some(ahead), Some(left));
    Outcome::Answered { clock_ahead_s: ahead, certificate_until: Some(0), certificate_left_s: left }
}

fn manager(id: u16) -> Manager {
    let underlay = format!("192.0.2.{id}:51820").parse().ok();
    let path_mtu = Some(PathMtu { bytes: 1500, or_more: true });
    let udp = Udp { underlay, sent: 5, answered: 5, needed_mtu: Some(1440), path_mtu, ..Udp::default() };
    let address = format!("192.0.2.{id}:8443").parse().unwrap();
    let https = vec![Https { address, outcome: answered(0, 300 * DAY) }];
    Manager { id: ManagerId(id), name: format!("m{id}"), active: id == 1, udp, https }
}

fn report() -> Report {
    let family = Family { source: None, answers: true, nat: Nat::None, observed: Vec::new() };
    Report {
        endpoint: EndpointId(1),
        name: "a".into(),
        network: "prod".into(),
        overlay_mtu: 1380,
        agent_runs: true,
        problems: Vec::new(),
        notes: Vec::new(),
        ipv4: family.clone(),
        ipv6: family,
        managers: vec![manager(1), manager(2)],
        warnings: Vec::new(),
    }
}

fn silence(manager: &mut Manager) {
    manager.udp = Udp { answered: 0, path_mtu: None, ..manager.udp };
}

fn unreachable() -> Outcome {
    Outcome::Unreachable { reason: "no answer in time".into() }
}

/// What was done to a good report, what warnings it should give, and a piece of the first one's text.
type Case = (&'static str, fn(&mut Report), &'static [(Code, Option<u16>)], &'static str);

const CASES: &[Case] = &[
    ("nothing", |_| {}, &[], ""),
    ("no agent", |it| it.agent_runs = false, &[(Code::AgentNotRunning, None)], "systemctl start festoon"),
    ("a problem", |it| it.problems.push("it rains".into()), &[(Code::Host, None)], "it rains"),
    (
        "no UDP",
        |it| it.managers.iter_mut().for_each(silence),
        &[(Code::UdpBlocked, None)],
        "Let this host send UDP to port 51820",
    ),
    (
        "nothing passes",
        |it| {
            it.managers.iter_mut().for_each(silence);
            it.managers.iter_mut().for_each(|it| it.https[0].outcome = unreachable());
        },
        &[(Code::NoManager, None), (Code::HttpsBlocked, Some(1)), (Code::HttpsBlocked, Some(2))],
        "ip route get",
    ),
    ("no UDP to one", |it| silence(&mut it.managers[1]), &[(Code::ManagerUdp, Some(2))], "over TCP it does"),
    (
        "one is down",
        |it| {
            silence(&mut it.managers[1]);
            it.managers[1].https[0].outcome = unreachable();
        },
        &[(Code::ManagerUdp, Some(2)), (Code::HttpsBlocked, Some(2))],
        "it is down",
    ),
    ("loss", |it| it.managers[0].udp.answered = 4, &[(Code::Loss, Some(1))], "1 of 5 probes of m1"),
    (
        "a small MTU",
        |it| it.managers[1].udp.path_mtu = Some(PathMtu { bytes: 1400, or_more: false }),
        &[(Code::SmallMtu, Some(2))],
        "festoon-manager networks set prod --mtu 1340",
    ),
    (
        "a tiny MTU",
        |it| it.managers[0].udp.path_mtu = Some(PathMtu { bytes: 1300, or_more: false }),
        &[(Code::SmallMtu, Some(1))],
        "raise that of the underlay to 1440",
    ),
    ("just enough", |it| it.managers[0].udp.path_mtu = Some(PathMtu { bytes: 1440, or_more: false }), &[], ""),
    ("nothing whole passes", |it| it.managers[0].udp.path_mtu = None, &[(Code::SmallMtu, Some(1))], "one piece"),
    (
        "no TCP",
        |it| it.managers[0].https[0].outcome = unreachable(),
        &[(Code::HttpsBlocked, Some(1))],
        "192.0.2.1:8443 (no answer in time)",
    ),
    (
        "a stranger",
        |it| it.managers[0].https[0].outcome = Outcome::Untrusted { reason: "unknown issuer".into() },
        &[(Code::BadCertificate, Some(1))],
        "unknown issuer",
    ),
    (
        "removed",
        |it| it.managers[0].https[0].outcome = Outcome::Refused { reason: "gone".into() },
        &[(Code::Refused, Some(1))],
        "festoon leave",
    ),
    (
        "ill",
        |it| it.managers[0].https[0].outcome = Outcome::Failed { reason: "502".into() },
        &[(Code::HttpsFailed, Some(1))],
        "502",
    ),
    (
        "an old certificate",
        |it| it.managers[1].https[0].outcome = answered(0, 3 * DAY),
        &[(Code::CertificateEnds, Some(2))],
        "ends in 3 days",
    ),
    (
        "a clock that is ahead",
        |it| it.managers.iter_mut().for_each(|it| it.https[0].outcome = answered(90, 300 * DAY)),
        &[(Code::Clock, None)],
        "90 s ahead of the managers'",
    ),
    (
        "another's clock",
        |it| it.managers[1].https[0].outcome = answered(-31, 300 * DAY),
        &[(Code::Clock, Some(2))],
        "31 s behind that of m2",
    ),
    ("a clock a little off", |it| it.managers[0].https[0].outcome = answered(30, 300 * DAY), &[], ""),
];

#[test]
fn every_fault_has_a_warning_and_nothing_else_has() {
    for (what, change, expected, text) in CASES {
        let mut report = report();
        change(&mut report);
        let found = warnings(&report);
        let codes: Vec<(Code, Option<u16>)> = found.iter().map(|it| (it.code, it.manager.map(|id| id.0))).collect();
        assert_eq!(codes, *expected, "{what}: {found:?}");
        assert!(found.first().is_none_or(|first| first.text.contains(text)), "{what}: {found:?}");
    }
}
