//! Random managers, links and moves over bad links; afterwards everyone agrees.

use super::*;
use proptest::prelude::*;

const ENDPOINTS: u64 = 20;

/// The highest statement made about each endpoint anywhere: the generation, whether it left with it, and the manager.
type Model = BTreeMap<u64, (u64, bool, u16)>;

struct Run {
    net: Net,
    count: u16,
    model: Model,
    /// A restart loses what was not told yet, and then the model cannot know who wins.
    restarts: bool,
}

impl Run {
    fn new(count: u16, seed: u64, weather: Weather, restarts: bool) -> Self {
        let mut net = Net::new(count, seed);
        net.weather = weather;
        Self { net, count, model: Model::new(), restarts }
    }

    fn any_manager(&mut self) -> u16 {
        1 + self.net.random.below(u64::from(self.count)) as u16
    }

    /// One random event, and some time.
    fn act(&mut self) {
        match self.net.random.below(if self.restarts { 11 } else { 10 }) {
            0..5 => self.attach(),
            5 => self.detach(),
            6..8 => self.raise(),
            8 => self.cut(),
            9 => self.measure(),
            _ => self.restart(),
        }
        let pause = self.net.random.below(40);
        self.net.run(ms(pause));
    }

    /// An endpoint moves. Its count sometimes stands still or goes back, as after a restore from an old backup.
    fn attach(&mut self) {
        let (endpoint, manager) = (self.net.random.below(ENDPOINTS), self.any_manager());
        let known = self.model.get(&endpoint).map_or(1, |highest| highest.0);
        let generation = (known + self.net.random.below(4)).saturating_sub(1);
        self.net.attach(at(endpoint, manager, generation));
        self.record(endpoint, (generation, false, manager));
    }

    fn detach(&mut self) {
        let (endpoint, manager) = (self.net.random.below(ENDPOINTS), self.any_manager());
        let generation = self.model.get(&endpoint).map_or(1, |highest| highest.0);
        self.net.with(manager, |mesh, now| mesh.detach(now, e(endpoint), Generation(generation)));
        self.record(endpoint, (generation, true, 0));
    }

    fn record(&mut self, endpoint: u64, statement: (u64, bool, u16)) {
        let highest = self.model.entry(endpoint).or_insert(statement);
        *highest = statement.max(*highest);
    }

    fn raise(&mut self) {
        let (a, b, rtt) = (self.any_manager(), self.any_manager(), 1 + self.net.random.below(30));
        if a != b {
            self.net.up(a, b, rtt);
        }
    }

    fn cut(&mut self) {
        let (a, b) = (self.any_manager(), self.any_manager());
        if self.net.links.contains_key(&link(a, b)) {
            self.net.down(a, b);
        }
    }

    fn measure(&mut self) {
        let (a, b, rtt) = (self.any_manager(), self.any_manager(), ms(1 + self.net.random.below(100)));
        self.net.with(a, |mesh, now| mesh.handle_link_rtt(now, m(b), rtt));
    }

    fn restart(&mut self) {
        let (manager, first_sequence) = (self.any_manager(), 1 + self.net.random.below(10_000_000));
        self.net.restart(manager, first_sequence);
    }

    fn assert_highest_won(&self) {
        let expected = self.model.iter().filter(|(_, (_, left, _))| !left);
        let expected: Vec<_> =
            expected.map(|(&endpoint, &(generation, _, at_))| at(endpoint, at_, generation)).collect();
        for (manager, mesh) in &self.net.meshes {
            assert!(mesh.attachments().eq(expected.iter().copied()), "{manager} does not know the highest");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn after_the_last_fault_everyone_agrees(
        count in 2u16..=6,
        seed: u64,
        loss_percent in 0u64..=30,
        jitter in 0u64..=60,
        events in 1usize..150,
        restarts: bool,
    ) {
        let weather = Weather { loss_percent, jitter: ms(jitter) };
        let mut run = Run::new(count, seed, weather, restarts);
        (0..events).for_each(|_| run.act());
        run.net.settle();
        run.net.assert_agreement();

        // The last gaps close: a chain of links is enough.
        for manager in 1..count {
            if !run.net.links.contains_key(&link(manager, manager + 1)) {
                run.net.up(manager, manager + 1, 10);
            }
        }
        let messages = run.net.settle();
        run.net.assert_agreement();
        if !restarts {
            run.assert_highest_won();
        }
        prop_assert!(messages < 200 * u64::from(count), "{} messages to close the gaps", messages);

        let before = run.net.sent;
        run.net.run(Duration::from_secs(1800));
        prop_assert_eq!(run.net.sent, before, "a quiet network sends nothing");
    }
}
