//! Everybody who holds something tries everything: see [`crate::hostile`].

use super::report::{Limit, Report};
use crate::hostile::{Outcome, run};
use crate::lab::Lab;

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let Outcome { positions, routes, cases, messages, wrong } = run(lab)?;
    report.note(&format!("hostile: {positions} positions, {routes} routes, {messages} cases are signal messages"));
    for case in &wrong {
        report.note(&format!("hostile: {case}"));
    }
    report.count("hostile_cases", cases, "cases", Limit::AtLeast(2_000.0));
    report.count("hostile_wrongly_allowed", wrong.len() as u64, "cases", Limit::Exactly(0.0));
    Ok(())
}
