//! What an admin allows and cuts off, as hosts feel it.

use festoon_tests::lab::Lab;
use festoon_tests::overlay::{Note, Overlay, Spec, wait_until_slowly};

use crate::{SOON, reaches, wait_reaches};

#[test]
fn a_route_that_an_agent_offers_is_used_once_it_is_approved_and_no_longer_when_it_is_not() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec::default())?;
        let behind = "192.168.77.1".parse()?;
        overlay.agents[1].host.run("ip", &["address", "add", "192.168.77.1/24", "dev", "lo"])?;
        overlay.agents[1].down()?;
        overlay.agents[1].up_with(&["--route", "192.168.77.0/24"])?;
        wait_until_slowly(SOON, "the route is offered", || {
            Ok(overlay.managers[0].run(&["routes", "list"])?.contains("192.168.77.0/24"))
        })?;
        let from = overlay.agents[0].host.clone();
        assert!(!reaches(&from, behind)?, "nobody has approved it");
        overlay.managers[0].run(&["routes", "approve", "b", "192.168.77.0/24"])?;
        wait_reaches(&from, behind)?;
        let unsure = overlay.managers[1].run(&["routes", "unapprove", "b", "192.168.77.0/24"]);
        assert!(unsure.is_err(), "nobody says that it is meant");
        assert!(reaches(&from, behind)?);
        overlay.managers[1].run(&["routes", "unapprove", "b", "192.168.77.0/24", "--yes"])?;
        wait_until_slowly(SOON, "it is used no longer", || Ok(!reaches(&from, behind)?))
    })
}

#[test]
fn a_public_route_is_used_only_by_hosts_that_agree() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec::default())?;
        let behind = "203.0.113.1".parse()?;
        overlay.agents[1].host.run("ip", &["address", "add", "203.0.113.1/24", "dev", "lo"])?;
        overlay.agents[1].down()?;
        overlay.agents[1].up_with(&["--route", "203.0.113.0/24"])?;
        wait_until_slowly(SOON, "the route is offered", || {
            Ok(overlay.managers[0].run(&["routes", "list"])?.contains("203.0.113.0/24"))
        })?;
        overlay.managers[0].run(&["routes", "approve", "b", "203.0.113.0/24"])?;
        let agent = &mut overlay.agents[0];
        wait_until_slowly(SOON, "the route is refused by name", || {
            let is_it = |note: &Note| note.code == "refused_route" && note.prefix == "203.0.113.0/24";
            Ok(agent.status()?.notes.iter().any(is_it))
        })?;
        assert!(agent.run(&["status"])?.contains("--accept-routes private,203.0.113.0/24"));
        assert!(!reaches(&agent.host, behind)?);
        agent.down()?;
        agent.up_with(&["--accept-routes", "private,203.0.113.0/24"])?;
        wait_reaches(&agent.host, behind)?;
        // What the host agreed to is kept.
        agent.down()?;
        agent.up()?;
        wait_reaches(&agent.host, behind)
    })
}

#[test]
fn an_agent_that_is_cut_off_comes_back_by_itself() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        let (a, b) = (&overlay.agents[0], overlay.agents[1].v4()?);
        wait_reaches(&a.host, b)?;
        let before = a.status()?.generation;
        // Through the manager that does not carry it, if there is one.
        let carrier = overlay.index_of(a.active()?)?;
        overlay.managers[1 - carrier].run(&["endpoints", "disconnect", "a", "--yes"])?;
        wait_until_slowly(SOON, "it attaches again", || Ok(a.status()?.generation > before))?;
        wait_reaches(&a.host, b)
    })
}
