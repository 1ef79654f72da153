//! Stock WireGuard programs.

use festoon_tests::lab::Lab;
use festoon_tests::overlay::{Overlay, Spec, Traffic, WireGuard, wait_until_slowly};

use crate::{SOON, agent, ping, wait_reaches};

#[test]
fn a_stock_client_reaches_agents_of_another_manager_and_they_it() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], ..Spec::default() })?;
        let client = WireGuard::start(&overlay.clouds[1].host("laptop")?, overlay.new_client("laptop", 1)?)?;
        for agent in &overlay.agents {
            assert_eq!(overlay.index_of(agent.active()?)?, 0);
            wait_reaches(&client.host, agent.v4()?)?;
            wait_reaches(&client.host, agent.v6()?)?;
            wait_reaches(&agent.host, client.v4()?)?;
            wait_reaches(&agent.host, client.v6()?)?;
        }
        assert!(client.has_session()?);
        assert_eq!(overlay.managers[0].status()?.carrier("laptop"), Some(overlay.managers[1].id));
        let a = agent(&overlay, "a")?;
        let outcome = Traffic::start(&client.host, &a.host, a.v4()?)?.finish()?;
        assert!(outcome.stream.kept && outcome.stream.bytes_lost == 0 && outcome.ping.lost == 0, "{outcome:?}");
        Ok(())
    })
}

#[test]
fn two_stock_clients_reach_each_other_and_the_gateway() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { agents: &[], ..Spec::default() })?;
        let one = WireGuard::start(&overlay.clouds[0].host("one")?, overlay.new_client("one", 0)?)?;
        let two = WireGuard::start(&overlay.clouds[1].host("two")?, overlay.new_client("two", 1)?)?;
        for (from, to) in [(&one, &two), (&two, &one)] {
            wait_reaches(&from.host, to.v4()?)?;
            wait_reaches(&from.host, to.v6()?)?;
            wait_reaches(&from.host, "172.31.0.1".parse()?)?;
        }
        assert_eq!(ping(&one.host, two.v4()?, 20)?.lost, 0);
        Ok(())
    })
}

#[test]
fn a_removed_client_is_locked_out() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { agents: &["a"], ..Spec::default() })?;
        let client = WireGuard::start(&overlay.clouds[1].host("laptop")?, overlay.new_client("laptop", 1)?)?;
        let target = agent(&overlay, "a")?.v4()?;
        wait_reaches(&client.host, target)?;
        overlay.managers[0].run(&["endpoints", "remove", "laptop", "--yes"])?;
        wait_until_slowly(SOON, "silence", || Ok(ping(&client.host, target, 5)?.received == 0))?;
        assert_eq!(ping(&client.host, target, 20)?.received, 0);
        Ok(())
    })
}
