//! A hostile endpoint, let in by mistake, sends packets whose inner source addresses are not its own.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use crate::lab::{Arrivals, Lab, tool};
use crate::overlay::{Overlay, Spec, Traffic, WireGuard, wait_until_slowly};
use crate::tools::forge::forge_all;
use crate::tools::raw::RawReport;

/// Those under which the manager counts such packets. One that prescribes its own route is wrong twice.
const REASONS: [&str; 2] = ["foreign_source", "source_routed"];
const ROUNDS: u32 = 10;
const SOON: Duration = Duration::from_secs(10);
/// Of nobody in the overlay, and from outside of it.
const OTHERS: [&str; 4] = ["172.31.200.200", "198.51.100.77", "fd31::dead", "2001:db8::77"];

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let overlay = Overlay::start(lab, &Spec { agents: &["a", "b", "c"], ..Spec::default() })?;
    let hostile = hostile_client(&overlay)?;
    let (a, b, c) = (&overlay.agents[0], &overlay.agents[1], &overlay.agents[2]);
    let traffic = Traffic::start(&b.host, &c.host, c.v4()?)?;
    let device = a.status()?.interface;
    let victim = [a.v4()?, a.v6()?];

    // As themselves they get through: so it is for their sources that the others do not.
    let own = [hostile.v4()?, hostile.v6()?];
    let honest = Arrivals::count(&a.host, &device, &own)?;
    let sent = send(&hostile, &own, &victim, 1)?;
    wait_until_slowly(SOON, "honest packets", || Ok(honest.packets()? > 0))?;
    report.note(&format!("spoofed: of {sent} honest packets of the same kinds, {} arrived", honest.packets()?));

    let mut false_sources = vec![b.v4()?, b.v6()?];
    for address in OTHERS {
        false_sources.push(address.parse()?);
    }
    let delivered = Arrivals::count(&a.host, &device, &false_sources)?;
    let before = dropped(&overlay)?;
    let sent = send(&hostile, &false_sources, &victim, ROUNDS)?;
    let counted = || Ok::<_, anyhow::Error>(dropped(&overlay)? - before);
    // That not all are counted is a result.
    drop(wait_until_slowly(SOON, "all to be counted", || Ok(counted()? >= sent)));
    let counted = counted()?;
    let outcome = traffic.finish()?;
    report.count("spoofed_sent", sent, "packets", Limit::AtLeast(100.0));
    report.count("spoofed_uncounted", sent.saturating_sub(counted), "packets", Limit::Exactly(0.0));
    report.count("spoofed_delivered", delivered.packets()?, "packets", Limit::Exactly(0.0));
    report.count("spoofed_pings_lost", outcome.ping.lost, "pings", Limit::Exactly(0.0));
    Ok(())
}

/// A stock client that sends into its tunnel whatever it likes.
fn hostile_client(overlay: &Overlay<'_>) -> anyhow::Result<WireGuard> {
    let host = overlay.clouds.last().context("no cloud")?.host("hostile")?;
    let conf = overlay.new_client("hostile", 0)?.with("AllowedIPs", "0.0.0.0/0, ::/0");
    let client = WireGuard::start(&host, conf)?;
    wait_until_slowly(SOON, "a session of the hostile client", || client.has_session())?;
    Ok(client)
}

/// Sends every kind of packet from every source to the victim's address of its family, and says how many that were.
fn send(hostile: &WireGuard, sources: &[IpAddr], victim: &[IpAddr; 2], rounds: u32) -> anyhow::Result<u64> {
    let mut packets = Vec::new();
    for &source in sources {
        let to = victim.iter().find(|to| to.is_ipv4() == source.is_ipv4()).context("no victim of this family")?;
        packets.extend(forge_all(source, *to).iter().map(|packet| to_hex(packet)));
    }
    let args = [
        "raw-send".to_owned(),
        format!("--device={}", hostile.interface()),
        format!("--rounds={rounds}"),
        format!("--packets={}", packets.join(",")),
    ];
    let text = hostile.host.run(&tool("festoon-labtool")?.to_string_lossy(), &args)?;
    let report: RawReport = serde_json::from_str(&text)?;
    anyhow::ensure!(report.refused == 0, "the hostile host's own kernel refused {} packets", report.refused);
    Ok(report.sent)
}

fn to_hex(packet: &[u8]) -> String {
    packet.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn dropped(overlay: &Overlay<'_>) -> anyhow::Result<u64> {
    let status = overlay.managers[0].status()?;
    Ok(REASONS.iter().map(|reason| status.dropped(reason)).sum())
}
