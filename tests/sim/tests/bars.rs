//! Each bar of failover as a scenario of its own, over many seeds.

use std::collections::BTreeMap;
use std::time::Duration;

use festoon_proto::{EndpointId, ManagerId};
use festoon_sim::fault::Ways;
use festoon_sim::invariants::{FailoverTime, NoSwitch};
use festoon_sim::observation::{Observation, Sent};
use festoon_sim::{Cluster, Conditions, Fault, Layout, NodeId, Run, World};

const SEEDS: u64 = 10;
const M1: ManagerId = ManagerId(1);
const M2: ManagerId = ManagerId(2);
const A: EndpointId = EndpointId(1);
const B: EndpointId = EndpointId(2);
const WARM: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_millis(5);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn node(manager: ManagerId) -> NodeId {
    NodeId::Manager(manager)
}

/// A world in which every pair of endpoints sends a packet every 5 ms, and `m1` is preferred.
fn world(seed: u64, priorities: &[u8], conditions: Conditions) -> World {
    let mut world = World::new(seed, Cluster::new(&Layout::new(priorities, 2)), conditions);
    for (from, to) in world.cluster().pairs() {
        world.start_flow(from, to, PING, u64::MAX);
    }
    world
}

fn pass(run: &mut Run, time: Duration) {
    let outcome = run.run_for(time).map_err(|violation| violation.to_string());
    assert_eq!(outcome, Ok(()), "\n{}", run.history());
}

fn moves(run: &mut Run) -> Vec<(Duration, EndpointId, ManagerId)> {
    let moved = |(at, observation): &(Duration, Observation)| match *observation {
        Observation::Moved { endpoint, to, .. } => Some((*at, endpoint, to)),
        _ => None,
    };
    run.world().observations().iter().filter_map(moved).collect()
}

fn actives(run: &mut Run) -> Vec<Option<ManagerId>> {
    let endpoints: Vec<_> = run.world().cluster().agents().iter().map(|agent| agent.id).collect();
    endpoints.into_iter().map(|endpoint| run.world().active(endpoint).0).collect()
}

/// Packets sent since the world is warm that did not arrive.
fn undelivered(run: &mut Run, until: Duration) -> Vec<Sent> {
    let sent = run.world().sent().iter().filter(|sent| sent.at > WARM && sent.at < until);
    let mut missing: BTreeMap<u64, Sent> = sent.map(|sent| (sent.id, *sent)).collect();
    for (_, observation) in run.world().observations() {
        if let Observation::Delivered(delivered) = observation {
            missing.remove(&delivered.sent.id);
        }
    }
    missing.into_values().collect()
}

/// Every stream survives `fault` with no gap longer than `bar`.
fn failover(priorities: &[u8], fault: &[Fault], bar: Duration) {
    for seed in 0..SEEDS {
        let mut run = Run::new(world(seed, priorities, Conditions::good())).and(FailoverTime::new(WARM, bar));
        pass(&mut run, WARM);
        assert!(actives(&mut run).iter().all(|&active| active == Some(M1)), "seed {seed}");
        // At any moment between two probes.
        pass(&mut run, millis(10 * seed));
        fault.iter().for_each(|&fault| run.world().apply(fault));
        pass(&mut run, seconds(10));
    }
}

#[test]
fn a_killed_manager_whose_host_answers_costs_150_ms() {
    failover(&[100, 50], &[Fault::Kill { manager: M1, icmp: true }], millis(150));
    failover(&[100, 50, 10], &[Fault::Kill { manager: M1, icmp: true }], millis(150));
}

#[test]
fn a_silent_death_costs_300_ms() {
    failover(&[100, 50], &[Fault::Kill { manager: M1, icmp: false }], millis(300));
    failover(&[100, 50, 10], &[Fault::Kill { manager: M1, icmp: false }], millis(300));
}

