//! Many want the same at once, through three managers: a token that is good once, and the next free address.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Barrier;
use std::thread;

use super::report::{Limit, Report};
use crate::lab::{Host, Lab, tool};
use crate::overlay::{Overlay, Spec};

const JOINS: usize = 100;
const CREATES: usize = 1_000;

pub(super) fn measure(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let overlay = Overlay::start(lab, &Spec { priorities: &[200, 150, 100], agents: &[], ..Spec::default() })?;
    one_token(&overlay, lab, report)?;
    next_free(&overlay, report)
}

/// As many agents as there are hosts for join with one token.
fn one_token(overlay: &Overlay<'_>, lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let token = overlay.first_manager()?.token()?;
    let program = tool("festoon")?.display().to_string();
    let clouds = overlay.clouds.iter().enumerate();
    let hosts = clouds.map(|(number, cloud)| cloud.host(&format!("crowd{number}")));
    let hosts = hosts.collect::<anyhow::Result<Vec<Host>>>()?;
    let before = overlay.first_manager()?.endpoints()?.len();
    let start = Barrier::new(JOINS);
    let join = |number: usize| {
        let dir = format!("--state-dir={}", lab.dir().join(format!("crowd-{number}")).display());
        let name = format!("--name=crowd-{number}");
        start.wait();
        hosts[number % hosts.len()].run(&program, &[dir.as_str(), "join", &token, &name]).is_ok()
    };
    let joined = thread::scope(|scope| {
        let all: Vec<_> = (0..JOINS).map(|number| scope.spawn(move || join(number))).collect();
        all.into_iter().filter_map(|one| one.join().ok()).filter(|is_in| *is_in).count()
    });
    let added = overlay.first_manager()?.endpoints()?.len() - before;
    report.count("races_token_joined", joined as u64, "of 100", Limit::Exactly(1.0));
    report.count("races_token_endpoints", added as u64, "endpoints", Limit::Exactly(1.0));
    Ok(())
}

/// A thousand clients are added at the same moment, a third through each manager.
fn next_free(overlay: &Overlay<'_>, report: &mut Report) -> anyhow::Result<()> {
    let start = Barrier::new(CREATES);
    let create = |number: usize| {
        let mut admin = overlay.managers[number % overlay.managers.len()].admin();
        start.wait();
        admin.create_client(&format!("racer-{number}"))
    };
    let (mut addresses, mut refused) = (Vec::<IpAddr>::new(), Vec::new());
    thread::scope(|scope| {
        let all: Vec<_> = (0..CREATES).map(|number| scope.spawn(move || create(number))).collect();
        for one in all {
            match one.join() {
                Ok(Ok(got)) => addresses.extend(got),
                Ok(Err(error)) => refused.push(format!("{error:#}")),
                Err(_) => refused.push("a panic".to_owned()),
            }
        }
    });
    if let Some(first) = refused.first() {
        report.note(&format!("races: {} creates were refused, the first with: {first}", refused.len()));
    }
    let families = 2;
    let twice = addresses.len() - addresses.iter().collect::<BTreeSet<_>>().len();
    report.count("races_created", (addresses.len() / families) as u64, "of 1000", Limit::Exactly(CREATES as f64));
    report.count("races_addresses_twice", twice as u64, "addresses", Limit::Exactly(0.0));
    Ok(())
}
