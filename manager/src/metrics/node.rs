//! What the packet loop counted and measured.

use std::time::Duration;

use festoon_control::registry::{Endpoint, State};
use festoon_dataplane::drop_reason::DropReason;
use festoon_dataplane::io::IoCounts;
use festoon_metrics::{Number, Page};
use festoon_proto::map::EndpointKind;

use crate::cluster::unix_now;
use crate::node::{Carried, Figures, Tally};

/// Writes all that is not about single endpoints.
pub(super) fn write(page: &mut Page, figures: &Figures, io: IoCounts) {
    write_managers(page, figures);
    write_links(page, figures);
    write_moves(page, &figures.tally);
    let mut drops = page.counter("festoon_dropped_packets_total", "Packets that this manager dropped, by reason.");
    for reason in DropReason::ALL {
        drops.add(&[("reason", reason)], figures.drops.get(*reason));
    }
    write_io(page, io);
}

fn write_managers(page: &mut Page, figures: &Figures) {
    let mut reachable =
        page.gauge("festoon_manager_reachable", "Whether this manager reaches that one, over any links.");
    for other in &figures.others {
        reachable.add(&[("manager", &other.id)], other.is_reachable);
    }
    let mut carried =
        page.gauge("festoon_manager_endpoints", "Endpoints that another manager carries, as far as this one knows.");
    for other in &figures.others {
        carried.add(&[("manager", &other.id)], other.carried);
    }
    page.gauge("festoon_draining", "Whether this manager takes no more endpoints.").add(&[], figures.is_draining);
    page.counter("festoon_managers_lost_total", "Managers that were lost; the lowest of those left counts.")
        .add(&[], figures.tally.lost);
    page.counter("festoon_managers_returned_total", "Managers that returned; the lowest of the others counts.")
        .add(&[], figures.tally.returned);
}

fn write_links(page: &mut Page, figures: &Figures) {
    let mut up = page.gauge("festoon_link_up", "Whether the link to a manager is up, as this end sees it.");
    for other in &figures.others {
        up.add(&[("manager", &other.id)], other.is_up);
    }
    let mut rtt = page.gauge("festoon_link_rtt_seconds", "Smoothed round-trip time of a link that is up.");
    for other in &figures.others {
        if let Some(measured) = other.rtt {
            rtt.add(&[("manager", &other.id)], measured);
        }
    }
    let mut received = page.counter("festoon_link_received_bytes_total", "Bytes of packets received over a link.");
    for other in &figures.others {
        received.add(&[("manager", &other.id)], other.rx_bytes);
    }
    let mut sent = page.counter("festoon_link_sent_bytes_total", "Bytes of packets sent over a link.");
    for other in &figures.others {
        sent.add(&[("manager", &other.id)], other.tx_bytes);
    }
    let changes = |id| figures.tally.links.get(&id).copied().unwrap_or_default();
    let mut ups = page.counter("festoon_link_ups_total", "How often a link came up.");
    for other in &figures.others {
        ups.add(&[("manager", &other.id)], changes(other.id).0);
    }
    let mut downs = page.counter("festoon_link_downs_total", "How often a link went down.");
    for other in &figures.others {
        downs.add(&[("manager", &other.id)], changes(other.id).1);
    }
}

fn write_moves(page: &mut Page, tally: &Tally) {
    page.counter("festoon_endpoint_ups_total", "Endpoints that came, and that nobody carried.").add(&[], tally.ups);
    let mut moves =
        page.counter("festoon_endpoint_moves_total", "Endpoints that came from another manager, by reason.");
    for (reason, count) in &tally.moves {
        moves.add(&[("reason", reason)], *count);
    }
    page.histogram(
        "festoon_endpoint_move_gap_seconds",
        "How long a manager was silent that an endpoint moved away from because it was dead.",
    )
    .add_histogram(&[], &tally.gaps);
    let mut downs = page.counter("festoon_endpoint_downs_total", "Endpoints that went, by how.");
    for (reason, count) in &tally.downs {
        downs.add(&[("reason", reason)], *count);
    }
    page.counter("festoon_events_missed_total", "Events that came faster than they could be recorded, and are lost.")
        .add(&[], tally.missed);
}

