//! Strangers and endpoints that mean no good; in full in `make acceptance`.

use std::net::IpAddr;

use festoon_tests::lab::{Arrivals, Lab, tool};
use festoon_tests::overlay::{Lan, Numbers, OFFICE, Overlay, PREFIXES, Spec, WireGuard, wait_until_slowly};
use festoon_tests::tools::forge::forge_all;

use crate::{SOON, agent, ping, reaches, wait_reaches};

#[test]
fn a_spoofed_source_is_dropped_and_counted() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        let conf = overlay.new_client("hostile", 0)?.with("AllowedIPs", "0.0.0.0/0, ::/0");
        let hostile = WireGuard::start(&overlay.clouds[0].host("hostile")?, conf)?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        wait_reaches(&hostile.host, a.v4()?)?;
        let arrivals = Arrivals::count(&a.host, &a.status()?.interface, &[b.v4()?, b.v6()?])?;
        let before = overlay.managers[0].status()?.dropped("foreign_source");
        let packets = [forge_all(b.v4()?, a.v4()?), forge_all(b.v6()?, a.v6()?)].concat();
        let hex: Vec<String> =
            packets.iter().map(|packet| packet.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
        let (device, packets) = (format!("--device={}", hostile.interface()), format!("--packets={}", hex.join(",")));
        hostile.host.run(&tool("festoon-labtool")?.to_string_lossy(), &["raw-send", &device, &packets])?;
        wait_until_slowly(SOON, "the drops", || {
            Ok(overlay.managers[0].status()?.dropped("foreign_source") >= before + 10)
        })?;
        // What was sent after them has arrived, so they would have too.
        assert!(ping(&hostile.host, a.v4()?, 5)?.received > 0);
        assert_eq!(arrivals.packets()?, 0);
        Ok(())
    })
}

#[test]
fn junk_is_counted_and_disturbs_nobody() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        let stranger = overlay.clouds[0].host("stranger")?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        wait_reaches(&a.host, b.v4()?)?;
        let manager = &overlay.managers[0];
        let to = format!("--to={}:51820", manager.host.ip());
        let args = ["udp-junk", &to, "--sizes=0,1,148,1472,65507", "--count=50", "--interval-us=2000"];
        stranger.run(&tool("festoon-labtool")?.to_string_lossy(), &args)?;
        wait_until_slowly(SOON, "the drops", || Ok(manager.status()?.dropped("malformed_datagram") >= 50))?;
        assert_eq!(ping(&a.host, b.v4()?, 20)?.lost, 0);
        Ok(())
    })
}

#[test]
fn a_neighbour_gets_nothing_past_the_tunnel_in_or_out() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { agents: &["b"], ..Spec::default() })?;
        let (host, neighbour) = (overlay.clouds[0].host("a")?, overlay.clouds[0].host("neighbour")?);
        let lan = Lan::new(&host, &neighbour, &OFFICE, &PREFIXES)?;
        overlay.add_agent("a", &host)?;
        overlay.wait_until_ready()?;
        let others = [overlay.agents[0].v4()?, overlay.agents[0].v6()?];
        let agent = &mut overlay.agents[1];
        let own = [agent.v4()?, agent.v6()?];
        let talking = lan.talk(&others)?;
        assert!(lan.spoof(&others, &own, 2)? > 20);
        lan.lure(&others)?;
        wait_reaches(&host, others[0])?;
        wait_reaches(&host, others[1])?;
        wait_until_slowly(SOON, "both routes are named", || {
            Ok(agent.status()?.notes.iter().filter(|note| note.code == "foreign_route").count() == 2)
        })?;
        lan.remove_rules(agent)?;
        agent.program()?.kill()?;
        lan.spoof(&others, &own, 2)?;
        assert!(!reaches(&host, others[0])? && !reaches(&host, others[1])?, "the tunnel is down");
        agent.up()?;
        wait_reaches(&host, others[0])?;
        drop(talking);
        let leaks = lan.leaks()?;
        assert_eq!((leaks.arrived, leaks.left), (0, 0));
        lan.flush_filter(agent)?;
        lan.spoof(&others, &own, 2)?;
        assert_eq!(lan.leaks()?.arrived, 0);

        // Only their owner may have it otherwise.
        agent.run(&["down"])?;
        assert!(reaches(&neighbour, "192.168.50.2".parse()?)?, "the host has its own network");
        agent.up_with(&["--local", &format!("{0},{1}", others[0], others[1])])?;
        wait_until_slowly(SOON, "the allowed routes are used", || {
            Ok(!reaches(&host, others[0])? && lan.leaks()?.left > 0)
        })?;
        assert!(agent.status()?.notes.iter().all(|note| note.code != "foreign_route"));
        Ok(())
    })
}

#[test]
fn a_host_in_a_vpc_keeps_its_network_and_reaches_the_overlay() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let vpc = Numbers { host: ["172.31.16.5/20", "fd50::2/64"], neighbour: ["172.31.16.66/20", "fd50::66/64"] };
        let mut overlay = Overlay::start(lab, &Spec { agents: &["b", "c"], ..Spec::default() })?;
        let (host, neighbour) = (overlay.clouds[0].host("a")?, overlay.clouds[0].host("neighbour")?);
        Lan::new(&host, &neighbour, &vpc, &[])?;
        // The resolver of the VPC, outside of the host's subnet.
        let resolver: IpAddr = "172.31.0.2".parse()?;
        neighbour.run("ip", &["address", "add", "172.31.0.2/32", "dev", "lan0"])?;
        host.run("ip", &["route", "add", "172.31.0.2/32", "via", "172.31.16.66"])?;
        overlay.add_agent("a", &host)?;
        let agent = &mut overlay.agents[2];
        agent.down()?;
        let file = agent.state_dir().join("host.json");
        let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        assert!(record["home"]["subnets"].to_string().contains("172.31.16.0/20"), "{record}");
        record["home"]["resolvers"] = serde_json::json!([resolver]);
        std::fs::write(&file, serde_json::to_vec(&record)?)?;
        agent.up()?;

        let agent = &overlay.agents[2];
        let c = overlay.agents[1].v4()?;
        wait_reaches(&host, c)?;
        wait_reaches(&overlay.agents[1].host, agent.v4()?)?;
        for own in ["172.31.16.66", "172.31.0.2"] {
            assert_eq!(ping(&host, own.parse()?, 20)?.lost, 0, "{own} is the host's own");
        }
        assert!(ping(&neighbour, "172.31.16.5".parse()?, 5)?.received > 0);
        // Another subnet of the VPC is where it was.
        let way = host.run("ip", &["route", "get", "172.31.40.9"])?;
        assert!(way.contains("dev eth0"), "{way}");
        let notes = agent.status()?.notes;
        for prefix in ["172.31.16.0/20", "172.31.0.2/32"] {
            assert!(notes.iter().any(|note| note.code == "shadowed" && note.prefix == prefix), "{prefix}: {notes:?}");
        }
        assert_eq!(agent.status()?.problems, Vec::<String>::new());
        Ok(())
    })
}
