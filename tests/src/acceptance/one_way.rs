//! The manager that carries both agents still receives but is not heard, or is still heard but receives nothing.

use super::report::Report;
use super::series::{Series, two_equal_managers};
use crate::lab::{Fault, Host, Lab, Path};

/// What it is called, and which packets it hits.
type Direction = (&'static str, fn(&Host) -> Path);

const RUNS: usize = 10;
const WORST_MS: f64 = 1000.0;

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut overlay = two_equal_managers(lab)?;
    let directions: [Direction; 2] = [("one_way_to_manager", Path::into), ("one_way_from_manager", Path::out_of)];
    for (name, direction) in directions {
        let mut series = Series::default();
        for _ in 0..RUNS {
            series.run(
                &mut overlay,
                |overlay, active| overlay.net.drop(&direction(&overlay.managers[active].host)),
                |_, _, cut: Fault| cut.heal(),
            )?;
        }
        series.report(name, None, WORST_MS, report);
    }
    Ok(())
}