fn write_io(page: &mut Page, io: IoCounts) {
    let mut counter = |name, help, count: u64| {
        page.counter(name, help).add(&[], count);
    };
    counter(
        "festoon_underlay_received_batches_total",
        "Batches of datagrams received, each by one system call where the kernel joins.",
        io.received_batches,
    );
    counter("festoon_underlay_received_datagrams_total", "Datagrams received.", io.received_datagrams);
    counter("festoon_underlay_received_bytes_total", "Bytes in these datagrams.", io.received_bytes);
    counter(
        "festoon_underlay_sent_batches_total",
        "Batches of datagrams sent, each by one system call where the kernel splits.",
        io.underlay_groups,
    );
    counter(
        "festoon_underlay_sent_datagrams_total",
        "Datagrams sent, also those that were lost.",
        io.underlay_datagrams,
    );
    counter("festoon_underlay_sent_bytes_total", "Bytes in these datagrams.", io.underlay_bytes);
    counter("festoon_underlay_lost_datagrams_total", "Datagrams that the kernel did not take.", io.underlay_lost);
}

/// Writes what is about single endpoints: series for those given, which are carried here.
pub(super) fn write_endpoints(page: &mut Page, figures: &Figures, carried: &[Carried], state: &State) {
    page.gauge("festoon_endpoints_carried", "Endpoints that this manager carries.").add(&[], figures.carried);
    page.gauge("festoon_endpoints_left_out", "Endpoints that this manager carries and has no series for.")
        .add(&[], figures.carried.saturating_sub(carried.len()));
    let mut info = page.info("festoon_endpoint_info", "What an endpoint that this manager carries is called.");
    for endpoint in carried.iter().filter_map(|one| state.endpoint(one.id)) {
        let network = state.network(endpoint.network).map_or("", |network| network.name.as_str());
        let labels: &[(&str, &dyn std::fmt::Display)] =
            &[("endpoint", &endpoint.id), ("name", &endpoint.name), ("network", &network), ("kind", &kind(endpoint))];
        info.add(labels, 1_u64);
    }
    let series = |mut family: festoon_metrics::Family<'_>, of: &dyn Fn(&Carried) -> Option<Number>| {
        for one in carried {
            if let Some(value) = of(one) {
                family.add(&[("endpoint", &one.id)], value);
            }
        }
    };
    let received = page.counter("festoon_endpoint_received_bytes_total", "Bytes of packets received from an endpoint.");
    series(received, &|one| Some(one.rx_bytes.into()));
    let sent = page.counter("festoon_endpoint_sent_bytes_total", "Bytes of packets sent to an endpoint.");
    series(sent, &|one| Some(one.tx_bytes.into()));
    let attached = page.counter("festoon_endpoint_attachments_total", "How often an endpoint came to this manager.");
    series(attached, &|one| Some(one.attached.into()));
    let now = Duration::from_millis(unix_now().0);
    let at = |ago: Option<Duration>| ago.map(|ago| whole_seconds(now.saturating_sub(ago)));
    let heard = page.gauge("festoon_endpoint_last_heard_timestamp_seconds", "When an endpoint was heard last.");
    series(heard, &|one| at(one.heard_ago));
    let handshake = page.gauge("festoon_endpoint_last_handshake_timestamp_seconds", "When its session was made.");
    series(handshake, &|one| at(one.session_age));
}

/// So that what does not change is told alike.
fn whole_seconds(since_1970: Duration) -> Number {
    (since_1970 + Duration::from_millis(500)).as_secs().into()
}

const fn kind(endpoint: &Endpoint) -> &'static str {
    match endpoint.kind {
        EndpointKind::Agent => "agent",
        EndpointKind::Client => "client",
    }
}
