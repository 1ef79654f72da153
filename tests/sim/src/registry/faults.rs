//! What goes wrong, when and for how long.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use festoon_proto::ManagerId;
use tokio::time::sleep;

use super::machine::{Death, Machine};
use super::net::Conditions;
use super::world::World;
use crate::random::Random;

/// A clock that jumps does so by this.
const JUMP_MS: i64 = 3_600_000;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The power of a machine goes, at once or while it writes.
    PowerCut,
    /// The power of all machines goes at once.
    Blackout,
    /// A program is killed; what it wrote stays.
    Kill,
    /// A disk has no room any more.
    Full,
    /// A disk takes long.
    Slow,
    /// A machine comes back with an empty disk.
    DiskLost,
    /// A machine reaches no other, or none reaches it, or both.
    Isolated,
    /// Nothing passes from one machine to another one.
    OneWay,
    /// The machines fall into two groups.
    Partition,
    /// The network loses, delays, doubles and overtakes.
    BadNetwork,
    /// A clock jumps by an hour.
    ClockJump,
}

pub(super) const ALL: [Fault; 14] = [
    Fault::PowerCut,
    Fault::PowerCut,
    Fault::PowerCut,
    Fault::Blackout,
    Fault::Kill,
    Fault::Full,
    Fault::Slow,
    Fault::DiskLost,
    Fault::Isolated,
    Fault::Isolated,
    Fault::OneWay,
    Fault::Partition,
    Fault::BadNetwork,
    Fault::ClockJump,
];

/// How often things go wrong, and which.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    /// Time between two faults.
    pub(super) pause: Range<Duration>,
    /// How long a fault lasts.
    pub(super) lasts: Range<Duration>,
    /// What may go wrong.
    pub(super) faults: Vec<Fault>,
}

/// Makes faults until the world is over, one after the other, and takes each back.
pub(super) async fn make(world: Arc<World>, mut random: Random, weather: Weather) {
    loop {
        sleep(random.duration(weather.pause.clone())).await;
        let Some(&fault) = random.pick(&weather.faults).filter(|_| !world.is_over()) else { return };
        let lasts = random.duration(weather.lasts.clone());
        match fault {
            Fault::Blackout => blackout(&world, &mut random, lasts).await,
            Fault::Partition | Fault::BadNetwork => shared(&world, &mut random, fault, lasts).await,
            _ => of_one(&world, &mut random, fault, lasts).await,
        }
    }
}

/// A fault of one machine that has no other.
async fn of_one(world: &World, random: &mut Random, fault: Fault, lasts: Duration) {
    let machines = world.machines();
    let Some(machine) = random.pick(&machines).filter(|machine| machine.take()) else { return };
    world.note(&format!("{fault:?} of {} for {lasts:?}", machine.id));
    match fault {
        Fault::PowerCut | Fault::Kill | Fault::DiskLost => lose(world, random, machine, fault, lasts).await,
        Fault::Full => fill(random, machine, lasts).await,
        Fault::Slow => {
            machine.set_disk_delay(random.duration(Duration::from_millis(20)..Duration::from_millis(1500)));
            sleep(lasts).await;
            machine.set_disk_delay(Duration::ZERO);
        }
        // One clock at a time, and of three at least: what the majority's clocks show is the time.
        Fault::ClockJump if world.machines().len() > 2 && world.begin_one_less() => {
            machine.set_clock(if random.chance(500) { JUMP_MS } else { -JUMP_MS });
            sleep(lasts).await;
            machine.set_clock(0);
            world.end_one_less();
        }
        Fault::ClockJump => {}
        Fault::OneWay => {
            let others: Vec<ManagerId> = others(&machines, machine.id);
            let Some(&other) = random.pick(&others) else { return machine.give_back() };
            let cut = if random.chance(500) { (machine.id, other) } else { (other, machine.id) };
            cut_for(world, &[cut], lasts).await;
        }
        _ => {
            let (deaf, mute) = *random.pick(&[(true, true), (true, false), (false, true)]).unwrap_or(&(true, true));
            let id = machine.id;
            let others = others(&machines, id).into_iter();
            let ways = others.flat_map(|other| [(deaf, (other, id)), (mute, (id, other))]);
            let cuts: Vec<_> = ways.filter(|(is_cut, _)| *is_cut).map(|(_, way)| way).collect();
            cut_for(world, &cuts, lasts).await;
        }
    }
    machine.give_back();
}

