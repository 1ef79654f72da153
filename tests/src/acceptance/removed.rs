//! A removal is a fact on every listener within a second: see [`crate::hostile::removed`].

use super::report::{Limit, Report};
use crate::hostile::removed::{Removal, run};
use crate::lab::Lab;

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    for removal in run(lab)? {
        let Removal { who, answered_s, refused, held, open, closed_s, seen } = removal;
        report.note(&format!("removed: {who}: {refused} requests refused since, {held} connections held, {seen}"));
        report.add(&format!("removed_{who}_last_answer"), answered_s, "s", Limit::AtMost(1.0));
        report.count(&format!("removed_{who}_refused"), refused, "requests", Limit::AtLeast(1.0));
        report.count(&format!("removed_{who}_still_open"), open, "connections", Limit::Exactly(0.0));
        report.add(&format!("removed_{who}_last_closing"), closed_s, "s", Limit::AtMost(1.0));
    }
    Ok(())
}
