use super::*;

const INTERVAL: Duration = Duration::from_millis(100);

/// A virtual clock and one other end with a fixed round-trip time.
struct Bench {
    now: Instant,
    liveness: Liveness,
    rtt: Duration,
    /// Answers under way, with their time of arrival.
    answers: VecDeque<(Instant, u32)>,
    probes: u32,
    handshakes: u32,
    verdicts: Vec<(Duration, Verdict)>,
    start: Instant,
}

impl Bench {
    fn new(rtt: Duration) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
        let now = Instant::now();
        let liveness = Liveness::new(INTERVAL, now);
        Self {
            now,
            liveness,
            rtt,
            answers: VecDeque::new(),
            probes: 0,
            handshakes: 0,
            verdicts: Vec::new(),
            start: now,
        }
    }

    /// Runs for `time`; `answered` decides for each probe whether its answer comes, `traffic` how often packets arrive.
    fn run(&mut self, time: Duration, traffic: Option<Duration>, mut answered: impl FnMut(u32) -> bool) {
        let end = self.now + time;
        let mut next_packet = traffic.map(|every| self.now + every);
        loop {
            let arrival = self.answers.front().map(|&(at, _)| at);
            let next = [Some(self.liveness.poll_timeout()), arrival, next_packet].into_iter().flatten().min().unwrap();
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if arrival.is_some_and(|at| at <= self.now) {
                let (_, sequence) = self.answers.pop_front().unwrap();
                self.liveness.handle_answer(self.now, sequence);
            }
            if let (Some(at), Some(every)) = (next_packet, traffic)
                && at <= self.now
            {
                self.liveness.handle_traffic(self.now);
                next_packet = Some(at + every);
            }
            self.liveness.handle_timeout(self.now);
            self.collect(&mut answered);
        }
    }

    fn collect(&mut self, answered: &mut impl FnMut(u32) -> bool) {
        while let Some(action) = self.liveness.poll_action() {
            match action {
                Action::Handshake => {
                    self.handshakes += 1;
                    if answered(0) {
                        self.liveness.handle_session(self.now);
                    }
                }
                Action::Probe(sequence) => {
                    self.probes += 1;
                    if answered(sequence) {
                        self.answers.push_back((self.now + self.rtt, sequence));
                    }
                }
            }
        }
        while let Some(verdict) = self.liveness.poll_verdict() {
            self.verdicts.push((self.now - self.start, verdict));
        }
    }

    fn alive(rtt: Duration) -> Self {
        let mut bench = Self::new(rtt);
        bench.run(Duration::from_secs(2), None, |_| true);
        assert_eq!(bench.verdicts.len(), 1);
        bench.verdicts.clear();
        bench.start = bench.now;
        bench
    }

    fn run_until_suspected(&mut self) {
        while !self.liveness.is_suspect() {
            self.run(MS, None, |_| false);
        }
    }

    fn died_after(&self) -> Option<Duration> {
        self.verdicts.iter().find(|(_, verdict)| *verdict == Verdict::Dead).map(|&(at, _)| at)
    }
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn silence_is_death_within_300_ms_and_life_is_seen_again() {
    let mut bench = Bench::alive(MS);
    bench.run(MS * 300, None, |_| false);
    assert!(bench.died_after().is_some(), "{:?}", bench.verdicts);
    bench.run(MS * 2500, None, |_| true);
    assert_eq!(bench.verdicts.last().unwrap().1, Verdict::Alive);
    assert!(bench.handshakes > 0);
}

#[test]
fn a_hint_makes_it_death_within_100_ms_but_never_by_itself() {
    let mut bench = Bench::alive(MS);
    bench.liveness.handle_hint(bench.now);
    bench.run(MS * 100, None, |_| false);
    assert!(bench.died_after().is_some());

    let mut bench = Bench::alive(MS);
    for _ in 0..1000 {
        bench.liveness.handle_hint(bench.now);
        bench.run(MS * 7, None, |_| true);
    }
    assert_eq!(bench.died_after(), None);
}

#[test]
fn thousands_of_hints_start_a_few_bursts_while_traffic_flows() {
    for traffic in [Some(MS), None] {
        let mut bench = Bench::alive(MS);
        let before = bench.probes;
        for _ in 0..20_000 {
            bench.liveness.handle_hint(bench.now);
            bench.collect(&mut |_| true);
            bench.run(MS / 10, traffic, |_| true);
        }
        // In two seconds there are twenty intervals: a burst and a probe in each, and the bursts at the beginning.
        let probes = bench.probes - before;
        assert!(probes <= 3 + 2 * 20, "{probes} probes with traffic every {traffic:?}");
        assert_eq!(bench.died_after(), None);
    }
}

