//! What an agent tells a monitoring system, if it is asked to with `--metrics`.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use festoon_dataplane::drop_reason::DropReason;
use festoon_dataplane::io::{IoCounters, IoCounts};
use festoon_metrics::{Page, Process, Source};
use tokio::sync::{mpsc, oneshot};

use crate::control::{AgentStatus, Ask};
use crate::node::status::{ManagerStatus, UplinkState};

/// The metrics of the agent.
#[derive(Debug)]
pub struct Metrics {
    /// Asks the main loop.
    pub asks: mpsc::Sender<Ask>,
    /// What the driver counts.
    pub counters: Arc<IoCounters>,
    /// This process.
    pub process: Process,
}

impl Metrics {
    async fn status(&self) -> Option<AgentStatus> {
        let (reply, status) = oneshot::channel();
        self.asks.send(Ask::Status(reply)).await.ok()?;
        status.await.ok()
    }
}

impl Source for Metrics {
    async fn write(&self, page: &mut Page) {
        if let Some(status) = self.status().await {
            write_status(page, &status);
            write_managers(page, &status.node.managers, status.node.active);
        }
        write_io(page, self.counters.counts());
        self.process.write(page);
    }

    async fn problems(&self) -> Vec<String> {
        match self.status().await {
            Some(status) if status.node.active.is_some() => Vec::new(),
            Some(_) => vec!["no manager answers".to_owned()],
            None => vec!["the agent is stopping".to_owned()],
        }
    }
}

fn write_status(page: &mut Page, AgentStatus { setup, node }: &AgentStatus) {
    let version = env!("CARGO_PKG_VERSION");
    let labels: [(&str, &dyn Display); 4] =
        [("version", &version), ("endpoint", &setup.endpoint), ("name", &setup.name), ("network", &setup.network_name)];
    page.info("festoon_agent_info", "The program, and what its endpoint is called.").add(&labels, 1_u64);
    page.gauge("festoon_agent_connected", "Whether a manager carries this endpoint.").add(&[], node.active.is_some());
    page.gauge("festoon_agent_map_version", "The version of the map that it has.").add(&[], setup.map_version.0);
    page.gauge("festoon_agent_problems", "What it could not do on this host: see `festoon status`.")
        .add(&[], setup.problems.len());
    page.counter("festoon_agent_received_bytes_total", "Bytes of packets received from managers.")
        .add(&[], node.rx_bytes);
    page.counter("festoon_agent_sent_bytes_total", "Bytes of packets sent to managers.").add(&[], node.tx_bytes);
    let mut moves = page.counter("festoon_agent_moves_total", "How often another manager took over, by reason.");
    for (reason, count) in &node.moves {
        moves.add(&[("reason", reason)], *count);
    }
    page.counter("festoon_agent_losses_total", "How often no manager answered any more.").add(&[], node.losses);
    let mut drops = page.counter("festoon_agent_dropped_packets_total", "Packets that it dropped, by reason.");
    for reason in DropReason::ALL {
        let dropped = node.drops.iter().find(|(label, _)| label == reason.label());
        drops.add(&[("reason", reason)], dropped.map_or(0, |(_, count)| *count));
    }
}

fn write_managers(page: &mut Page, managers: &[ManagerStatus], active: Option<festoon_proto::ManagerId>) {
    let mut info = page.info("festoon_agent_manager_info", "What a manager is called.");
    for manager in managers {
        info.add(&[("manager", &manager.id), ("name", &manager.name)], 1_u64);
    }
    let mut gauge = |name, help, of: &dyn Fn(&ManagerStatus) -> Option<festoon_metrics::Number>| {
        let mut family = page.gauge(name, help);
        for manager in managers {
            if let Some(value) = of(manager) {
                family.add(&[("manager", &manager.id)], value);
            }
        }
    };
    gauge("festoon_agent_manager_active", "Whether this manager carries the endpoint.", &|manager| {
        Some((active == Some(manager.id)).into())
    });
    gauge("festoon_agent_manager_up", "Whether it answers.", &|manager| {
        Some((manager.state != UplinkState::Down).into())
    });
    gauge("festoon_agent_manager_rtt_seconds", "Smoothed round-trip time to it.", &|manager| {
        manager.rtt_us.map(|rtt| Duration::from_micros(rtt.into()).into())
    });
    let now = now();
    let at = |ago: Option<u64>| ago.map(|ago| now.saturating_sub(Duration::from_millis(ago)).as_secs().into());
    gauge("festoon_agent_manager_last_heard_timestamp_seconds", "When it was heard last.", &|manager| {
        at(manager.heard_ms_ago)
    });
}

#[expect(clippy::disallowed_methods, reason = "the node has another clock than people")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn write_io(page: &mut Page, io: IoCounts) {
    let mut counter = |name, help, count: u64| {
        page.counter(name, help).add(&[], count);
    };
    counter("festoon_agent_underlay_received_batches_total", "Batches of datagrams received.", io.received_batches);
    counter("festoon_agent_underlay_received_datagrams_total", "Datagrams received.", io.received_datagrams);
    counter("festoon_agent_underlay_received_bytes_total", "Bytes in these datagrams.", io.received_bytes);
    counter("festoon_agent_underlay_sent_batches_total", "Batches of datagrams sent.", io.underlay_groups);
    counter("festoon_agent_underlay_sent_datagrams_total", "Datagrams sent, also lost ones.", io.underlay_datagrams);
    counter("festoon_agent_underlay_sent_bytes_total", "Bytes in these datagrams.", io.underlay_bytes);
    counter("festoon_agent_underlay_lost_datagrams_total", "Datagrams that the kernel did not take.", io.underlay_lost);
    counter("festoon_agent_device_packets_total", "Packets given to the host, joined ones as one.", io.overlay_packets);
    counter("festoon_agent_device_lost_packets_total", "Packets that the device did not take.", io.overlay_lost);
}
