//! Tokens that let nobody in: expired, used, cut short, changed, of the wrong kind, of another cluster, and no token at all.

use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use super::series::two_equal_managers;
use crate::lab::{Host, Lab, tool};
use crate::overlay::{Introduction, Manager, PREFIXES, Traffic, let_pass};

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let overlay = two_equal_managers(lab)?;
    let cloud = overlay.clouds.last().context("no cloud")?;
    let host = cloud.host("stranger")?;
    let (a, b) = (&overlay.agents[0], &overlay.agents[1]);
    let traffic = Traffic::start(&a.host, &b.host, b.v4()?)?;
    let first = overlay.first_manager()?;
    let token = first.token()?;
    let used = first.token()?;
    join(&host, &lab.dir().join("welcome"), &used).map_err(|said| anyhow::anyhow!("a good token: {said}"))?;
    let expired = first.run(&["tokens", "add", "--expires=1s"])?.trim().to_owned();
    let_pass(Duration::from_millis(1100));
    let manager_token = first.run(&["tokens", "add", "--manager"])?.trim().to_owned();
    let other = another_cluster(&cloud.host("other")?, lab)?;
    let (kept, last) = token.split_at_checked(token.len() - 1).context("an empty token")?;
    let tries = [
        ("expired", expired),
        ("used", used),
        ("truncated", token[..token.len() / 2].to_owned()),
        ("one letter short", kept.to_owned()),
        ("changed", format!("{kept}{}", if last == "A" { "B" } else { "A" })),
        ("for a manager", manager_token),
        ("of a cluster that is gone", other),
        ("empty", String::new()),
        ("no token", "hello".to_owned()),
    ];
    let before = first.status()?.endpoints.len();
    let (mut accepted, mut unclear) = (0, 0);
    for (number, (what, token)) in tries.iter().enumerate() {
        match join(&host, &lab.dir().join(format!("try{number}")), token) {
            Ok(()) => accepted += 1,
            Err(said) => {
                report.note(&format!("{what}: {}", said.trim_end()));
                unclear += u64::from(!is_clear(&said));
            }
        }
    }
    let added = first.status()?.endpoints.len() - before;
    let outcome = traffic.finish()?;
    report.count("bad_tokens_tried", tries.len() as u64, "tokens", Limit::AtLeast(9.0));
    report.count("bad_tokens_accepted", accepted, "tokens", Limit::Exactly(0.0));
    report.count("bad_tokens_endpoints", added as u64, "endpoints", Limit::Exactly(0.0));
    report.count("bad_tokens_unclear", unclear, "errors", Limit::Exactly(0.0));
    report.count("bad_tokens_pings_lost", outcome.ping.lost, "pings", Limit::Exactly(0.0));
    Ok(())
}

/// Joins, or gives what the program says to standard error.
fn join(host: &Host, state_dir: &std::path::Path, token: &str) -> Result<(), String> {
    let festoon = tool("festoon").map_err(|error| error.to_string())?.display().to_string();
    let dir = state_dir.display();
    // A shell, so that what was said is kept apart from how it was called. The token comes as the documents show it.
    let script = format!(
        "printf %s \"$1\" | {festoon} --state-dir {dir} join - >/dev/null 2>{dir}.err || {{ cat {dir}.err; echo FAILED; }}"
    );
    let said = host.run("sh", &["-c", &script, "sh", token]).map_err(|error| error.to_string())?;
    match said.strip_suffix("FAILED\n") {
        None => Ok(()),
        Some(said) => Err(said.to_owned()),
    }
}

/// One line, that names the token or the cluster it is from, with nothing of a program's insides.
fn is_clear(said: &str) -> bool {
    let insides = ["panicked", "src/", "Error {", "Os {", "None", "Some("];
    let lower = said.to_lowercase();
    said.trim_end().lines().count() == 1
        && (lower.contains("token") || lower.contains("manager"))
        && !insides.iter().any(|inside| said.contains(inside))
}

/// A token of a cluster whose only manager has stopped.
fn another_cluster(host: &Host, lab: &Lab) -> anyhow::Result<String> {
    let me = Introduction { name: "other".to_owned(), underlay: host.ip(), priority: 100 };
    let mut manager = Manager::init(host, lab.dir().join("other"), &me, &PREFIXES)?;
    let token = manager.token()?;
    manager.stop()?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_clear_in_one_line_about_the_token() {
        assert!(is_clear("festoon: this token was used already: make a new one\n"));
        assert!(!is_clear("festoon: error\ncaused by: the token\n"));
        assert!(!is_clear("festoon: TokenError { kind: None }\n"));
        assert!(!is_clear("festoon: something failed\n"));
    }
}
