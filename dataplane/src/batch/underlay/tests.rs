use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use proptest::prelude::*;

use super::*;

fn path(port: u16) -> UnderlayPath {
    UnderlayPath { remote: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), local: None }
}

fn grouped(max_segments: usize, datagrams: &[(u16, usize)]) -> Vec<(u16, usize, usize)> {
    let mut batch = UnderlayBatch::new(max_segments);
    for &(port, len) in datagrams {
        batch.push(path(port), &vec![0; len]);
    }
    batch.groups().map(|group| (group.path.remote.port(), group.segment_size, group.bytes.len())).collect()
}

proptest! {
    #[test]
    fn every_path_gets_its_datagrams_in_order(
        max_segments in 1usize..70,
        datagrams in proptest::collection::vec((0u16..12, prop_oneof![Just(1400usize), 1usize..1500, 60_000usize..65_536], 0usize..100), 0..200),
    ) {
        let mut batch = UnderlayBatch::new(max_segments);
        let mut expected: BTreeMap<u16, Vec<Vec<u8>>> = BTreeMap::new();
        for (number, &(port, len, slack)) in datagrams.iter().enumerate() {
            let datagram = vec![number as u8; len];
            batch.reserve(path(port), (len + slack).min(65_535))[..len].copy_from_slice(&datagram);
            batch.commit(len);
            expected.entry(port).or_default().push(datagram);
        }
        prop_assert_eq!(batch.len(), datagrams.len());
        let mut sent: BTreeMap<u16, Vec<Vec<u8>>> = BTreeMap::new();
        for group in batch.groups() {
            let count = group.datagrams().count();
            prop_assert!(count == 1 || (count <= max_segments && group.bytes.len() <= MAX_UDP_PAYLOAD));
            sent.entry(group.path.remote.port()).or_default().extend(group.datagrams().map(<[u8]>::to_vec));
        }
        prop_assert_eq!(sent, expected);
    }
}

#[test]
fn equal_datagrams_travel_together_and_a_shorter_one_comes_last() {
    assert_eq!(grouped(64, &[(1, 10), (1, 10), (1, 4), (1, 10)]), [(1, 10, 24), (1, 10, 10)]);
    assert_eq!(grouped(64, &[(1, 4), (1, 10), (1, 10)]), [(1, 4, 4), (1, 10, 20)]);
}

#[test]
fn flows_to_several_paths_are_told_apart() {
    assert_eq!(grouped(64, &[(1, 10), (2, 20), (1, 10), (2, 20)]), [(1, 10, 20), (2, 20, 40)]);
}

#[test]
fn limits_close_a_group() {
    assert_eq!(grouped(2, &[(1, 10); 5]), [(1, 10, 20), (1, 10, 20), (1, 10, 10)]);
    assert_eq!(grouped(1, &[(1, 10); 2]), [(1, 10, 10), (1, 10, 10)]);
    assert_eq!(grouped(64, &[(1, 30_000); 3]), [(1, 30_000, 60_000), (1, 30_000, 30_000)]);
}

#[test]
fn a_reservation_that_came_to_nothing_leaves_no_trace() {
    let mut batch = UnderlayBatch::new(64);
    batch.reserve(path(1), 100).fill(1);
    batch.commit(0);
    batch.reserve(path(2), 100).fill(1);
    batch.push(path(1), &[5; 10]);
    batch.commit(7);
    batch.reserve(path(1), 100).fill(1);
    assert_eq!(batch.len(), 1);
    let groups: Vec<_> = batch.groups().collect();
    assert_eq!(groups, [UnderlayGroup { path: path(1), segment_size: 10, bytes: &[5; 10] }]);
}

#[test]
fn a_batch_that_is_used_again_needs_no_new_memory() {
    let mut batch = UnderlayBatch::new(64);
    let fill = |batch: &mut UnderlayBatch| {
        (0..100).for_each(|number| batch.push(path(number % 3), &[0; 1400]));
        let at = batch.groups().map(|group| group.bytes.as_ptr()).collect::<Vec<_>>();
        batch.clear();
        assert!(batch.is_empty());
        at
    };
    assert_eq!(fill(&mut batch), fill(&mut batch));
}