#[test]
fn a_one_way_cut_costs_a_second_at_most() {
    for endpoint in [A, B] {
        let endpoint = NodeId::Endpoint(endpoint);
        failover(&[100, 50], &[Fault::Cut(node(M1), endpoint, Ways::Forth)], seconds(1));
        failover(&[100, 50], &[Fault::Cut(endpoint, node(M1), Ways::Forth)], seconds(1));
    }
}

#[test]
fn one_whose_path_is_cut_moves_alone_and_still_reaches_the_others() {
    for seed in 0..SEEDS {
        let mut run = Run::new(world(seed, &[100, 50], Conditions::good())).and(FailoverTime::new(WARM, millis(300)));
        pass(&mut run, WARM);
        run.world().apply(Fault::Cut(node(M1), NodeId::Endpoint(A), Ways::Both));
        pass(&mut run, seconds(20));
        assert_eq!(actives(&mut run), [Some(M2), Some(M1), Some(M1), Some(M1)], "seed {seed}");
    }
}

#[test]
fn managers_that_cannot_reach_each_other_go_through_a_third() {
    for seed in 0..SEEDS {
        let mut run =
            Run::new(world(seed, &[100, 50, 10], Conditions::good())).and(FailoverTime::new(WARM, millis(300)));
        pass(&mut run, WARM);
        run.world().apply(Fault::Cut(node(M1), NodeId::Endpoint(A), Ways::Both));
        pass(&mut run, seconds(2));
        run.world().apply(Fault::Cut(node(M1), node(M2), Ways::Both));
        pass(&mut run, seconds(10));
        assert_eq!(actives(&mut run)[0], Some(M2), "seed {seed}");
    }
}

#[test]
fn draining_loses_nothing() {
    for (seed, jitter) in (0..SEEDS).flat_map(|seed| [(seed, 0), (seed, 3)]) {
        let conditions = Conditions { jitter: millis(jitter), ..Conditions::good() };
        let mut run = Run::new(world(seed, &[100, 50, 10], conditions));
        pass(&mut run, WARM + millis(10 * seed));
        run.world().apply(Fault::Drain(M1));
        pass(&mut run, seconds(5));
        assert!(actives(&mut run).iter().all(|&active| active == Some(M2)), "seed {seed}");
        let until = run.world().now() - seconds(1);
        assert_eq!(undelivered(&mut run, until), [], "seed {seed}\n{}", run.history());
        let drained = |(_, seen): &(Duration, Observation)| *seen == Observation::Drained(M1);
        assert!(run.world().observations().iter().any(drained), "seed {seed}");
        // Now it may stop, and nobody needs it.
        run.world().apply(Fault::Kill { manager: M1, icmp: false });
        pass(&mut run, seconds(5));
        let until = run.world().now() - seconds(1);
        assert_eq!(undelivered(&mut run, until), [], "seed {seed}\n{}", run.history());
    }
}

/// Taking back what it changed on its host takes a while, in which the agent goes on hearing its manager.
#[test]
fn one_that_leaves_stays_away() {
    for seed in 0..SEEDS {
        let mut run = Run::new(world(seed, &[100], Conditions::good()));
        pass(&mut run, WARM + millis(10 * seed));
        let endpoints: Vec<_> = run.world().cluster().agents().iter().map(|agent| agent.id).collect();
        endpoints.into_iter().for_each(|endpoint| run.world().apply(Fault::Leave(endpoint)));
        // Without the invariants, which are about endpoints that stay: of one that left a manager remembers nothing.
        run.world().run_for(seconds(2));
        // It says so when nobody is left, and there is no other manager that anybody could go to.
        run.world().apply(Fault::Drain(M1));
        run.world().run_for(seconds(1));
        let drained = |(_, seen): &(Duration, Observation)| *seen == Observation::Drained(M1);
        assert!(run.world().observations().iter().any(drained), "seed {seed}");
    }
}

