//! The standing attacker: it holds what each position holds, and tries every request of every listener and every signal message
//! from there.
//!
//! Who may do what is written by hand: [`api`] and [`routes`] have a row for each route with the right that it needs, and [`cast`]
//! has the rights of each position. A route or a message that is new and in no table makes this fail. Nothing is concluded from a
//! refusal of what nobody is ever answered.

mod api;
mod bodies;
mod cast;
mod last;
mod messages;
mod metrics;
mod position;
pub mod refusal;
pub mod removed;
mod requests;
mod routes;
mod trail;
mod world;

use std::thread;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::Lab;
use position::Position;
use requests::{Attack, Tally, Target};
use routes::Row;
use world::World;

/// What was tried, and what came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Who tried.
    pub positions: u64,
    /// What was tried over HTTPS: routes with methods, of all listeners.
    pub routes: u64,
    /// Requests and messages.
    pub cases: u64,
    /// Signal messages among them.
    pub messages: u64,
    /// What was answered otherwise than it should be, or changed something.
    pub wrong: Vec<String>,
}

/// Builds an overlay and attacks it.
///
/// # Errors
/// When a route is in no table, a control is refused, or something can't be tried.
pub fn run(lab: &Lab) -> anyhow::Result<Outcome> {
    let world = World::build(lab)?;
    let rows = routes::rows();
    routes::check(&rows, world.overlay.first_manager()?)?;
    let attack = Attack { rows: &rows, names: names(&world)?, csr: cast::strange_request()?, from: &world.attacker };
    let mut tally = Tally::default();
    let attackers = cast::attackers(lab, &world)?;
    let before = trail::last(&world)?;
    ask_all(&world, &attack, &attackers, &mut tally)?;
    // On a machine that is busy it may have moved meanwhile, and moves back.
    world::wait_carried(&world.overlay)?;
    let standing = messages::standing(&world.overlay)?;
    let heard = messages::run(&world, &attackers, &mut tally)?;
    let since = messages::standing(&world.overlay)?;
    if since != standing {
        tally.wrong.push(format!("messages changed something: from {standing} to {since}"));
    }
    metrics::ask(&world, &mut tally)?;
    tally.wrong.extend(trail::since(&world, before)?);
    let controls = cast::controls(&world)?;
    ask_all(&world, &attack, &controls, &mut tally)?;
    last::prove(&world, &attack, &mut tally)?;
    ensure_all_proved(&tally, &rows)?;
    let positions = (attackers.len() + controls.len()) as u64;
    let Tally { cases, wrong, .. } = tally;
    Ok(Outcome { positions, routes: rows.len() as u64, cases, messages: heard, wrong })
}

fn ask_all(world: &World<'_>, attack: &Attack<'_>, positions: &[Position], tally: &mut Tally) -> anyhow::Result<()> {
    let full = world.overlay.managers.iter().map(|manager| Target::new(manager, false));
    let targets = full.chain([Target::new(&world.witness, true)]).collect::<anyhow::Result<Vec<_>>>()?;
    for position in positions {
        let ask = |target: &Target<'_>| {
            let asked = attack.run(position, target);
            asked.with_context(|| format!("{} at {}", position.name, target.manager.name()))
        };
        let asked: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = targets.iter().map(|target| scope.spawn(move || ask(target))).collect();
            threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        for one in asked {
            tally.add(one.map_err(|_| anyhow::anyhow!("a thread broke off"))??);
        }
    }
    Ok(())
}

/// One of everything, by the name of the parameter in paths.
fn names(world: &World<'_>) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut admin = world.overlay.first_manager()?.admin();
    let wanted = json!({"name": "spare", "network": "n1"});
    let made = admin.api("POST", "/join-tokens", &wanted)?;
    let join_token = made["join_token"]["id"].as_str().context("a token without an id")?.to_owned();
    let mut id_of = |list: &str, name: &str| {
        let page = admin.api("GET", list, &Value::Null)?;
        let items = page["items"].as_array().context("this is no list")?;
        let found = items.iter().find(|item| item["name"] == name).and_then(|item| item["id"].as_str());
        found.map(str::to_owned).with_context(|| format!("there is no {name} in {list}"))
    };
    let (endpoint, user) = (id_of("/endpoints", "a")?, id_of("/users", "bystander")?);
    let api_token = id_of("/api-tokens", "program")?;
    Ok(vec![
        ("{network}", "n1".to_owned()),
        ("{endpoint}", endpoint),
        ("{manager}", "m2".to_owned()),
        ("{user}", user),
        ("{session}", "s999999".to_owned()),
        ("{snapshot}", "none.age".to_owned()),
        ("{event_destination}", "d9".to_owned()),
        ("{join_token}", join_token),
        ("{api_token}", api_token),
    ])
}

/// Every path is right: somebody was answered there.
fn ensure_all_proved(tally: &Tally, rows: &[Row]) -> anyhow::Result<()> {
    let unproved: Vec<String> = tally.unproved(rows).iter().map(|row| format!("{} {}", row.method, row.path)).collect();
    ensure!(unproved.is_empty(), "nobody was answered there, so a refusal proves nothing: {unproved:?}");
    Ok(())
}
