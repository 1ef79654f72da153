//! The links between all managers, and the shortest paths over them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use festoon_proto::ManagerId;
use festoon_proto::signal::LinkState;

use super::own_links::RTT_NOISE;

/// What passing through one more manager costs in microseconds, so that a hair's breadth in round-trip times does not
/// turn traffic away from a direct link: what a link state may be off for good.
const HOP_COST: u64 = RTT_NOISE.as_micros() as u64;
/// Link states kept of managers that are not members: the registry may yet say that they are.
const MAX_STRANGERS: usize = 32;

/// The highest sequence that the first statement of a manager may have, about whom nothing is known: milliseconds since 1970 reach
/// it in the year 10889.
const FIRST_SEQUENCE: u64 = 1 << 48;
/// By how much a sequence may grow from one statement to the next: more than from 1970 until now, where a clock may have been.
const SEQUENCE_LEAP: u64 = 1 << 42;

/// The way to a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    /// The neighbour to send to.
    pub(super) next_hop: ManagerId,
    /// The round-trip times of the links on the way, added up.
    pub(super) rtt: Duration,
}

/// How the paths differ from what they were.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PathChanges {
    /// Some manager has another next hop, or one where there was none, or none where there was one.
    pub(super) next_hops: bool,
    /// Members that could be reached and no longer can.
    pub(super) lost: Vec<ManagerId>,
    /// Members that can be reached and could not.
    pub(super) returned: Vec<ManagerId>,
}

/// The newest link state of each manager, and the paths that follow from them.
#[derive(Debug)]
pub(super) struct Topology {
    me: ManagerId,
    members: BTreeSet<ManagerId>,
    /// Who has been a member. Neighbours that have not heard of it yet may still speak of them.
    removed: BTreeSet<ManagerId>,
    states: BTreeMap<ManagerId, LinkState>,
    paths: BTreeMap<ManagerId, Path>,
}

impl Topology {
    pub(super) fn new(own: LinkState) -> Self {
        Self {
            me: own.origin,
            members: BTreeSet::from([own.origin]),
            removed: BTreeSet::new(),
            states: BTreeMap::from([(own.origin, own)]),
            paths: BTreeMap::new(),
        }
    }

    pub(super) fn is_member(&self, manager: ManagerId) -> bool {
        self.members.contains(&manager)
    }

    pub(super) fn link_state(&self, manager: ManagerId) -> Option<&LinkState> {
        self.states.get(&manager)
    }