#[test]
fn neither_loss_nor_jitter_is_a_reason_to_move() {
    let near = Conditions { latency: millis(1)..millis(2), ..Conditions::good() };
    let lossy = Conditions { loss: 50, duplicates: 10, ..near.clone() };
    let jittery = Conditions { jitter: millis(10), ..near };
    for (seed, conditions) in (0..2).flat_map(|seed| [(seed, lossy.clone()), (seed, jittery.clone())]) {
        // Idle endpoints have nothing but their probes to go by, so half of them stay idle.
        let mut world = World::new(seed, Cluster::new(&Layout::new(&[100, 50], 2)), conditions);
        world.start_flow(A, B, millis(50), u64::MAX);
        let mut run = Run::new(world).and(NoSwitch { since: WARM });
        pass(&mut run, seconds(600));
    }
}

#[test]
fn one_that_comes_back_waits_for_the_hold_down() {
    for (seed, freeze) in (0..SEEDS).map(|seed| (seed, seed % 2 == 0)) {
        let mut run = Run::new(world(seed, &[100, 50], Conditions::good()));
        let (fault, remedy) = if freeze {
            (Fault::Freeze(M1), Fault::Thaw(M1))
        } else {
            (Fault::Kill { manager: M1, icmp: true }, Fault::Restart(M1))
        };
        pass(&mut run, WARM);
        run.world().apply(fault);
        pass(&mut run, seconds(5));
        assert!(actives(&mut run).iter().all(|&active| active == Some(M2)), "seed {seed}");
        run.world().apply(remedy);
        let back = run.world().now();
        pass(&mut run, seconds(40));
        assert!(actives(&mut run).iter().all(|&active| active == Some(M1)), "seed {seed}\n{}", run.history());
        let returned: Vec<_> = moves(&mut run).into_iter().filter(|(at, _, to)| *at > back && *to == M1).collect();
        assert_eq!(returned.len(), 4, "each returns once");
        assert!(returned.iter().all(|(at, _, _)| *at >= back + seconds(30)), "seed {seed}: {returned:?}");
    }
}

#[test]
fn when_all_managers_restarted_tunnels_carry_traffic_again_within_5_s() {
    for (seed, away) in (0..SEEDS).zip([1, 3, 10, 60, 200].into_iter().cycle()) {
        let mut run = Run::new(world(seed, &[100, 50], Conditions::good()));
        pass(&mut run, WARM);
        for manager in [M1, M2] {
            run.world().apply(Fault::Kill { manager, icmp: seed % 2 == 0 });
        }
        pass(&mut run, seconds(away));
        run.world().apply(Fault::Restart(M1));
        run.world().apply(Fault::Restart(M2));
        let up = run.world().now();
        pass(&mut run, seconds(5));
        for (from, to) in run.world().cluster().pairs() {
            let arrived = |(at, seen): &(Duration, Observation)| match seen {
                Observation::Delivered(delivered) => {
                    *at > up && delivered.sent.at > up && (delivered.sent.from, delivered.to) == (from, to)
                }
                _ => false,
            };
            let is_connected = run.world().observations().iter().any(arrived);
            assert!(is_connected, "seed {seed}: {from} to {to}, {away} s away\n{}", run.history());
        }
    }
}

#[test]
fn keys_change_all_at_once_or_one_by_one_and_nothing_is_lost() {
    for seed in 0..SEEDS {
        let mut run = Run::new(world(seed, &[100, 50], Conditions::good())).and(NoSwitch { since: WARM });
        pass(&mut run, WARM);
        let nodes = run.world().nodes();
        let apart = millis(if seed % 2 == 0 { 0 } else { 100 * seed });
        for fault in [Fault::NewKey, Fault::ForgetKey] {
            for &node in &nodes {
                run.world().apply(fault(node));
                pass(&mut run, apart);
            }
            pass(&mut run, seconds(3));
        }
        let until = run.world().now() - seconds(1);
        assert_eq!(undelivered(&mut run, until), [], "seed {seed}\n{}", run.history());
    }
}
