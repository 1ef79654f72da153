//! One TCP stream from A to B over the hub in the middle: ours, and `boringtun-cli` with the kernel forwarding between its
//! tunnels. The same cloud, the same hosts' load, turn by turn; each with the MTU that it comes with.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::report::{Limit, Report};
use super::series::median;
use crate::lab::{Host, Lab, Receiver, Stream};
use crate::overlay::{Conf, Overlay, Spec, WireGuard, wait_until_slowly};

const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(5);
const RATIO: f64 = 8.0;
const PATIENCE: Duration = Duration::from_secs(20);
/// `make acceptance` installs it there.
const BORINGTUN: &str = "target/tools/bin/boringtun-cli";
const PORT: u16 = 51821;

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let boringtun = Path::new(BORINGTUN).canonicalize().with_context(|| format!("{BORINGTUN} is not installed"))?;
    let overlay = Overlay::start(lab, &Spec { priorities: &[100], ..Spec::default() })?;
    let (a, b) = (&overlay.agents[0], &overlay.agents[1]);
    let baseline = Baseline::start(&overlay, &boringtun)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(flood(&a.host, &b.host, b.v4()?)?);
        theirs.push(flood(&baseline.a.host, &baseline.b.host, baseline.b.v4()?)?);
    }
    report.note(&format!("throughput: {ours:.0?} Mbit/s; boringtun-cli: {theirs:.0?} Mbit/s"));
    let (ours, theirs) = (median(&ours), median(&theirs));
    report.add("throughput_ratio", ours / theirs, "times", Limit::AtLeast(RATIO));
    Ok(())
}

/// Megabits a second of payload.
fn flood(from: &Host, to: &Host, address: IpAddr) -> anyhow::Result<f64> {
    let receiver = Receiver::start(to, SocketAddr::new(address, 5201))?;
    let sent = Stream::flood(from, receiver.at(), TIME)?.wait(PATIENCE)?;
    let received = sent.receiver.with_context(|| format!("the stream broke: {:?}", sent.error))?;
    anyhow::ensure!(received.complete, "the stream broke: {:?}", received.error);
    Ok(received.mbit_per_s)
}

/// Three hosts with `boringtun-cli`, the hub in the middle.
struct Baseline {
    a: WireGuard,
    b: WireGuard,
    _hub: WireGuard,
}

impl Baseline {
    fn start(overlay: &Overlay<'_>, program: &Path) -> anyhow::Result<Self> {
        let cloud = overlay.clouds.first().context("no cloud")?;
        let hosts = [cloud.host("bt-hub")?, cloud.host("bt-a")?, cloud.host("bt-b")?];
        let keys = [Key::generate(&hosts[0])?, Key::generate(&hosts[1])?, Key::generate(&hosts[2])?];
        let run = |host: &Host, wg: String, address: &str, route: &str| {
            let conf = Conf { wg, addresses: vec![address.parse()?], routes: vec![route.parse()?], mtu: None };
            WireGuard::with_program(host, program, &["--foreground", "--disable-drop-privileges"], conf)
        };
        hosts[0].run("sh", &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        let (hub_key, a_key, b_key) = (&keys[0], &keys[1], &keys[2]);
        let hub_conf = format!(
            "{}ListenPort = {PORT}\n{}AllowedIPs = 10.99.0.2/32\n{}AllowedIPs = 10.99.0.3/32\n",
            hub_key.interface(),
            a_key.peer(),
            b_key.peer()
        );
        let spoke = |key: &Key| {
            let hub = SocketAddr::new(hosts[0].ip(), PORT);
            let peer = hub_key.peer();
            format!("{}{peer}Endpoint = {hub}\nAllowedIPs = 10.99.0.0/24\nPersistentKeepalive = 5\n", key.interface())
        };
        let hub = run(&hosts[0], hub_conf, "10.99.0.1/32", "10.99.0.0/24")?;
        let a = run(&hosts[1], spoke(a_key), "10.99.0.2/32", "10.99.0.0/24")?;
        let b = run(&hosts[2], spoke(b_key), "10.99.0.3/32", "10.99.0.0/24")?;
        wait_until_slowly(PATIENCE, "the baseline's sessions", || Ok(a.has_session()? && b.has_session()?))?;
        Ok(Self { a, b, _hub: hub })
    }
}

struct Key {
    private: String,
    public: String,
}

impl Key {
    fn generate(host: &Host) -> anyhow::Result<Self> {
        let private = host.run("wg", &["genkey"])?.trim().to_owned();
        let public = host.run_with_input("wg", &["pubkey"], &private)?.trim().to_owned();
        Ok(Self { private, public })
    }

    fn interface(&self) -> String {
        format!("[Interface]\nPrivateKey = {}\n", self.private)
    }

    fn peer(&self) -> String {
        format!("[Peer]\nPublicKey = {}\n", self.public)
    }
}
