//! Agents and managers from their first day to their last, and what they leave behind.

use std::time::Duration;

use festoon_tests::lab::{Host, Lab, tool};
use festoon_tests::overlay::{Introduction, Manager, Overlay, Spec, in_file, let_pass, wait_until_slowly};

use crate::{SOON, agent, reaches, refusal, wait_all_reach, wait_reaches};

/// All that an agent could have changed on a host.
fn host_state(host: &Host) -> anyhow::Result<String> {
    let script = "ip -o link show | cut -d' ' -f2; ip -o addr show | tr -s ' ' | cut -d' ' -f2-4; ip route show table all; \
                  ip -6 route show table all; ip rule show; ip -6 rule show; nft list tables";
    let text = host.run("sh", &["-c", script])?;
    // The router advertises nothing here, but the kernel still counts down lifetimes.
    Ok(text.lines().filter(|line| !line.contains("expires")).collect::<Vec<_>>().join("\n"))
}

#[test]
fn down_and_leave_restore_the_host() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { agents: &["a"], ..Spec::default() })?;
        let host = overlay.clouds[1].host("b")?;
        let before = host_state(&host)?;
        overlay.add_agent("b", &host)?;
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)?;
        let with_it = host_state(&host)?;
        assert!(with_it.contains("festoon0") && with_it.contains("172.31.0.0/16"), "{with_it}");
        overlay.agents[1].down()?;
        assert_eq!(host_state(&host)?, before);
        overlay.agents[1].up()?;
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)?;
        let said = overlay.agents[1].run(&["leave"])?;
        assert!(said.contains("has left"), "{said}");
        overlay.agents[1].program()?.wait(SOON)?;
        assert_eq!(host_state(&host)?, before);
        wait_until_slowly(SOON, "the endpoint's end in the registry", || {
            Ok(overlay.managers.iter().all(|it| it.status().is_ok_and(|it| it.endpoints.len() == 1)))
        })?;
        let said = refusal(overlay.agents[1].run(&["status"]))?;
        assert!(said.contains("has not joined"), "{said}");
        Ok(())
    })
}

#[test]
fn a_killed_agent_leaves_no_way_into_the_overlay_and_starts_again() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec::default())?;
        let generation = overlay.agents[0].status()?.generation;
        overlay.agents[0].program()?.kill()?;
        let left = host_state(&overlay.agents[0].host)?;
        assert!(!left.contains("dev festoon0"), "{left}");
        let mut overlay_routes = left.lines().filter(|line| line.contains("172.31."));
        assert!(overlay_routes.all(|line| line.starts_with("unreachable ")), "nothing leaves in the clear: {left}");
        overlay.agents[0].up()?;
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)?;
        assert!(overlay.agents[0].status()?.generation > generation, "generations only grow");
        Ok(())
    })
}

#[test]
fn an_agent_starts_cold_from_its_last_map() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec::default())?;
        for manager in &mut overlay.managers {
            manager.program()?.kill()?;
        }
        overlay.agents[0].down()?;
        overlay.agents[0].up()?;
        let status = overlay.agents[0].status()?;
        assert_eq!(status.active, None);
        assert_eq!(status.addresses, [overlay.agents[0].v4()?, overlay.agents[0].v6()?]);
        let state = host_state(&overlay.agents[0].host)?;
        assert!(state.contains("172.31.0.0/16"), "its routes are there: {state}");
        // The second manager alone is enough: it starts from its copy of the registry.
        overlay.managers[1].start()?;
        overlay.wait_carried(0, 1)?;
        overlay.wait_carried(1, 1)?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        wait_reaches(&a.host, b.v4()?)
    })
}

#[test]
fn a_second_agent_and_a_second_manager_on_the_same_state_are_refused() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { agents: &["a"], ..Spec::default() })?;
        let said = refusal(overlay.agents[0].run(&["up"]))?;
        assert!(said.contains("another festoon uses"), "{said}");
        let said = refusal(overlay.agents[0].run(&["join", &in_file(lab.dir(), &overlay.managers[0].token()?)?]))?;
        assert!(said.contains("joined"), "{said}");
        let said = refusal(overlay.managers[0].run(&["serve"]))?;
        assert!(said.contains("running") || said.contains("in use"), "{said}");
        assert!(overlay.agents[0].active().is_ok() && overlay.managers[0].status().is_ok());
        Ok(())
    })
}

#[test]
fn a_token_lets_in_one_and_only_in_time() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { agents: &["a"], ..Spec::default() })?;
        let host = overlay.clouds[0].host("b")?;
        let festoon = tool("festoon")?.to_string_lossy().into_owned();
        let join = |dir: &str, token: &str| {
            let token = in_file(lab.dir(), token)?;
            host.run(&festoon, &["--state-dir", &lab.dir().join(dir).to_string_lossy(), "join", &token])
        };
        let token = overlay.managers[0].token()?;
        join("first", &token)?;
        assert!(refusal(join("second", &token))?.contains("used already"));
        let short = overlay.managers[0].run(&["tokens", "add", "--expires=1s"])?;
        let_pass(Duration::from_millis(1100));
        assert!(refusal(join("late", short.trim()))?.contains("expired"));
        let manager = overlay.managers[0].run(&["tokens", "add", "--manager"])?;
        assert!(refusal(join("third", manager.trim()))?.contains("manager"));
        Ok(())
    })
}

#[test]
fn a_manager_that_follows_takes_endpoints_in_and_refuses_what_it_cannot_do() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { agents: &["a"], ..Spec::default() })?;
        // Through the second manager alone.
        let host = overlay.clouds[1].host("b")?;
        let cut = overlay.net.cut(&host, &overlay.managers[0].host)?;
        overlay.add_agent("b", &host)?;
        overlay.wait_carried(1, 1)?;
        cut.heal()?;
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)?;
        // One of two changes nothing alone, and what is there goes on.
        overlay.managers[0].program()?.kill()?;
        let said = refusal(overlay.managers[1].run(&["tokens", "add"]))?;
        assert!(said.contains("2 of its 2 managers have to agree"), "{said}");
        overlay.wait_carried(0, 1)?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        wait_reaches(&a.host, b.v4()?)?;
        assert!(reaches(&b.host, a.v6()?)?);
        Ok(())
    })
}

#[test]
fn a_manager_is_not_let_in_twice() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { agents: &[], ..Spec::default() })?;
        let token = overlay.managers[0].run(&["tokens", "add", "--manager"])?;
        let me = |name: &str, host: &Host| Introduction { name: name.to_owned(), underlay: host.ip(), priority: 100 };
        let hosts = [overlay.clouds[0].host("m3")?, overlay.clouds[0].host("m4")?];
        let third = Manager::join(&hosts[0], lab.dir().join("m3"), &me("m3", &hosts[0]), token.trim())?;
        let fourth = Manager::join(&hosts[1], lab.dir().join("m4"), &me("m4", &hosts[1]), token.trim());
        let said = refusal(fourth.map(|_| String::new()))?;
        assert!(said.contains("used already"), "{said}");
        assert_eq!(third.status()?.managers.len(), 3);
        Ok(())
    })
}
