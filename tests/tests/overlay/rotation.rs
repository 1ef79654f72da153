//! Keys change while traffic goes on, and old ones are no longer good for anything.

use std::fs;
use std::time::Duration;

use festoon_tests::lab::Lab;
use festoon_tests::overlay::{Agent, Manager, Overlay, Spec, Traffic, WireGuard, let_pass, wait_until_slowly};

use crate::{SOON, agent, ping, refusal, wait_all_reach, wait_reaches};

/// The overlap of these tests. The one of a registry that has half a second for it is nobody's.
const OVERLAP: &str = "--overlap=6s";
/// When it is over, and everybody has heard.
const OVER: Duration = Duration::from_secs(9);

/// What a manager may have dropped because nobody it knows has that key, or it has another one itself.
fn strangers(manager: &Manager) -> anyhow::Result<u64> {
    let status = manager.status()?;
    Ok(status.dropped("unknown_key") + status.dropped("invalid_mac") + status.dropped("unknown_session"))
}

#[test]
fn an_endpoint_changes_its_key_under_traffic() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        let thief = lab.dir().join("thief");
        a.host.run("cp", &["-r", &a.state_dir().to_string_lossy(), &thief.to_string_lossy()])?;
        let key = a.status()?.public_key;
        let there = Traffic::start(&a.host, &b.host, b.v4()?)?;
        let back = Traffic::start(&b.host, &a.host, a.v6()?)?;
        let said = a.run(&["rotate-key", OVERLAP])?;
        let new_key = a.status()?.public_key;
        assert!(said.contains(&new_key) && new_key != key, "{said}");
        let_pass(OVER);
        for outcome in [there.finish()?, back.finish()?] {
            assert!(outcome.ping.lost == 0 && outcome.ping.sent > 1000, "{:?}", outcome.ping);
            assert!(outcome.stream.kept && outcome.stream.bytes_lost == 0, "{:?}", outcome.stream);
        }
        overlay.wait_until_ready()?;
        // Whoever copied the old key gets nowhere with it.
        let before: Vec<u64> = overlay.managers.iter().map(strangers).collect::<Result<_, _>>()?;
        let (active, generation) = (a.active()?, a.status()?.generation);
        let thief = Agent::resume(&overlay.clouds[0].host("thief")?, "thief", thief)?;
        for (manager, before) in overlay.managers.iter().zip(before) {
            wait_until_slowly(SOON, "a refused handshake", || Ok(strangers(manager)? > before))?;
        }
        assert_eq!((thief.status()?.active, thief.status()?.public_key), (None, key));
        assert_eq!((a.active()?, a.status()?.generation), (active, generation));
        Ok(())
    })
}

/// The events of copied keys of an endpoint, as the manager has them.
fn copies(manager: &Manager, endpoint: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    let list = ["events", "list", "--kind", "endpoint.copied", "--endpoint", endpoint, "-o", "json"];
    Ok(serde_json::from_str(&manager.run(&list)?)?)
}

#[test]
fn a_stolen_identity_is_worth_nothing_after_an_urgent_rotation_and_an_admin_hears_of_it() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        let stolen = lab.dir().join("thief");
        a.host.run("cp", &["-r", &a.state_dir().to_string_lossy(), &stolen.to_string_lossy()])?;
        a.run(&["rotate-key", "--overlap=0s"])?;
        overlay.wait_until_ready()?;
        let (key, generation) = (a.status()?.public_key, a.status()?.generation);
        let thief = Agent::resume(&overlay.clouds[0].host("thief")?, "thief", stolen)?;
        for manager in &overlay.managers {
            assert!(thief.map_reader(manager)?.read().is_err(), "the old credential is refused");
            a.map_reader(manager)?.read()?;
        }
        let heard = || Ok(!copies(&overlay.managers[0], "a")?.is_empty());
        wait_until_slowly(SOON, "an event that says that there is a copy", heard)?;
        // It tries to take the identity with a rotation of its own, which does not start a fight.
        let said = refusal(thief.run(&["rotate-key", "--overlap=0s"]))?;
        assert!(said.contains("key and credential of this endpoint were replaced"), "{said}");
        let_pass(OVER);
        assert_eq!(thief.status()?.active, None);
        assert_eq!((a.status()?.public_key, a.status()?.generation), (key, generation), "nobody took anything");
        assert_eq!(ping(&a.host, b.v4()?, 20)?.lost, 0);
        let told = copies(&overlay.managers[0], "a")?;
        assert!((1..=overlay.managers.len()).contains(&told.len()), "one event for each manager at most: {told:?}");
        Ok(())
    })
}

