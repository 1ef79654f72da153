//! What holds after any log.

use std::collections::BTreeSet;

use festoon_proto::map::MapVersion;
use proptest::prelude::*;

use super::accounts::any_account_command;
use super::*;

fn any_addresses() -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![
        4 => Just(vec![]),
        1 => Just(vec!["172.31.0.5"]),
        1 => Just(vec!["172.31.0.6", "2001:db8::5"]),
        1 => Just(vec!["192.0.2.4"]),
    ]
}

fn any_endpoint_command() -> impl Strategy<Value = Command> {
    let small = 1_u8..12;
    let time = 0..2 * HOUR;
    prop_oneof![
        (small.clone(), 1_u32..4, any_addresses()).prop_map(|(n, net, fixed)| {
            let Command::CreateToken(token) = token(n, net) else { unreachable!() };
            Command::CreateToken(CreateToken { addresses: addresses(&fixed), ..token })
        }),
        (small.clone(), small.clone(), time.clone()).prop_map(|(t, n, now)| join_as(t, n, now)),
        (small.clone(), small.clone(), any_addresses()).prop_map(|(name, n, fixed)| client_at(
            &format!("c{name}"),
            n,
            &fixed
        )),
        (1_u64..12, time.clone()).prop_map(|(n, now)| remove_at(n, now)),
        (1_u64..12, small, 0..HOUR, time).prop_map(|(n, new, now, overlap)| {
            Command::RotateEndpointKey(RotateEndpointKey {
                endpoint: EndpointId(n),
                shown: None,
                new_key: key(new),
                credential: None,
                now: UnixMs(now),
                overlap_until: UnixMs(now + overlap),
            })
        }),
        (0..2_000 * HOUR).prop_map(|now| Command::Expire(UnixMs(now))),
    ]
}

fn any_network_command() -> impl Strategy<Value = Command> {
    let prefixes = ["10.0.0.0/30", "192.0.2.0/29", "2001:db8::/125", "172.31.0.0/28"];
    let prefix = proptest::sample::select(prefixes.to_vec());
    let ranges = prop_oneof![Just(vec![]), Just(vec!["172.31.0.4-172.31.0.7"]), Just(vec!["192.0.2.2"])];
    prop_oneof![
        (1_u8..12).prop_map(|n| network(&format!("n{n}"), &["192.0.2.0/29", "2001:db8::/125"])),
        (1_u32..3, prefix.clone()).prop_map(|(n, prefix)| {
            let (network, add_prefixes) = (NetworkId(n), vec![prefix.parse().unwrap()]);
            Command::UpdateNetwork(UpdateNetwork { network, add_prefixes, ..update_network() })
        }),
        (1_u32..3, prefix).prop_map(|(n, prefix)| {
            let (network, remove_prefixes) = (NetworkId(n), vec![prefix.parse().unwrap()]);
            Command::UpdateNetwork(UpdateNetwork { network, remove_prefixes, ..update_network() })
        }),
        ranges.prop_map(|ranges| reserve(&ranges)),
    ]
}

fn any_manager_command() -> impl Strategy<Value = Command> {
    let (small, manager) = (1_u8..12, 1_u16..5);
    prop_oneof![
        small.clone().prop_map(manager_token),
        small.clone().prop_map(witness_token),
        (small.clone(), small.clone(), any::<bool>()).prop_map(|(t, n, witness)| {
            let Command::JoinManager(mut join) = join_manager(t, n) else { unreachable!() };
            if witness {
                let (role, underlay, seal_key) = (ManagerRole::Witness, Vec::new(), None);
                join.manager = ManagerSpec { role, underlay, seal_key, ..join.manager };
            }
            Command::JoinManager(join)
        }),
        manager.clone().prop_map(|n| Command::RemoveManager(ManagerId(n))),
        (manager.clone(), 0_u32..3).prop_map(|(n, incarnation)| {
            Command::RenewManager(RenewManager { manager: ManagerId(n), incarnation })
        }),
        (manager.clone(), small).prop_map(|(n, new)| {
            let (manager, new_key) = (ManagerId(n), key(new));
            Command::RotateManagerKey(RotateManagerKey {
                manager,
                new_key,
                now: UnixMs(1),
                overlap_until: UnixMs(HOUR),
            })
        }),
        (manager, 1_u16..3).prop_map(|(n, format)| {
            let release = format!("1.{format}");
            Command::AnnounceProgram(AnnounceProgram { manager: ManagerId(n), format: format.min(FORMAT), release })
        }),
    ]
}