fn others(machines: &[Arc<Machine>], id: ManagerId) -> Vec<ManagerId> {
    machines.iter().map(|machine| machine.id).filter(|other| *other != id).collect()
}

async fn cut_for(world: &World, ways: &[(ManagerId, ManagerId)], lasts: Duration) {
    ways.iter().for_each(|(from, to)| world.net.cut(*from, *to));
    sleep(lasts).await;
    ways.iter().for_each(|(from, to)| world.net.mend(*from, *to));
}

/// The program of a machine dies, and is there again.
async fn lose(world: &World, random: &mut Random, machine: &Machine, fault: Fault, lasts: Duration) {
    let losses = machine.disk().losses();
    let death = match fault {
        Fault::Kill => Death::Kill,
        // A copy that is lost is one less: at most one at a time, and only while all others are there. Those that remain
        // must be a majority, for it is they who agree to the new member.
        Fault::DiskLost if world.machines().len() > 2 && world.is_whole() && world.begin_one_less() => Death::DiskLost,
        _ if random.chance(700) => Death::PowerCutSoon(random.in_range(0..12)),
        _ => Death::PowerCut,
    };
    machine.die(death, lasts, random.chance(200));
    if let Death::PowerCutSoon(_) = death {
        // It may have nothing to write.
        wait_for(Duration::from_secs(2), || machine.disk().losses() > losses).await;
        if machine.disk().losses() == losses {
            machine.die(Death::PowerCut, lasts, false);
        }
    }
    let is_back = || world.net.process(machine.id).is_some() && (death != Death::DiskLost || world.is_whole());
    sleep(lasts).await;
    // The fault is over when the machine is back, but its members' votes take as long as they take.
    let patience = if death == Death::DiskLost { Duration::from_secs(60) } else { Duration::from_secs(2) };
    wait_for(patience, is_back).await;
    if death == Death::DiskLost {
        world.end_one_less();
    }
}

/// The disk of a machine is full, until its program has ended or somebody makes room.
async fn fill(random: &mut Random, machine: &Machine, lasts: Duration) {
    let disk = machine.disk();
    let room = disk.len() + random.in_range(0..20_000) as usize;
    disk.set_limit(Some(room));
    wait_for(lasts, || !disk.is_limited()).await;
    disk.set_limit(None);
}

async fn wait_for(patience: Duration, mut is_so: impl FnMut() -> bool) {
    let step = Duration::from_millis(2);
    let mut waited = Duration::ZERO;
    while !is_so() && waited < patience {
        sleep(step).await;
        waited += step;
    }
}

/// All machines lose their power at the same moment.
async fn blackout(world: &World, random: &mut Random, lasts: Duration) {
    let taken: Vec<_> = world.machines().into_iter().filter(|machine| machine.take()).collect();
    world.note(&format!("Blackout of {} machines", taken.len()));
    for machine in &taken {
        machine.die(Death::PowerCut, random.duration(Duration::ZERO..lasts), random.chance(200));
    }
    sleep(lasts).await;
    taken.iter().for_each(|machine| machine.give_back());
}

/// A fault of the network as a whole.
async fn shared(world: &World, random: &mut Random, fault: Fault, lasts: Duration) {
    world.note(&format!("{fault:?} for {lasts:?}"));
    if fault == Fault::BadNetwork {
        world.net.set_conditions(bad(random));
        sleep(lasts).await;
        world.net.set_conditions(Conditions::good());
        return;
    }
    let sides: Vec<_> = world.machines().iter().map(|machine| (machine.id, random.chance(500))).collect();
    let pairs = sides.iter().flat_map(|from| sides.iter().map(move |to| (from, to)));
    let across = pairs.filter(|((_, from), (_, to))| from != to);
    let ways: Vec<_> = across.map(|((from, _), (to, _))| (*from, *to)).collect();
    cut_for(world, &ways, lasts).await;
}

fn bad(random: &mut Random) -> Conditions {
    let most = random.duration(Duration::from_millis(10)..Duration::from_millis(300));
    Conditions {
        latency: Duration::from_millis(1)..most,
        loss: random.in_range(0..300) as u32,
        duplicates: random.in_range(0..300) as u32,
        late: random.in_range(0..100) as u32,
    }
}
