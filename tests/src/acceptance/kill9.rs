//! The manager that carries both agents is killed with SIGKILL, and restarted for the next run.

use super::report::Report;
use super::series::{RUNS, Series, two_equal_managers};
use crate::lab::Lab;

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = two_equal_managers(lab)?;
    let mut series = Series::default();
    for _ in 0..RUNS {
        series.run(
            &mut overlay,
            |overlay, active| overlay.managers[active].program()?.kill(),
            |overlay, killed, ()| overlay.managers[killed].start(),
        )?;
    }
    series.report("kill9", Some(150.0), 300.0, report);
    Ok(())
}