#[test]
fn a_hint_that_waits_for_its_turn_is_followed() {
    let mut bench = Bench::alive(MS);
    for _ in 0..100 {
        bench.liveness.handle_hint(bench.now);
        bench.run(MS, Some(MS / 2), |_| true);
    }
    let from = bench.now;
    bench.liveness.handle_hint(bench.now);
    bench.run(MS * 250, None, |_| false);
    let died = bench.died_after().expect("it is dead");
    assert!(died <= from - bench.start + MS * 200, "{died:?}");
}

#[test]
fn ten_percent_of_lost_round_trips_never_kill_in_an_hour() {
    let mut bench = Bench::alive(MS * 20);
    let mut state = 1_u64;
    bench.run(Duration::from_secs(3600), None, |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        !(state >> 33).is_multiple_of(10)
    });
    assert_eq!(bench.died_after(), None);
    assert!(bench.verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Suspected));
}

#[test]
fn one_answer_out_of_a_burst_is_life() {
    let mut bench = Bench::alive(MS);
    bench.run_until_suspected();
    let mut probes = 0;
    bench.run(MS * 1000, None, |_| {
        probes += 1;
        probes % (BURST - 1) == 0
    });
    assert_eq!(bench.died_after(), None);
}

#[test]
fn traffic_alone_saves_probes_but_does_not_hide_a_dead_way_out() {
    let mut bench = Bench::alive(MS);
    bench.run(Duration::from_secs(1), Some(MS * 5), |_| true);
    let before = bench.probes;
    bench.run(Duration::from_secs(10), Some(MS * 5), |_| true);
    assert!(bench.probes - before <= 10 * 5, "{} probes in 10 s of traffic", bench.probes - before);
    bench.start = bench.now;
    bench.run(Duration::from_secs(1), Some(MS * 5), |_| false);
    let died = bench.died_after().expect("a dead way out goes unnoticed");
    assert!(died > PATIENCE_WITH_TRAFFIC && died < MS * 900, "{died:?}");
}

#[test]
fn who_was_stopped_itself_asks_again_before_it_judges() {
    let mut bench = Bench::alive(MS);
    bench.run_until_suspected();
    bench.now += Duration::from_secs(5);
    bench.run(Duration::from_secs(1), None, |_| true);
    assert_eq!(bench.died_after(), None);
}

#[test]
fn a_machine_that_is_always_late_still_comes_to_a_verdict() {
    let mut bench = Bench::alive(MS);
    bench.run_until_suspected();
    for _ in 0..30 {
        bench.now = bench.liveness.poll_timeout() + MS * 40;
        bench.run(MS, None, |_| false);
    }
    assert!(bench.died_after().is_some_and(|time| time < Duration::from_secs(2)), "{:?}", bench.verdicts);
}

#[test]
fn a_long_way_is_given_its_time() {
    let mut bench = Bench::alive(MS * 250);
    bench.run(Duration::from_secs(60), None, |_| true);
    assert_eq!(bench.verdicts, []);
    assert_eq!(bench.liveness.rtt().unwrap().as_millis(), 250);
}

#[test]
fn a_probe_lost_right_after_a_new_session_does_not_cost_a_long_retry() {
    let mut bench = Bench::alive(MS);
    bench.run(Duration::from_secs(20), None, |_| false);
    let before = bench.handshakes;
    while bench.handshakes == before {
        bench.run(MS, None, |sequence| sequence == 0);
    }
    bench.run(FIRST_RETRY + MS * 10, None, |_| true);
    assert!(bench.liveness.is_alive());
}

#[test]
fn one_that_makes_sessions_but_answers_no_probe_is_not_tried_more_often() {
    let mut bench = Bench::alive(MS);
    bench.run(Duration::from_secs(20), None, |_| false);
    let before = bench.handshakes;
    bench.run(Duration::from_secs(60), None, |sequence| sequence == 0);
    assert!(bench.handshakes - before <= 33, "{} handshakes a minute", bench.handshakes - before);
}

#[test]
fn a_dead_end_that_speaks_is_asked_now_and_then_not_for_every_packet() {
    let mut bench = Bench::alive(MS);
    bench.run(Duration::from_secs(20), None, |_| false);
    let (probes, handshakes) = (bench.probes, bench.handshakes);
    bench.run(Duration::from_secs(20), Some(MS), |_| false);
    assert!(!bench.liveness.is_alive());
    let (probes, handshakes) = (bench.probes - probes, bench.handshakes - handshakes);
    assert!((40..100).contains(&probes) && handshakes <= 11, "{probes} probes, {handshakes} handshakes");
    bench.run(FIRST_RETRY + MS * 10, Some(MS), |_| true);
    assert!(bench.liveness.is_alive());
}