    pub(super) fn origins(&self) -> impl Iterator<Item = ManagerId> + '_ {
        self.states.keys().copied()
    }

    pub(super) fn path(&self, manager: ManagerId) -> Option<Path> {
        self.paths.get(&manager).copied()
    }

    /// Replaces the members (this manager always is one), forgets those who no longer are, and names them.
    pub(super) fn set_members(&mut self, members: impl IntoIterator<Item = ManagerId>) -> Vec<ManagerId> {
        let mut members: BTreeSet<_> = members.into_iter().collect();
        members.insert(self.me);
        let gone: Vec<_> = self.members.difference(&members).copied().collect();
        self.removed.extend(&gone);
        self.removed.retain(|manager| !members.contains(manager));
        self.states.retain(|origin, _| !self.removed.contains(origin));
        self.members = members;
        gone
    }

    /// Whether a manager can have come to this sequence. It begins with the time in milliseconds, and grows by one with each
    /// statement. A sequence near the last one there is would be the end of all that the manager could say of itself.
    pub(super) fn is_possible(&self, state: &LinkState) -> bool {
        let known = self.states.get(&state.origin);
        state.sequence <= known.map_or(FIRST_SEQUENCE, |known| known.sequence.saturating_add(SEQUENCE_LEAP))
    }

    /// Holds `state` if it is newer, and says how it compares with what was known: `Greater` is news. [`Topology::refresh`]
    /// makes it count.
    pub(super) fn merge(&mut self, state: LinkState) -> Ordering {
        if self.refuses(state.origin) {
            return Ordering::Equal;
        }
        let known = self.states.get(&state.origin);
        let order = known.map_or(Ordering::Greater, |known| state.sequence.cmp(&known.sequence));
        if order == Ordering::Greater {
            self.states.insert(state.origin, state);
        }
        order
    }

    /// Computes the paths anew.
    pub(super) fn refresh(&mut self) -> PathChanges {
        let paths = self.shortest_paths();
        let before = std::mem::replace(&mut self.paths, paths);
        let next_hops =
            |paths: &BTreeMap<_, Path>| paths.iter().map(|(&to, path)| (to, path.next_hop)).collect::<Vec<_>>();
        let missing_in = |paths: &BTreeMap<_, Path>, of: &BTreeMap<_, Path>| {
            of.keys().filter(|&to| !paths.contains_key(to) && self.members.contains(to)).copied().collect()
        };
        PathChanges {
            next_hops: next_hops(&before) != next_hops(&self.paths),
            lost: missing_in(&self.paths, &before),
            returned: missing_in(&before, &self.paths),
        }
    }

    fn refuses(&self, origin: ManagerId) -> bool {
        let is_new_stranger = !self.members.contains(&origin) && !self.states.contains_key(&origin);
        let strangers = || self.states.keys().filter(|origin| !self.members.contains(origin)).count();
        self.removed.contains(&origin) || (is_new_stranger && strangers() >= MAX_STRANGERS)
    }

    /// Dijkstra's algorithm. Every link costs something, so each next hop is nearer than its predecessor: managers that
    /// know the same link states send nothing in circles.
    fn shortest_paths(&self) -> BTreeMap<ManagerId, Path> {
        let mut paths = BTreeMap::new();
        let mut visited = BTreeSet::new();
        // Cost and round-trip time in microseconds. Ordered by these, then by ids, so that all ties end the same way.
        let mut frontier = BTreeSet::from([(0, 0, self.me, None)]);
        while let Some((cost, rtt, at, first)) = frontier.pop_first() {
            if !visited.insert(at) {
                continue;
            }
            if let Some(next_hop) = first {
                paths.insert(at, Path { next_hop, rtt: Duration::from_micros(rtt) });
            }
            for (neighbour, link) in self.links_of(at) {
                frontier.insert((cost + link + HOP_COST, rtt + link, neighbour, first.or(Some(neighbour))));
            }
        }
        paths
    }

    /// The links of `manager` that both their ends report, with the longer of the two round-trip times in microseconds.
    fn links_of(&self, manager: ManagerId) -> impl Iterator<Item = (ManagerId, u64)> + '_ {
        let neighbours = self.states.get(&manager).map_or(&[][..], |state| &state.neighbours);
        neighbours.iter().filter(|(neighbour, _)| self.members.contains(neighbour)).filter_map(
            move |&(neighbour, rtt)| {
                let back = self.states.get(&neighbour)?.neighbours.iter().find(|(to, _)| *to == manager)?;
                Some((neighbour, u64::from(rtt.max(back.1))))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use festoon_proto::signal::ManagerState;

    const MS: u32 = 1000;

    fn id(manager: u16) -> ManagerId {
        ManagerId(manager)
    }

    fn state(origin: u16, sequence: u64, neighbours: &[(u16, u32)]) -> LinkState {
        let neighbours = neighbours.iter().map(|&(to, rtt)| (id(to), rtt)).collect();
        LinkState { origin: id(origin), sequence, state: ManagerState::Serving, neighbours }
    }

    fn topology(states: &[LinkState]) -> Topology {
        let mut topology = Topology::new(states[0].clone());
        topology.set_members((1..=9).map(id));
        for state in &states[1..] {
            topology.merge(state.clone());
        }
        topology.refresh();
        topology
    }

    #[test]
    fn the_shortest_path_by_rtt_is_taken_but_not_for_a_hairs_breadth() {
        for (direct, next_hop) in [(5 * MS, 2), (2 * MS, 3), (3 * MS - 1, 3)] {
            let topology = topology(&[
                state(1, 1, &[(2, MS), (3, direct)]),
                state(2, 1, &[(1, MS), (3, MS)]),
                state(3, 1, &[(1, direct), (2, MS)]),
            ]);
            assert_eq!(topology.path(id(3)).unwrap().next_hop, id(next_hop), "direct link of {direct} us");
        }
    }

    #[test]
    fn a_link_counts_once_both_ends_report_it() {
        let mut topology = topology(&[state(1, 1, &[(2, MS)]), state(2, 1, &[(3, MS)]), state(3, 1, &[(2, MS)])]);
        assert_eq!(topology.path(id(2)), None);
        topology.merge(state(2, 2, &[(1, 4 * MS), (3, MS)]));
        assert_eq!(topology.refresh(), PathChanges { next_hops: true, lost: Vec::new(), returned: vec![id(2), id(3)] });
        assert_eq!(topology.path(id(3)), Some(Path { next_hop: id(2), rtt: Duration::from_millis(5) }));
        assert_eq!(topology.refresh(), PathChanges::default());
    }

    #[test]
    fn a_lost_member_is_told_from_a_removed_one() {
        let links = [state(1, 1, &[(2, MS)]), state(2, 1, &[(1, MS)])];
        let mut lost = topology(&links);
        lost.merge(state(2, 2, &[]));
        assert_eq!(lost.refresh(), PathChanges { next_hops: true, lost: vec![id(2)], returned: Vec::new() });
        let mut removed = topology(&links);
        assert!(removed.set_members([id(3)]).contains(&id(2)));
        assert_eq!(removed.refresh(), PathChanges { next_hops: true, lost: Vec::new(), returned: Vec::new() });
        assert_eq!(removed.merge(state(2, 9, &[(1, MS)])), Ordering::Equal, "a late echo is refused");
        assert_eq!(removed.link_state(id(2)), None);
    }

    #[test]
    fn link_states_of_strangers_count_once_they_are_members_and_are_bounded() {
        let mut topology = topology(&[state(1, 1, &[(10, MS)])]);
        topology.merge(state(10, 1, &[(1, MS)]));
        assert!(!topology.refresh().next_hops);
        topology.set_members([id(10)]);
        assert_eq!(topology.refresh().returned, [id(10)]);
        for origin in 100..200 {
            topology.merge(state(origin, 1, &[]));
        }
        assert_eq!(topology.origins().count(), 2 + MAX_STRANGERS);
    }
}
