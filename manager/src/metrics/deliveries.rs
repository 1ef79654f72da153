//! How events get to destinations: what the registry knows of it, which every manager tells, and what the one knows that
//! delivers.

use festoon_control::registry::{Progress, State};
use festoon_metrics::{Number, Page};

use super::Sources;
use crate::deliver::Standing;

/// Writes all of it.
pub(super) async fn write(page: &mut Page, sources: &Sources, state: &State) {
    write_registry(page, state);
    let standings = sources.deliveries.own_standings();
    let mut gauge = |name, help, of: &dyn Fn(&Standing) -> Number| {
        let mut family = page.gauge(name, help);
        for (id, standing) in &standings {
            family.add(&[("destination", id)], of(standing));
        }
    };
    gauge("festoon_event_destination_failing", "Whether a destination took nothing the last time.", &|standing| {
        standing.failing_since.is_some().into()
    });
    gauge(
        "festoon_event_destination_last_success_timestamp_seconds",
        "When a destination took something last, since this manager delivers; 0 if it took nothing.",
        &|standing| (standing.last_success.unwrap_or_default() / 1000).into(),
    );
    if standings.is_empty() {
        return;
    }
    match sources.events.end().await {
        Ok(end) => gauge(
            "festoon_event_destination_lag_events",
            "Events that a destination may still get; some of them it does not want.",
            &|standing| standing.lag(&end).into(),
        ),
        Err(error) => tracing::debug!(%error, "how far destinations lag is left out"),
    }
}

fn write_registry(page: &mut Page, state: &State) {
    let mut info = page.info("festoon_event_destination_info", "What a destination of events is called.");
    for destination in state.event_destinations() {
        info.add(&[("destination", &destination.id), ("name", &destination.name)], 1_u64);
    }
    let all =
        || state.event_destinations().filter_map(|destination| Some((destination.id, state.progress(destination.id)?)));
    let mut counter = |name, help, of: &dyn Fn(&Progress) -> u64| {
        let mut family = page.counter(name, help);
        for (id, progress) in all() {
            family.add(&[("destination", &id)], of(progress));
        }
    };
    counter(
        "festoon_event_destination_given_up_events_total",
        "Events that a destination did not take in time.",
        &|progress| progress.given_up(),
    );
    counter(
        "festoon_event_destination_missed_events_total",
        "Events that were gone before they could be sent to a destination.",
        &|progress| progress.missed,
    );
    let mut letters =
        page.gauge("festoon_event_destination_dead_letters", "Events that were given up and can be sent again.");
    for (id, progress) in all() {
        letters.add(&[("destination", &id)], progress.letter_count());
    }
}
