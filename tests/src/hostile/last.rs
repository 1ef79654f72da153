//! What can be shown only once: a good token lets in, an endpoint leaves. And what only root on the machine is answered.

use std::net::SocketAddr;

use anyhow::ensure;

use super::bodies::bodies;
use super::position::{Member, Position};
use super::requests::{Attack, Tally, ask};
use super::routes::{Listener, Right, Row};
use super::world::World;
use crate::tools::ask::{Answer, Conversation, Request, Tls};

/// What a router says of a route that is there, asked for in another way.
const OTHER_METHOD: &str = "405";

/// Shows that all these routes are there, and answer whoever may ask.
pub(super) fn prove(world: &World<'_>, attack: &Attack<'_>, tally: &mut Tally) -> anyhow::Result<()> {
    let first = world.overlay.first_manager()?;
    let guest = Position::new("an endpoint").may(&[Right::Endpoint]).with_agent(&world.guest)?;
    let newcomer = |token: &str| Position::new("a good token").may(&[Right::Token]).with_token(token);
    let once = [
        ("/agent/v1/join", newcomer(&first.token()?)?),
        ("/agent/v1/leave", guest),
        ("/join/v1/manager", newcomer(&first.run(&["tokens", "add", "--manager"])?)?),
    ];
    for (path, position) in once {
        let row = attack.rows.iter().find(|row| row.path == path);
        let answer = row.map(|row| send(world, attack, row, &position)).transpose()?.unwrap_or_default();
        let is_done = answer.status.is_some_and(|status| status < 300);
        ensure!(is_done, "{} is not answered at {path}: {answer:?}", position.name);
        if let Some(row) = row {
            tally.prove(row);
        }
    }
    for row in attack.rows.iter().filter(|row| row.listener == Listener::Socket) {
        ask_socket(world, row)?;
        tally.prove(row);
    }
    Ok(())
}

fn send(world: &World<'_>, attack: &Attack<'_>, row: &Row, position: &Position) -> anyhow::Result<Answer> {
    let manager = world.overlay.first_manager()?;
    let body = bodies(row, position, &Member::read(manager.data_dir())?, &attack.csr)?.swap_remove(0).bytes;
    let request =
        Request { method: row.method.to_owned(), path: row.path.clone(), headers: position.headers.clone(), body };
    let at = SocketAddr::from((manager.host.v4(), 8443));
    let tls = Some(Tls { protocol: None, identity: None });
    Ok(ask(attack.from, &Conversation { at, tls, requests: vec![request] })?.pop().unwrap_or_default())
}

/// Sees that the admin socket has a route, without using it: most of these change the cluster for good.
fn ask_socket(world: &World<'_>, row: &Row) -> anyhow::Result<()> {
    let manager = world.overlay.first_manager()?;
    let (socket, url) =
        (manager.data_dir().join("manager.sock").display().to_string(), format!("http://localhost{}", row.path));
    let args =
        ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--request", "PATCH", "--unix-socket"];
    let status = manager.host.run("curl", &[&args[..], &[&socket, &url]].concat())?;
    ensure!(status == OTHER_METHOD, "the admin socket has no {}: {status}", row.path);
    Ok(())
}
