//! Whether the audit log is the same everywhere.

use festoon_control::registry::State;
use festoon_metrics::Page;

use super::Sources;

/// Writes it.
pub(super) fn write(page: &mut Page, sources: &Sources, state: &State) {
    page.gauge("festoon_audit_entries", "The number of the last entry of the audit log.")
        .add(&[], state.audited().count);
    let differing = sources.differing.now();
    let mut family = page.gauge(
        "festoon_audit_chain_differs",
        "1 if another manager had a different entry at the same place of its audit log when they were last compared, else 0.",
    );
    for manager in state.managers().filter(|manager| manager.id != sources.me) {
        family.add(&[("manager", &manager.id)], differing.contains(&manager.id));
    }
}
