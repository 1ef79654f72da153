//! Networks of one cluster do not see each other, even where they use the same addresses.

use festoon_tests::lab::Lab;
use festoon_tests::overlay::{Agent, Overlay, PREFIXES, Spec};

use crate::{agent, ping, refusal, wait_reaches};

#[test]
fn two_networks_with_the_same_addresses_do_not_meet() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        let prefixes = PREFIXES.map(|prefix| format!("--prefix={prefix}"));
        overlay.managers[0].run(&["networks", "add", "other", &prefixes[0], &prefixes[1]])?;
        let mut others = Vec::new();
        for (name, cloud) in ["x", "y", "z"].into_iter().zip(overlay.clouds.iter().cycle()) {
            let token = overlay.managers[0].run(&["tokens", "add", "--network=other"])?;
            others.push(Agent::join(&cloud.host(name)?, name, lab.dir().join(name), token.trim())?);
        }
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        let (x, y, z) = (&others[0], &others[1], &others[2]);
        // Each network numbers its endpoints from the start: the same address is somebody else in the other.
        assert_eq!((a.v4()?, b.v6()?), (x.v4()?, y.v6()?));
        for (from, to) in [(a, b), (b, a), (x, y), (y, x), (x, z)] {
            wait_reaches(&from.host, to.v4()?)?;
            wait_reaches(&from.host, to.v6()?)?;
        }
        // The third of the other network has an address that nobody has in the first.
        assert_eq!(ping(&a.host, z.v4()?, 20)?.received, 0);
        // Whoever answers is of one's own network: with the other one gone, nobody does.
        overlay.agents[1].run(&["down"])?;
        assert_eq!(ping(&a.host, b.v4()?, 20)?.received, 0);
        wait_reaches(&x.host, y.v4()?)?;
        wait_reaches(&x.host, "172.31.0.1".parse()?)
    })
}

#[test]
fn a_network_that_cannot_be_is_refused_in_words() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { priorities: &[100], agents: &[], ..Spec::default() })?;
        let add = |name: &str, prefix: &str| overlay.managers[0].run(&["networks", "add", name, "--prefix", prefix]);
        assert!(refusal(add("default", "10.0.0.0/8"))?.contains("exists already"));
        assert!(refusal(add("other", "10.0.0.1/8"))?.contains("10.0.0.0/8"));
        assert!(refusal(add("other", "127.0.0.0/8"))?.contains("reserved"));
        Ok(())
    })
}
