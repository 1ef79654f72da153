//! What goes on beside the traffic: snapshots, certificates, files.

use std::fs;

use festoon_control::registry::State;
use festoon_metrics::Page;

use super::Sources;
use crate::pki::{Leaf, certificates};

/// Writes all of it. Asks the file system, which has the answers in memory.
pub(super) fn write(page: &mut Page, sources: &Sources, state: &State) {
    if state.manager(sources.me).is_some_and(|manager| manager.is_full()) {
        write_snapshots(page, sources);
    }
    write_certificates(page, sources, state);
    page.counter("festoon_events_recorded_total", "Events of the whole cluster that this manager has recorded.")
        .add(&[], *sources.events.watch().borrow());
    let mut bytes = page.gauge("festoon_file_bytes", "Size of a file in the data directory.");
    let data = &sources.data;
    for (file, path) in [
        ("registry", data.registry()),
        ("events", data.events()),
        ("audit", data.audit()),
        ("deliveries", data.deliveries()),
    ] {
        if let Ok(metadata) = fs::metadata(path) {
            bytes.add(&[("file", &file)], metadata.len());
        }
    }
    if let Ok(disk) = rustix::fs::statvfs(sources.data.root()) {
        page.gauge("festoon_data_available_bytes", "Room that is left for the data directory.")
            .add(&[], disk.f_bavail.saturating_mul(disk.f_frsize));
        page.gauge("festoon_data_size_bytes", "Size of the file system with the data directory.")
            .add(&[], disk.f_blocks.saturating_mul(disk.f_frsize));
    }
}

/// A witness takes none.
fn write_snapshots(page: &mut Page, sources: &Sources) {
    let standing = sources.snapshots.standing();
    let last = standing.last.as_ref();
    page.gauge("festoon_snapshot_last_success_timestamp_seconds", "When the last snapshot was taken; 0 if none was.")
        .add(&[], last.map_or(0, |last| last.created.0 / 1000));
    if let Some(last) = last {
        page.gauge("festoon_snapshot_last_size_bytes", "Size of the last snapshot.").add(&[], last.bytes);
    }
    if let Some(every) = sources.snapshots.every() {
        page.gauge("festoon_snapshot_interval_seconds", "How often one is to be taken.").add(&[], every);
    }
    page.gauge("festoon_snapshot_failing", "Whether the last attempt failed.").add(&[], standing.failure.is_some());
}

fn write_certificates(page: &mut Page, sources: &Sources, state: &State) {
    let mut until = page.gauge("festoon_certificate_expiry_timestamp_seconds", "Until when a certificate is good.");
    until.add(&[("certificate", &"manager")], sources.credentials.now().leaf.until.0 / 1000);
    for authority in state.vault().authorities() {
        let read = certificates(&authority.certificate_pem).ok();
        if let Some(leaf) = read.and_then(|all| all.first().and_then(Leaf::read)) {
            let name = format!("ca {}", authority.fingerprint);
            until.add(&[("certificate", &name)], leaf.until.0 / 1000);
        }
    }
}
