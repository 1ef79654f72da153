//! Managers that die, hang, drain or come back.

use festoon_tests::lab::Lab;
use festoon_tests::overlay::{Overlay, Spec, Traffic};

use crate::{agent, ping, wait_all_reach, wait_reaches};

#[test]
fn a_connection_lives_through_the_death_of_its_manager() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], ..Spec::default() })?;
        let traffic = {
            let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
            Traffic::start(&a.host, &b.host, b.v6()?)?
        };
        overlay.managers[0].program()?.kill()?;
        overlay.wait_carried(0, 1)?;
        overlay.wait_carried(1, 1)?;
        wait_all_reach(&overlay)?;
        let outcome = traffic.finish()?;
        assert!(outcome.stream.kept && outcome.stream.bytes_lost == 0, "{:?}", outcome.stream);
        assert_eq!((outcome.ping.duplicated, outcome.ping.gap_closed), (0, true));
        // Back again, it is a spare at once, and its old attachments lose against the new.
        overlay.managers[0].start()?;
        overlay.wait_until_ready()?;
        assert_eq!(overlay.active()?, 1);
        Ok(())
    })
}

#[test]
fn draining_moves_agents_and_loses_nothing() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], ..Spec::default() })?;
        let traffic = {
            let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
            Traffic::start(&a.host, &b.host, b.v4()?)?
        };
        // SIGTERM: it drains by itself.
        overlay.managers[0].stop()?;
        assert_eq!(overlay.active()?, 1);
        let outcome = traffic.finish()?;
        assert_eq!((outcome.ping.lost, outcome.ping.duplicated), (0, 0), "{:?}", outcome.ping);
        assert!(outcome.stream.kept && outcome.stream.bytes_lost == 0, "{:?}", outcome.stream);
        Ok(())
    })
}

#[test]
fn an_agent_with_a_path_of_its_own_moves_alone() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], ..Spec::default() })?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        let _cut = overlay.net.cut(&a.host, &overlay.managers[0].host)?;
        overlay.wait_carried(0, 1)?;
        wait_reaches(&a.host, b.v4()?)?;
        assert_eq!(overlay.index_of(b.active()?)?, 0);
        let report = ping(&a.host, b.v4()?, 40)?;
        assert_eq!((report.lost, report.duplicated), (0, 0), "{report:?}");
        Ok(())
    })
}

#[test]
fn agents_find_managers_that_were_all_gone() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec::default())?;
        for manager in &mut overlay.managers {
            manager.program()?.kill()?;
        }
        festoon_tests::overlay::wait_until_slowly(crate::SOON, "agents without a manager", || {
            let lost = |agent: &festoon_tests::overlay::Agent| Ok(agent.status()?.active.is_none());
            overlay.agents.iter().map(lost).try_fold(true, |all, one: anyhow::Result<bool>| Ok(all && one?))
        })?;
        // In the other order than before.
        for manager in overlay.managers.iter_mut().rev() {
            manager.start()?;
        }
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)
    })
}

#[test]
fn a_manager_that_hung_loses_against_what_happened_since() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], ..Spec::default() })?;
        overlay.managers[0].program()?.pause()?;
        overlay.wait_carried(0, 1)?;
        overlay.wait_carried(1, 1)?;
        let traffic = {
            let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
            Traffic::start(&a.host, &b.host, b.v4()?)?
        };
        overlay.managers[0].program()?.resume()?;
        overlay.wait_until_ready()?;
        assert_eq!(overlay.active()?, 1);
        let outcome = traffic.finish()?;
        assert_eq!(outcome.ping.duplicated, 0);
        assert!(outcome.stream.kept && outcome.stream.bytes_lost == 0, "{:?}", outcome.stream);
        Ok(())
    })
}
