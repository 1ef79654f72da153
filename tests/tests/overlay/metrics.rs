//! What real managers and agents tell a monitoring system, and that the dashboard and the alerts ask for nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use festoon_tests::lab::{Host, Lab, Program, tool};
use festoon_tests::overlay::{Agent, Overlay, Spec, wait_until_slowly};
use serde_json::Value;

use crate::SOON;

const MANAGER: &str = "http://127.0.0.1:8444";
const AGENT: &str = "http://127.0.0.1:8445";

fn scrape(host: &Host, at: &str, accept: &str) -> anyhow::Result<String> {
    let header = format!("Accept: {accept}");
    host.run("curl", &["-sS", "--fail", "--noproxy", "*", "--max-time", "10", "-H", &header, &format!("{at}/metrics")])
}

fn prometheus(host: &Host, at: &str) -> anyhow::Result<String> {
    scrape(host, at, "text/plain")
}

/// The value of a series, as it is written on the page.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?.parse().ok()
}

fn monitoring(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/monitoring").join(file)
}

/// `promtool`, of tests/install-needs.
fn promtool(args: &[&str], input: &str) -> anyhow::Result<String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/promtool");
    let program = if own.is_file() { own } else { PathBuf::from("promtool") };
    let mut child = Command::new(program)
        .args(args)
        .current_dir(monitoring(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool: run tests/install-needs")?;
    child.stdin.take().context("a pipe")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    anyhow::ensure!(output.status.success(), "promtool {args:?}: {said}");
    Ok(said)
}

/// A page that promtool finds nothing about.
fn check(page: &str) -> anyhow::Result<()> {
    let said = promtool(&["check", "metrics"], page)?;
    anyhow::ensure!(said.trim().is_empty(), "{said}");
    Ok(())
}

/// The names of all series on a page.
fn names(page: &str) -> BTreeSet<String> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// All queries in the dashboard: of panels, of annotations.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "expr" => found.push(text.clone()),
                    other => queries(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

fn dashboard() -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(monitoring("festoon.dashboard.json"))?)?)
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("festoon_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// Has an agent serve its metrics from now on, until what is returned is dropped. It is connected then.
fn serve(agent: &mut Agent) -> anyhow::Result<Program> {
    agent.down()?;
    let state = format!("--state-dir={}", agent.state_dir().display());
    let running = agent.host.spawn(tool("festoon")?, &[&state, "--metrics=127.0.0.1:8445", "up"])?;
    wait_until_slowly(SOON, "it is connected", || {
        Ok(prometheus(&agent.host, AGENT).is_ok_and(|page| value(&page, "festoon_agent_connected") == Some(1.0)))
    })?;
    Ok(running)
}

#[test]
fn the_alerts_do_what_they_say() -> anyhow::Result<()> {
    promtool(&["check", "rules", "festoon.rules.yml"], "")?;
    promtool(&["test", "rules", "festoon.rules.test.yml"], "")?;
    let (rules, tests) = (
        fs::read_to_string(monitoring("festoon.rules.yml"))?,
        fs::read_to_string(monitoring("festoon.rules.test.yml"))?,
    );
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has no test");
    }
    Ok(())
}

#[test]
fn every_query_of_the_dashboard_is_one() -> anyhow::Result<()> {
    let mut all = Vec::new();
    queries(&dashboard()?, &mut all);
    assert!(all.len() > 50, "{}", all.len());
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, query) in all.iter().enumerate() {
        let query = query.replace("$__rate_interval", "1m");
        rules += &format!("  - record: q{number}\n    expr: {}\n", serde_json::to_string(&query)?);
    }
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), rules)?;
    promtool(&["check", "rules", &file.path().to_string_lossy()], "")?;
    Ok(())
}

