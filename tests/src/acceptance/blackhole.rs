//! Nothing reaches the manager that carries both agents and nothing comes from it, without a word.

use super::report::Report;
use super::series::{RUNS, Series, two_equal_managers};
use crate::lab::{Fault, Lab, Path};

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = two_equal_managers(lab)?;
    let mut series = Series::default();
    for _ in 0..RUNS {
        series.run(
            &mut overlay,
            |overlay, active| overlay.net.drop(&Path::around(&overlay.managers[active].host)),
            |_, _, cut: Fault| cut.heal(),
        )?;
    }
    series.report("blackhole", Some(300.0), 600.0, report);
    Ok(())
}
