//! Strangers and endpoints that mean no good; in full in `make acceptance`.

use festoon_tests::lab::{Arrivals, Lab, tool};
use festoon_tests::overlay::{Overlay, Spec, WireGuard, wait_until_slowly};
use festoon_tests::tools::forge::forge_all;

use crate::{SOON, agent, ping, wait_reaches};

#[test]
fn a_spoofed_source_is_dropped_and_counted() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        let conf = overlay.new_client("hostile", 0)?.with("AllowedIPs", "0.0.0.0/0, ::/0");
        let hostile = WireGuard::start(&overlay.clouds[0].host("hostile")?, conf)?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        wait_reaches(&hostile.host, a.v4()?)?;
        let arrivals = Arrivals::count(&a.host, &a.status()?.interface, &[b.v4()?, b.v6()?])?;
        let before = overlay.managers[0].status()?.dropped("foreign_source");
        let packets = [forge_all(b.v4()?, a.v4()?), forge_all(b.v6()?, a.v6()?)].concat();
        let hex: Vec<String> =
            packets.iter().map(|packet| packet.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
        let (device, packets) = (format!("--device={}", hostile.interface()), format!("--packets={}", hex.join(",")));
        hostile.host.run(&tool("festoon-labtool")?.to_string_lossy(), &["raw-send", &device, &packets])?;
        wait_until_slowly(SOON, "the drops", || {
            Ok(overlay.managers[0].status()?.dropped("foreign_source") >= before + 10)
        })?;
        // What was sent after them has arrived, so they would have too.
        assert!(ping(&hostile.host, a.v4()?, 5)?.received > 0);
        assert_eq!(arrivals.packets()?, 0);
        Ok(())
    })
}

#[test]
fn junk_is_counted_and_disturbs_nobody() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        let stranger = overlay.clouds[0].host("stranger")?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        wait_reaches(&a.host, b.v4()?)?;
        let manager = &overlay.managers[0];
        let to = format!("--to={}:51820", manager.host.ip());
        let args = ["udp-junk", &to, "--sizes=0,1,148,1472,65507", "--count=50", "--interval-us=2000"];
        stranger.run(&tool("festoon-labtool")?.to_string_lossy(), &args)?;
        wait_until_slowly(SOON, "the drops", || Ok(manager.status()?.dropped("malformed_datagram") >= 50))?;
        assert_eq!(ping(&a.host, b.v4()?, 20)?.lost, 0);
        Ok(())
    })
}
