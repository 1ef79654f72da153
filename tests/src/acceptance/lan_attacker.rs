//! A hostile neighbour on the network of an agent's host: what gets past the tunnel, in and out, while everything happens that
//! leaves hosts unprotected elsewhere.

use std::net::IpAddr;
use std::thread::park_timeout;
use std::time::Duration;

use super::report::{Limit, Report};
use crate::lab::{Lab, Program};
use crate::overlay::{Lan, Leaks, OFFICE, Overlay, PREFIXES, Spec, wait_until_slowly};

const SOON: Duration = Duration::from_secs(15);
/// How long traffic goes on after each event.
const WHILE: Duration = Duration::from_millis(700);
const ROUNDS: u32 = 5;
/// Rules that are removed, each time in the middle of traffic.
const RACES: u32 = 10;

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = Overlay::start(lab, &Spec { agents: &["b"], ..Spec::default() })?;
    let (host, neighbour) = (overlay.clouds[0].host("a")?, overlay.clouds[0].host("neighbour")?);
    let lan = Lan::new(&host, &neighbour, &OFFICE, &PREFIXES)?;
    overlay.add_agent("a", &host)?;
    overlay.wait_until_ready()?;
    let others = [overlay.agents[0].v4()?, overlay.agents[0].v6()?];
    let own = [overlay.agents[1].v4()?, overlay.agents[1].v6()?];
    let talking = control(&mut overlay, &lan, &others, &own, report)?;
    drop(talking);

    overlay.agents[1].up()?;
    let before = lan.leaks()?;
    let sent = attack(&mut overlay, &lan, &others, &own)?;
    let after = lan.leaks()?;
    report.count("lan_attacker_spoofed", sent, "packets", Limit::AtLeast(1_000.0));
    report.count("lan_attacker_in", after.arrived - before.arrived, "packets", Limit::Exactly(0.0));
    report.count("lan_attacker_out", after.left - before.left, "packets", Limit::Exactly(0.0));
    let mut worst = Duration::ZERO;
    for _ in 0..RACES {
        worst = worst.max(lan.flush_filter(&overlay.agents[1])?);
    }
    report.count("lan_attacker_out_flushed", lan.leaks()?.left - after.left, "packets", Limit::Exactly(0.0));
    report.add("lan_attacker_healed", worst.as_secs_f64() * 1000.0, "ms", Limit::AtMost(1_000.0));
    let named = overlay.agents[1].status()?.notes.iter().filter(|note| note.code == "foreign_route").count() as u64;
    report.count("lan_attacker_named", named, "routes", Limit::Exactly(2.0));
    Ok(())
}

/// The same attack on a host whose owner switched the protection off must work, or the figures say nothing.
fn control(
    overlay: &mut Overlay<'_>,
    lan: &Lan,
    others: &[IpAddr],
    own: &[IpAddr],
    report: &mut Report,
) -> anyhow::Result<Vec<Program>> {
    let agent = &mut overlay.agents[1];
    agent.down()?;
    agent.up_with(&["--leak-protection", "off"])?;
    lan.spoof(others, own, 1)?;
    let talking = lan.talk(others)?;
    lan.lure(others)?;
    agent.program()?.kill()?;
    let leaks = || lan.leaks();
    // That nothing leaks is a result.
    drop(wait_until_slowly(SOON, "leaks", || leaks().map(|leaks| leaks.arrived > 0 && leaks.left > 0)));
    let Leaks { arrived, left } = leaks()?;
    report.count("lan_attacker_control_in", arrived, "packets", Limit::AtLeast(1.0));
    report.count("lan_attacker_control_out", left, "packets", Limit::AtLeast(1.0));
    Ok(talking)
}

/// All that happens; how many packets the neighbour sent.
fn attack(overlay: &mut Overlay<'_>, lan: &Lan, others: &[IpAddr], own: &[IpAddr]) -> anyhow::Result<u64> {
    let underlay: Vec<IpAddr> = vec!["192.168.50.2".parse()?, "fd50::2".parse()?];
    let all: Vec<IpAddr> = [own, others, &underlay].concat();
    let strangers: Vec<IpAddr> = vec!["192.168.50.66".parse()?, "fd50::66".parse()?];
    let agent = &mut overlay.agents[1];
    wait_until_slowly(SOON, "a manager carries a", || Ok(agent.active().is_ok()))?;
    let talking = lan.talk(others)?;
    let spoof =
        || -> anyhow::Result<u64> { Ok(lan.spoof(others, &all, ROUNDS)? + lan.spoof(&strangers, own, ROUNDS)?) };
    let pause = || park_timeout(WHILE);
    let mut sent = spoof()?;
    lan.lure(others)?;
    sent += spoof()?;
    pause();
    for _ in 0..RACES {
        lan.remove_rules(agent)?;
    }
    for state in ["down", "up"] {
        agent.host.run("ip", &["link", "set", "festoon0", state])?;
        pause();
    }
    // As a service manager restarts it.
    agent.program()?.terminate()?;
    agent.program()?.wait(SOON)?;
    sent += spoof()?;
    pause();
    agent.up()?;
    pause();
    agent.program()?.kill()?;
    sent += spoof()?;
    pause();
    agent.up()?;
    let running = wait_until_slowly(SOON, "the agent is carried again", || Ok(agent.active().is_ok()));
    sent += spoof()?;
    pause();
    drop(talking);
    running.map(|()| sent)
}