fn any_log() -> impl Strategy<Value = Vec<Command>> {
    let any = prop_oneof![6 => any_endpoint_command(), 2 => any_network_command(), 1 => any_manager_command(), 2 => any_account_command()];
    proptest::collection::vec(any, 0..120).prop_map(|mut log| {
        log.splice(0..0, [bootstrap(), network("default", &["172.31.0.0/28", "2001:db8::/125"])]);
        log
    })
}

proptest! {
    #[test]
    fn the_same_log_gives_the_same_state(log in any_log()) {
        let (first, second) = (replay(&log), replay(&log));
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(postcard::to_stdvec(&first.0).unwrap(), postcard::to_stdvec(&second.0).unwrap());
    }

    #[test]
    fn a_state_survives_the_disk_and_goes_on_the_same(log in any_log(), at in 2_usize..122) {
        let at = at.min(log.len());
        let bytes = postcard::to_stdvec(&replay(&log[..at]).0).unwrap();
        let mut state: State = postcard::from_bytes(&bytes).unwrap();
        for (index, command) in (at as u64 + 1..).zip(&log[at..]) {
            let bytes = postcard::to_stdvec(command).unwrap();
            if let Ok((next, _)) = apply(&state, index, &postcard::from_bytes(&bytes).unwrap()) {
                state = next;
            }
        }
        prop_assert_eq!(state, replay(&log).0);
    }

    #[test]
    fn the_index_is_that_of_the_records_after_every_command(log in any_log()) {
        let mut state = State::default();
        for (index, command) in (1..).zip(&log) {
            if let Ok((next, _)) = apply(&state, index, command) {
                prop_assert!(next.index_agrees(), "after {:?}", command);
                state = next;
            }
        }
    }

    #[test]
    fn what_is_refused_changes_nothing_and_what_is_done_has_its_index(log in any_log()) {
        let (state, results) = replay(&log);
        let last = results.iter().rposition(Result::is_ok).map_or(0, |at| at as u64 + 1);
        prop_assert_eq!(state.version(), MapVersion(last));
        for refusal in results.iter().filter_map(|result| result.as_ref().err()) {
            prop_assert!(!refusal.to_string().contains('\n') && !refusal.kind().is_empty());
        }
    }

    #[test]
    fn nothing_is_given_away_twice(log in any_log()) {
        let state = replay(&log).0;
        let (mut addresses, mut names, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for endpoint in state.endpoints() {
            let network = state.network(endpoint.network).unwrap();
            for address in endpoint.addresses.iter() {
                prop_assert!(addresses.insert((endpoint.network, address)), "{} twice", address);
                prop_assert!(network.prefixes.iter().any(|prefix| prefix.net.contains(&address)));
                prop_assert!(network.prefixes.iter().all(|prefix| prefix.gateway() != address));
                prop_assert!(network.prefixes.iter().all(|prefix| prefix.net.network() != address));
                prop_assert_eq!(state.owner(endpoint.network, address), Some(endpoint.id));
            }
            prop_assert!(names.insert((endpoint.network, endpoint.name.clone())));
            prop_assert!(endpoint.keys().all(|key| keys.insert(key)));
        }
        prop_assert!(state.managers().flat_map(Manager::keys).all(|key| keys.insert(key)));
        prop_assert!(state.managers().count() <= MAX_MANAGERS);
        prop_assert!(state.full_managers().count() >= 1);
    }
}

#[test]
fn a_state_that_contradicts_itself_is_not_read() {
    let (state, last) = last_of(&[client("a", 1), client("b", 2)]);
    assert!(last.is_ok());
    let good = postcard::to_stdvec(&state).unwrap();
    assert!(postcard::from_bytes::<State>(&good).is_ok());
    // The second endpoint with the key, the name or the address of the first.
    for (from, to) in [(&[2; 32][..], &[1; 32][..]), (b"\x01b", b"\x01a"), (&[172, 31, 0, 3], &[172, 31, 0, 2])] {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        let mut bad = good.clone();
        bad[at..at + to.len()].copy_from_slice(to);
        assert!(postcard::from_bytes::<State>(&bad).is_err(), "{to:?}");
    }
}