#[test]
fn managers_change_their_keys_under_traffic() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { priorities: &[100, 100, 100], ..Spec::default() })?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        let generations = (a.status()?.generation, b.status()?.generation);
        let client = WireGuard::start(&overlay.clouds[2].host("laptop")?, overlay.new_client("laptop", 0)?)?;
        wait_reaches(&client.host, a.v4()?)?;
        let there = Traffic::start(&a.host, &b.host, b.v4()?)?;
        let back = Traffic::start(&b.host, &a.host, a.v6()?)?;
        let from_client = Traffic::start(&client.host, &b.host, b.v4()?)?;
        for manager in &overlay.managers {
            let said = manager.run(&["managers", "rotate-key", OVERLAP])?;
            assert!(said.contains("good for 6s more") && said.contains("Stock clients"), "{said}");
        }
        // A stock client knows nothing of it, and is served as long as the key in its configuration is good.
        let_pass(Duration::from_secs(3));
        let outcome = from_client.finish()?;
        assert!(outcome.ping.lost == 0 && outcome.stream.kept, "{outcome:?}");
        let_pass(OVER);
        for outcome in [there.finish()?, back.finish()?] {
            assert!(outcome.ping.lost == 0 && outcome.ping.sent > 1000, "{:?}", outcome.ping);
            assert!(outcome.stream.kept && outcome.stream.bytes_lost == 0, "{:?}", outcome.stream);
        }
        overlay.wait_until_ready()?;
        assert_eq!((a.status()?.generation, b.status()?.generation), generations, "nobody moved");
        let before = strangers(&overlay.managers[0])?;
        assert_eq!(ping(&client.host, a.v4()?, 20)?.received, 0, "the old key is refused");
        wait_until_slowly(SOON, "a refused handshake", || Ok(strangers(&overlay.managers[0])? > before))
    })
}

#[test]
fn new_keys_survive_restarts_within_the_overlap_and_after_it() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec::default())?;
        let key = |overlay: &Overlay<'_>| anyhow::Ok(overlay.agents[0].status()?.public_key);
        overlay.managers[0].run(&["managers", "rotate-key"])?;
        overlay.agents[0].run(&["rotate-key"])?;
        let new_key = key(&overlay)?;
        overlay.managers[0].program()?.kill()?;
        overlay.agents[0].program()?.kill()?;
        overlay.managers[0].start()?;
        overlay.agents[0].up()?;
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)?;
        assert_eq!(key(&overlay)?, new_key);
        // Once more, and without any overlap: whoever holds a key that was stolen is cut off at once.
        overlay.managers[0].run(&["managers", "rotate-key", "--overlap=0s", "--yes"])?;
        overlay.agents[0].run(&["rotate-key", "--overlap=0s"])?;
        overlay.managers[0].program()?.kill()?;
        overlay.managers[0].start()?;
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)?;
        assert_ne!(key(&overlay)?, new_key);
        Ok(())
    })
}

#[test]
fn a_change_of_a_key_that_was_interrupted_is_completed() -> anyhow::Result<()> {
    const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec::default())?;
        let key = overlay.agents[0].status()?.public_key;
        for manager in &mut overlay.managers {
            manager.program()?.kill()?;
        }
        let said = refusal(overlay.agents[0].run(&["rotate-key"]))?;
        assert!(said.contains("no manager answers") && said.contains("the new key is kept"), "{said}");
        assert_eq!(overlay.agents[0].status()?.public_key, key);
        overlay.agents[0].program()?.kill()?;
        // As a power cut leaves it between the disk and the registry.
        let dir = overlay.managers[0].data_dir().to_owned();
        let (next, current) = (dir.join("wireguard-next.key"), dir.join("wireguard.key"));
        fs::write(&next, format!("{KEY} 3600\n"))?;
        for manager in &mut overlay.managers {
            manager.start()?;
        }
        overlay.agents[0].up()?;
        wait_until_slowly(2 * SOON, "the new key of the agent", || Ok(overlay.agents[0].status()?.public_key != key))?;
        wait_until_slowly(2 * SOON, "the new key of the manager", || Ok(!next.exists()))?;
        assert_eq!(fs::read_to_string(current)?.trim(), KEY);
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)
    })
}

#[test]
fn a_removed_endpoint_is_cut_off_everywhere_with_both_of_its_keys() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        a.run(&["rotate-key"])?;
        assert_eq!(ping(&a.host, b.v4()?, 20)?.lost, 0);
        overlay.managers[1].run(&["endpoints", "remove", "a", "--yes"])?;
        wait_until_slowly(SOON, "silence", || Ok(ping(&a.host, b.v4()?, 5)?.received == 0))?;
        wait_until_slowly(SOON, "no manager for it", || Ok(a.status()?.active.is_none()))?;
        let sessions = a.status()?.managers;
        assert!(sessions.iter().all(|manager| manager.state == "down"), "{sessions:?}");
        Ok(())
    })
}
