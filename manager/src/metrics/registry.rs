//! What is in the registry. Only what costs nothing to count: there may be 100,000 endpoints.

use festoon_control::registry::State;
use festoon_metrics::Page;
use festoon_proto::ManagerId;

/// Writes how much there is of everything, and what the managers are called.
pub(super) fn write(page: &mut Page, state: &State, me: ManagerId) {
    page.info("festoon_build_info", "The program, and which manager it is.")
        .add(&[("version", &env!("CARGO_PKG_VERSION")), ("manager", &me)], 1_u64);
    let mut info = page.info("festoon_manager_info", "What a manager of the cluster is called.");
    for manager in state.managers() {
        let role = if manager.is_full() { "full" } else { "witness" };
        info.add(&[("manager", &manager.id), ("name", &manager.name), ("role", &role)], 1_u64);
    }
    let mut records = page.gauge("festoon_registry_records", "Records of the registry, by kind.");
    let mut count = |kind: &str, count: usize| {
        records.add(&[("kind", &kind)], count);
    };
    count("network", state.networks().count());
    count("endpoint", state.endpoint_count());
    count("manager", state.managers().count());
    count("join_token", state.join_token_count());
    count("user", state.users().count());
    count("session", state.sessions().count());
    count("api_token", state.api_tokens().count());
    count("event_destination", state.event_destinations().count());
    page.counter("festoon_audit_entries_total", "Entries of the audit log.").add(&[], state.audited().count);
    page.gauge("festoon_registry_version", "The last change of the registry that this manager knows.")
        .add(&[], state.version().0);
    page.gauge("festoon_registry_epoch", "How often the cluster went on from one copy alone.")
        .add(&[], state.epoch().id().number);
}
