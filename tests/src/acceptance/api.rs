//! The API against everybody who may not use it, and against whatever its own document allows: by the tests of a real manager over
//! HTTPS, and by schemathesis.

use std::process::{Command, Output};

use anyhow::Context;
use serde::Deserialize;

use super::report::{Limit, Report};
use crate::lab::{Lab, tool};

/// Made-up requests for each route.
const EXAMPLES: &str = "20";

/// What `tests/schemathesis/run` prints last.
#[derive(Deserialize)]
struct Asked {
    answers: u64,
    server_errors: u64,
    /// Answers that the document does not have, among them.
    failures: u64,
    broken_connections: u64,
}

/// Every route with every kind of caller; and secrets that were planted everywhere.
pub(super) fn access(_: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let output = test("festoon-manager", "cluster", &["access::", "canaries::", "metrics::no_secret"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    let [routes, callers, cases, wrong] = figures(&said, " cases, ")?;
    report.note(&format!("access: {routes} routes, {callers} kinds of callers"));
    report.count("access_cases", cases, "cases", Limit::AtLeast(1_000.0));
    report.count("access_wrong", wrong, "cases", Limit::Exactly(0.0));
    let [secrets, places, found] = figures(&said, "secrets looked for")?;
    report.count("canaries_planted", secrets, "secrets", Limit::AtLeast(10.0));
    report.note(&format!("canaries: looked for in {places} places"));
    report.count("canaries_found", found, "times", Limit::Exactly(0.0));
    // The metrics have a test of their own above; debug bundles need hosts.
    let bundles = test("festoon-tests", "overlay", &["diagnosis::a_bundle_has_everything_but_secrets"])?;
    let good = u64::from(passed(&output)? == 3) + passed(&bundles)?;
    report.count("canaries_metrics_and_bundles", good, "of 2", Limit::Exactly(2.0));
    for output in [output, bundles] {
        anyhow::ensure!(output.status.success(), "a test failed: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

/// Runs some tests of a package.
fn test(package: &str, name: &str, filters: &[&str]) -> anyhow::Result<Output> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut tests = Command::new(cargo);
    tests.args(["test", "--offline", "--quiet", "--package", package, "--test", name, "--", "--nocapture"]);
    tests.args(filters).output().context("cannot run cargo")
}

/// How many tests passed.
fn passed(output: &Output) -> anyhow::Result<u64> {
    let said = String::from_utf8_lossy(&output.stdout);
    let [passed, ..] = figures::<5>(&said.replace("finished in", "\n"), "test result: ok.")?;
    Ok(passed)
}

/// The numbers in the line with this text.
fn figures<const COUNT: usize>(said: &str, text: &str) -> anyhow::Result<[u64; COUNT]> {
    let line = said.lines().find(|line| line.contains(text)).with_context(|| format!("no figures in {said:?}"))?;
    let words = line.split(|letter: char| !letter.is_ascii_digit()).filter(|word| !word.is_empty());
    let numbers: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>()?;
    numbers.try_into().map_err(|found| anyhow::anyhow!("not {COUNT} figures in {line:?}: {found:?}"))
}

/// What schemathesis makes of the document.
pub(super) fn schemathesis(_: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let manager = tool("festoon-manager")?;
    let mut script = Command::new("tests/schemathesis/run");
    let output = script.arg(manager).arg(EXAMPLES).output().context("cannot run tests/schemathesis/run")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().context("schemathesis says nothing")?;
    let found: Asked = serde_json::from_str(last)
        .with_context(|| format!("schemathesis failed: {said}{}", String::from_utf8_lossy(&output.stderr)))?;
    report.note(&format!("schemathesis: {} connections broke", found.broken_connections));
    report.count("schemathesis_answers", found.answers, "answers", Limit::AtLeast(2_000.0));
    report.count("schemathesis_server_errors", found.server_errors, "answers", Limit::Exactly(0.0));
    report.count("schemathesis_undocumented", found.failures, "answers", Limit::Exactly(0.0));
    anyhow::ensure!(output.status.success(), "schemathesis failed: {said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_in_a_line() {
        let said = "running 2 tests\n61 routes, 21 callers, 1281 cases, 0 wrong\n";
        assert_eq!(figures(said, " cases, ").expect("they are there"), [61, 21, 1281, 0]);
        assert!(figures::<3>(said, " cases, ").is_err(), "one too many");
        assert!(figures::<4>("", " cases, ").is_err());
    }
}
