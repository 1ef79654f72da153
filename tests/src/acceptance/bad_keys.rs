//! Stock clients with keys that open nothing: one that nobody added, one that was removed, and one that takes another key
//! for the manager's.

use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use super::series::two_equal_managers;
use crate::lab::Lab;
use crate::overlay::{Conf, Traffic, WireGuard, wait_until_slowly};

const SOON: Duration = Duration::from_secs(15);

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let overlay = two_equal_managers(lab)?;
    let host = overlay.clouds.last().context("no cloud")?.host("stranger")?;
    let manager = overlay.active()?;
    let (a, b) = (&overlay.agents[0], &overlay.agents[1]);
    let traffic = Traffic::start(&a.host, &b.host, b.v4()?)?;
    let key = host.run("wg", &["genkey"])?;
    let (key, other) = (key.trim(), host.run_with_input("wg", &["pubkey"], &key)?);
    let removed = overlay.new_client("removed", manager)?;
    overlay.first_manager()?.run(&["endpoints", "remove", "removed", "--yes"])?;
    let tries: [(&str, Conf, &str); 3] = [
        ("bad_keys_unknown", overlay.new_client("unknown", manager)?.with("PrivateKey", key), "unknown_key"),
        ("bad_keys_removed", removed, "unknown_key"),
        (
            "bad_keys_wrong_manager",
            overlay.new_client("wrong", manager)?.with("PublicKey", other.trim()),
            "invalid_mac",
        ),
    ];
    let mut sessions = 0;
    for (name, conf, reason) in tries {
        let dropped = || Ok::<_, anyhow::Error>(overlay.managers[manager].status()?.dropped(reason));
        let before = dropped()?;
        let client = WireGuard::start(&host, conf)?;
        wait_until_slowly(SOON, &format!("a drop for {reason}"), || Ok(dropped()? > before))?;
        sessions += u64::from(client.has_session()?);
        report.count(name, dropped()? - before, reason, Limit::AtLeast(1.0));
    }
    let outcome = traffic.finish()?;
    report.count("bad_keys_sessions", sessions, "sessions", Limit::Exactly(0.0));
    report.count("bad_keys_pings_lost", outcome.ping.lost, "pings", Limit::Exactly(0.0));
    Ok(())
}
