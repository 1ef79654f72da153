//! The listener for metrics: it asks nobody who he is, and is on loopback. So nobody reaches it over the network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::ensure;

use super::requests::{Tally, ask as send};
use super::world::World;
use crate::lab::Host;
use crate::tools::ask::{Answer, Conversation, Request};

const PORT: u16 = 8444;
const PATHS: [&str; 3] = ["/metrics", "/healthz", "/readyz"];
/// What the listener says of what it has, to whoever asks for something else.
const ALL: &str = "here are /metrics, /healthz and /readyz";

/// Asks every manager for all of it, from elsewhere. From its own host it is answered, which proves that it is there.
pub(super) fn ask(world: &World<'_>, tally: &mut Tally) -> anyhow::Result<()> {
    for manager in world.overlay.managers.iter().chain([&world.witness]) {
        let here = get(&manager.host, Ipv4Addr::LOCALHOST.into())?;
        let [metrics, _, _, other] = &here[..] else { anyhow::bail!("four answers, not {here:?}") };
        let is_known = String::from_utf8_lossy(&other.body).trim() == ALL;
        ensure!(is_known, "the listener for metrics has something new, which nobody tries: {other:?}");
        ensure!(metrics.status == Some(200), "{} tells no metrics: {metrics:?}", manager.name());
        for (path, answer) in PATHS.iter().zip(get(&world.attacker, manager.host.v4().into())?) {
            tally.cases += 1;
            if answer.status.is_some() {
                tally.wrong.push(format!("nobody at {} (metrics): GET {path}: {answer:?}", manager.name()));
            }
        }
    }
    Ok(())
}

fn get(from: &Host, at: IpAddr) -> anyhow::Result<Vec<Answer>> {
    let request = |path: &&str| Request {
        method: "GET".to_owned(),
        path: (*path).to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    let requests = PATHS.iter().chain(&["/"]).map(request).collect();
    send(from, &Conversation { at: SocketAddr::new(at, PORT), tls: None, requests })
}
