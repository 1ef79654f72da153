//! `make acceptance`: every bar, measured. One measurement a file; each builds a lab of its own and adds its figures to the
//! [`Report`] as it gets them. `ONLY=name` runs those whose name begins so.

mod api;
mod asymmetric;
mod bad_datagrams;
mod bad_keys;
mod bad_tokens;
mod blackhole;
mod burst;
mod clocks;
mod drain;
mod events;
mod flood;
mod floods;
mod half_open;
mod hostile;
mod kill9;
mod lan_attacker;
mod leader;
mod load;
mod login_flood;
mod loss;
mod one_way;
mod partition;
mod races;
mod registry_kills;
mod removed;
mod report;
mod resize;
mod restart;
mod restore;
mod revocation;
mod series;
mod size;
mod spoofed;
mod stopped;
mod throughput;
mod webhooks;

use std::env;
use std::process::ExitCode;

use crate::clock::now;
use crate::lab::{Lab, remove_on_signals};
use report::{Limit, Report};

/// Where the figures go.
const RESULT: &str = "target/acceptance.json";

/// A measurement: its name, which its figures' names begin with, and what it does.
struct Measurement {
    name: &'static str,
    run: fn(&Lab, &mut Report) -> anyhow::Result<()>,
}

const ALL: [Measurement; 36] = [
    Measurement { name: "kill9", run: kill9::measure },
    Measurement { name: "blackhole", run: blackhole::measure },
    Measurement { name: "one_way", run: one_way::measure },
    Measurement { name: "drain", run: drain::measure },
    Measurement { name: "loss", run: loss::measure },
    Measurement { name: "stopped", run: stopped::measure },
    Measurement { name: "asymmetric", run: asymmetric::measure },
    Measurement { name: "restart", run: restart::measure },
    Measurement { name: "clocks", run: clocks::measure },
    Measurement { name: "leader_killed", run: leader::measure },
    Measurement { name: "registry_kills", run: registry_kills::measure },
    Measurement { name: "partition", run: partition::measure },
    Measurement { name: "resize", run: resize::measure },
    Measurement { name: "revocation", run: revocation::measure },
    Measurement { name: "restore", run: restore::measure },
    Measurement { name: "access", run: api::access },
    Measurement { name: "schemathesis", run: api::schemathesis },
    Measurement { name: "races", run: races::measure },
    Measurement { name: "burst_idle", run: burst::idle },
    Measurement { name: "burst_busy", run: burst::busy },
    Measurement { name: "events", run: events::measure },
    Measurement { name: "size", run: size::measure },
    Measurement { name: "webhooks", run: webhooks::measure },
    Measurement { name: "throughput", run: throughput::measure },
    Measurement { name: "bad_datagrams", run: bad_datagrams::measure },
    Measurement { name: "bad_keys", run: bad_keys::measure },
    Measurement { name: "bad_tokens", run: bad_tokens::measure },
    Measurement { name: "hostile", run: hostile::measure },
    Measurement { name: "removed", run: removed::measure },
    Measurement { name: "spoofed", run: spoofed::measure },
    Measurement { name: "lan_attacker", run: lan_attacker::measure },
    Measurement { name: "handshake_flood", run: floods::handshakes },
    Measurement { name: "junk_flood", run: floods::junk },
    Measurement { name: "flood", run: flood::measure },
    Measurement { name: "half_open", run: half_open::measure },
    Measurement { name: "login_flood", run: login_flood::measure },
];

/// The whole program. Fails when a bar is not met or could not be measured.
#[must_use]
pub fn main() -> ExitCode {
    match run(&env::var("ONLY").unwrap_or_default()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("festoon-acceptance: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(only: &str) -> anyhow::Result<bool> {
    remove_on_signals()?;
    let chosen: Vec<&Measurement> =
        ALL.iter().filter(|it| it.name.starts_with(only) || only.starts_with(it.name)).collect();
    let names = ALL.map(|it| it.name).join(", ");
    anyhow::ensure!(!chosen.is_empty(), "no measurement is called {only}: there are {names}");
    let mut report = Report::begin();
    for Measurement { name, run } in chosen {
        let start = now();
        if let Err(error) = Lab::run(|lab| run(lab, &mut report)) {
            report.note(&format!("{name}: {error:#}"));
            report.add(&format!("{name}_completed"), 0.0, "of 1", Limit::Exactly(1.0));
        }
        report.note(&format!("{name} took {:.0} s", start.elapsed().as_secs_f64()));
        report.write(RESULT)?;
    }
    Ok(report.end(RESULT))
}