#[test]
fn what_the_dashboard_and_the_alerts_ask_for_is_there() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec::default())?;
        let mut there = BTreeSet::new();
        overlay.managers[0].run(&["destinations", "add", "pager", "https://hooks.example.invalid/"])?;
        wait_until_slowly(SOON, "a manager delivers", || {
            let pages: Vec<_> = overlay.managers.iter().map(|manager| prometheus(&manager.host, MANAGER)).collect();
            Ok(pages.into_iter().flatten().any(|page| page.contains("\nfestoon_event_destination_lag_events{")))
        })?;
        for manager in &overlay.managers {
            let page = prometheus(&manager.host, MANAGER)?;
            check(&page)?;
            there.extend(names(&page));
            let open = scrape(&manager.host, MANAGER, "application/openmetrics-text; version=1.0.0")?;
            assert!(open.ends_with("\n# EOF\n") && open.contains("# TYPE festoon_dropped_packets counter"), "{open}");
        }
        let _running = serve(&mut overlay.agents[0])?;
        let page = prometheus(&overlay.agents[0].host, AGENT)?;
        check(&page)?;
        there.extend(names(&page));
        let mut wanted = named(&fs::read_to_string(monitoring("festoon.rules.yml"))?);
        let mut all = Vec::new();
        queries(&dashboard()?, &mut all);
        wanted.extend(all.iter().flat_map(|query| named(query)));
        let missing: Vec<_> = wanted.difference(&there).collect();
        assert!(missing.is_empty(), "nobody tells of {missing:?}, but of {there:?}");
        Ok(())
    })
}

#[test]
fn a_failover_shows_and_series_go_with_what_they_are_of() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { priorities: &[200, 100, 50], ..Spec::default() })?;
        let before = prometheus(&overlay.managers[0].host, MANAGER)?;
        assert_eq!(value(&before, "festoon_endpoints_carried"), Some(2.0), "{before}");
        assert!(
            before.contains("festoon_endpoint_info{endpoint=\"e1\",name=\"a\",network=\"default\",kind=\"agent\"} 1")
        );
        assert_eq!(value(&before, "festoon_link_up{manager=\"m2\"}"), Some(1.0));
        overlay.managers[0].program()?.kill()?;
        overlay.wait_carried(0, 1)?;
        overlay.wait_carried(1, 1)?;
        let (second, what) = (overlay.managers[1].host.clone(), "the second manager tells of the death of the first");
        wait_until_slowly(SOON, what, || {
            let page = prometheus(&second, MANAGER)?;
            Ok(value(&page, "festoon_endpoint_moves_total{reason=\"manager_dead\"}") == Some(2.0)
                && value(&page, "festoon_endpoint_move_gap_seconds_count") == Some(2.0)
                && value(&page, "festoon_manager_reachable{manager=\"m1\"}") == Some(0.0)
                && value(&page, "festoon_link_up{manager=\"m1\"}") == Some(0.0)
                && value(&page, "festoon_managers_lost_total") == Some(1.0)
                && value(&page, "festoon_endpoint_attachments_total{endpoint=\"e1\"}") >= Some(1.0))
        })?;
        overlay.managers[1].run(&["endpoints", "remove", "a", "--yes"])?;
        wait_until_slowly(SOON, "what was removed has no series", || {
            Ok(!prometheus(&second, MANAGER)?.contains("endpoint=\"e1\""))
        })?;
        overlay.managers[1].run(&["drain"])?;
        overlay.wait_carried(1, 2)?;
        wait_until_slowly(SOON, "what moved on has no series", || {
            let page = prometheus(&second, MANAGER)?;
            Ok(!page.contains("endpoint=\"e2\"") && value(&page, "festoon_endpoints_carried") == Some(0.0))
        })
    })
}

#[test]
fn an_agent_tells_of_itself_if_it_is_asked_to() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { agents: &["a"], ..Spec::default() })?;
        let agent = &mut overlay.agents[0];
        assert!(prometheus(&agent.host, AGENT).is_err(), "not unasked");
        let _running = serve(agent)?;
        let page = prometheus(&agent.host, AGENT)?;
        check(&page)?;
        assert!(page.contains("festoon_agent_info{"), "{page}");
        assert_eq!(value(&page, "festoon_agent_moves_total{reason=\"started\"}"), Some(1.0), "{page}");
        assert_eq!(agent.host.run("curl", &["-sS", &format!("{AGENT}/readyz")])?, "ok\n");
        for manager in &mut overlay.managers {
            manager.program()?.kill()?;
        }
        let host = overlay.agents[0].host.clone();
        wait_until_slowly(SOON, "it says that no manager answers", || {
            Ok(host.run("curl", &["-sS", &format!("{AGENT}/readyz")])? == "no manager answers\n")
        })?;
        assert_eq!(value(&prometheus(&host, AGENT)?, "festoon_agent_losses_total"), Some(1.0));
        Ok(())
    })
}
