//! What packets can do in an overlay, and over which underlays.

use std::net::IpAddr;

use anyhow::Context;
use festoon_tests::lab::{Lab, Path};
use festoon_tests::overlay::{Family, Overlay, Spec, Traffic, wait_until_slowly};

use crate::{MS, SOON, agent, ping, reaches, wait_all_reach, wait_reaches};

const GATEWAYS: [&str; 2] = ["172.31.0.1", "fd31::1"];

#[test]
fn all_reach_all_over_both_families() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { agents: &["a", "b", "c"], ..Spec::default() })?;
        wait_all_reach(&overlay)?;
        for agent in &overlay.agents {
            assert!(agent.status()?.problems.is_empty());
            let report = ping(&agent.host, overlay.agents[0].v4()?, 20)?;
            assert_eq!((report.lost, report.duplicated), (0, 0), "{report:?}");
        }
        Ok(())
    })
}

#[test]
fn every_manager_answers_for_the_gateway() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], agents: &["a"], ..Spec::default() })?;
        let host = overlay.agents[0].host.clone();
        for gateway in GATEWAYS {
            wait_reaches(&host, gateway.parse()?)?;
        }
        overlay.managers[0].program()?.kill()?;
        overlay.wait_carried(0, 1)?;
        for gateway in GATEWAYS {
            wait_reaches(&host, gateway.parse()?)?;
        }
        Ok(())
    })
}

#[test]
fn a_packet_whose_hops_run_out_is_answered_by_the_gateway() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        wait_all_reach(&overlay)?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        for (to, gateway) in [(b.v4()?, GATEWAYS[0]), (b.v6()?, GATEWAYS[1])] {
            // `ping` fails, for there is no answer from the target; the shell does not.
            let script = format!("ping -n -c 1 -W 2 -t 1 {to} || true");
            let said = a.host.run("sh", &["-c", &script])?;
            assert!(said.contains(&format!("From {gateway}")) && said.contains("xceeded"), "{said}");
            let script = format!("ping -n -c 1 -W 2 -t 5 {to}");
            a.host.run("sh", &["-c", &script])?;
        }
        Ok(())
    })
}

#[test]
fn a_packet_that_is_too_big_is_answered_with_the_mtu() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        wait_all_reach(&overlay)?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        let interface = a.status()?.interface;
        let mtu: usize = a.host.run("cat", &[format!("/sys/class/net/{interface}/mtu")])?.trim().parse()?;
        let try_size = |size: usize| {
            let script = format!("ping -n -M do -c 1 -W 2 -s {} {} 2>&1 || true", size - 28, b.v4()?);
            a.host.run("sh", &["-c", &script])
        };
        let (fits, too_big) = (try_size(mtu)?, try_size(mtu + 1)?);
        assert!(fits.contains(" 0% packet loss"), "{fits}");
        assert!(too_big.contains("too long") || too_big.contains("Frag needed"), "{too_big}");
        // Larger ones are cut by the host and put together by the other.
        let cut = a.host.run("ping", &["-n", "-c", "1", "-W", "2", "-s", "4000", &b.v4()?.to_string()])?;
        assert!(cut.contains(" 0% packet loss"), "{cut}");
        Ok(())
    })
}

#[test]
fn it_works_over_an_ipv6_underlay() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { family: Family::V6, ..Spec::default() })?;
        wait_all_reach(&overlay)?;
        for agent in &overlay.agents {
            let managers = agent.status()?.managers;
            let used: Vec<IpAddr> = managers.iter().filter_map(|uplink| Some(uplink.underlay?.ip())).collect();
            assert!(used.len() == 2 && used.iter().all(IpAddr::is_ipv6), "{used:?}");
        }
        let active = overlay.index_of(overlay.agents[0].active()?)?;
        overlay.managers[active].program()?.kill()?;
        overlay.wait_carried(0, 1 - active)?;
        wait_all_reach(&overlay)
    })
}

#[test]
fn agents_behind_nat_boxes_reach_each_other() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { agents: &["a"], ..Spec::default() })?;
        // The same subnet behind both.
        let homes = [overlay.clouds[0].nat("home1", "10.0.0.0/24")?, overlay.clouds[1].nat("home2", "10.0.0.0/24")?];
        overlay.add_agent("b", &homes[0].host("b")?)?;
        overlay.add_agent("c", &homes[1].host("c")?)?;
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)?;
        // The box gets another address: the mapping is new, and the tunnel follows it.
        homes[0].nat_box().context("a NAT box")?.change_addresses()?;
        wait_all_reach(&overlay)
    })
}

#[test]
fn a_connection_lives_through_new_addresses_and_a_new_cloud() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        wait_all_reach(&overlay)?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        let traffic = Traffic::start(&a.host, &b.host, b.v4()?)?;
        a.host.change_addresses()?;
        wait_reaches(&a.host, b.v4()?)?;
        b.host.change_addresses()?;
        wait_reaches(&a.host, b.v4()?)?;
        overlay.clouds[1].take_in(&a.host)?;
        wait_reaches(&a.host, b.v4()?)?;
        let outcome = traffic.finish()?;
        assert!(outcome.stream.kept && outcome.stream.bytes_lost == 0, "{:?}", outcome.stream);
        Ok(())
    })
}

#[test]
fn managers_without_a_direct_link_use_the_third() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay =
            Overlay::start(lab, &Spec { priorities: &[100; 3], agents: &["a", "b", "c"], ..Spec::default() })?;
        wait_all_reach(&overlay)?;
        // Each agent can only go to the manager of its own cloud, so that their traffic needs the links.
        let mut cuts = Vec::new();
        for (home, agent) in overlay.agents.iter().enumerate() {
            for (other, manager) in overlay.managers.iter().enumerate() {
                if home != other {
                    cuts.push(overlay.net.cut(&agent.host, &manager.host)?);
                }
            }
        }
        for home in 0..3 {
            overlay.wait_carried(home, home)?;
        }
        wait_all_reach(&overlay)?;
        let _cut = overlay.net.drop(&Path::between(&overlay.managers[0].host, &overlay.managers[2].host))?;
        wait_until_slowly(SOON, "a way around", || {
            let status = overlay.managers[0].status()?;
            let far = status.managers.iter().find(|row| row.id == overlay.managers[2].id);
            Ok(far.is_some_and(|far| !far.direct && far.next_hop == Some(overlay.managers[1].id)))
        })?;
        wait_all_reach(&overlay)?;
        let report = ping(&agent(&overlay, "a")?.host, agent(&overlay, "c")?.v4()?, 40)?;
        assert_eq!((report.lost, report.duplicated), (0, 0), "{report:?}");
        Ok(())
    })
}

#[test]
fn what_is_not_in_the_network_is_out_of_reach() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        wait_all_reach(&overlay)?;
        let a = agent(&overlay, "a")?;
        // An address that nobody has: an error, not silence.
        let said = a.host.run("sh", &["-c", "ping -n -c 1 -W 2 172.31.99.99 || true"])?;
        assert!(said.contains(&format!("From {}", GATEWAYS[0])) && said.contains("nreachable"), "{said}");
        // The underlay is still there, and beside the overlay.
        assert!(reaches(&a.host, overlay.agents[1].host.ip())?);
        let report = ping(&a.host, overlay.agents[1].v4()?, 10)?;
        assert!(report.lost == 0 && report.rtt_min_ms < (200 * MS).as_secs_f64() * 1000.0);
        Ok(())
    })
}
