//! Roles, incarnations, epochs, formats and keys.

use festoon_proto::map::MapVersion;

use super::*;
use crate::compile;

const DAY: u64 = 24 * HOUR;

fn witness(number: u8) -> ManagerSpec {
    ManagerSpec { role: ManagerRole::Witness, seal_key: None, underlay: Vec::new(), ..spec(number) }
}

fn join_with(token: u8, manager: ManagerSpec) -> Command {
    Command::JoinManager(JoinManager { token: hash(token), manager, data_key: None, now: UnixMs(1) })
}

fn renew(manager: u16, incarnation: u32) -> Command {
    Command::RenewManager(RenewManager { manager: ManagerId(manager), incarnation })
}

fn epoch(number: u32, by: u16) -> Command {
    begin_epoch(number, by, 5 + u64::from(number))
}

fn rotate(endpoint: u64, node: u8, now: u64, until: u64) -> Command {
    Command::RotateEndpointKey(RotateEndpointKey {
        endpoint: EndpointId(endpoint),
        shown: None,
        new_key: key(node),
        credential: None,
        now: UnixMs(now),
        overlap_until: UnixMs(until),
    })
}

/// Endpoint 1, which showed the credential of `shown`, has the key and the credential of `node` from now on.
fn rotate_agent(shown: u8, node: u8) -> Command {
    Command::RotateEndpointKey(RotateEndpointKey {
        endpoint: EndpointId(1),
        shown: Some(hash(shown)),
        new_key: key(node),
        credential: Some(hash(node)),
        now: UnixMs(2),
        overlap_until: UnixMs(2),
    })
}

#[test]
fn a_witness_is_in_no_map() {
    let (state, _) = last_of(&[token(1, 1), join_as(1, 1, 1), witness_token(2), join_with(2, witness(2))]);
    let before = last_of(&[token(1, 1), join_as(1, 1, 1)]).0;
    assert_eq!(state.managers().count(), 2);
    assert_eq!(compile::manager_map(&state, ManagerId(1)).unwrap().managers.len(), 1);
    assert_eq!(compile::manager_map(&state, ManagerId(2)), None);
    assert_eq!(compile::endpoint_map(&state, EndpointId(1)), compile::endpoint_map(&before, EndpointId(1)));
    let delta = compile::manager_delta(&before, &state, ManagerId(1)).unwrap();
    assert_eq!(delta.managers, None);
}

#[test]
fn a_newcomer_takes_no_other_beginning_for_that_of_its_cluster() {
    let bootstrap = |number| Command::Bootstrap(Bootstrap { cluster: ClusterId([7; 16]), manager: spec(number) });
    let founded = apply(&State::default(), 1, &bootstrap(1)).unwrap().0;
    let newcomer = State::before(founded.roster().unwrap().founding);
    assert_eq!(apply(&newcomer, 1, &bootstrap(2)).unwrap_err().kind(), "other-cluster");
    assert_eq!(apply(&newcomer, 1, &bootstrap(1)).unwrap().0, founded);
    assert_eq!(apply(&newcomer, 1, &manager_token(2)).unwrap_err().kind(), "no-cluster");
}

#[test]
fn a_token_lets_in_a_manager_of_its_role_alone() {
    assert_eq!(refusal(&[manager_token(2), join_with(2, witness(2))]).0, "token-wrong-kind");
    let full = refusal(&[witness_token(2), join_with(2, spec(2))]);
    assert_eq!(full.0, "token-wrong-kind");
    assert!(full.1.contains("this join token is for a witness"), "{}", full.1);
    let for_endpoint = TokenPreset { is_for_witness: true, ..TokenPreset::default() };
    let Command::CreateToken(endpoint) = token(2, 1) else { unreachable!() };
    let endpoint = Command::CreateToken(CreateToken { preset: for_endpoint, ..endpoint });
    assert_eq!(refusal(&[endpoint]).0, "bad-token");
}

#[test]
fn a_witness_carries_nothing() {
    for spec in
        [ManagerSpec { underlay: spec(2).underlay, ..witness(2) }, ManagerSpec { seal_key: Some(key(3)), ..witness(2) }]
    {
        assert_eq!(refusal(&[witness_token(2), join_with(2, spec)]).0, "manager-is-witness");
    }
    let full = ManagerSpec { role: ManagerRole::Full, ..witness(2) };
    assert_eq!(refusal(&[manager_token(2), join_with(2, full)]).0, "bad-address");
    let first = Command::Bootstrap(Bootstrap { cluster: ClusterId([7; 16]), manager: witness(1) });
    assert_eq!(replay(&[first]).1[0].as_ref().unwrap_err().kind(), "manager-is-witness");
}

#[test]
fn no_two_managers_are_in_one_place() {
    let at = |address: &str| vec![address.parse().unwrap()];
    let move_to = |manager: u16, underlay: Option<&str>, https: Option<&str>| {
        let (underlay, https) = (underlay.map(at), https.map(at));
        Command::UpdateManager(UpdateManager { underlay, https, ..UpdateManager::of(ManagerId(manager)) })
    };
    let joins = |spec: ManagerSpec| [manager_token(2), join_with(2, spec)];
    let (kind, text) = refusal(&joins(ManagerSpec { underlay: spec(1).underlay, ..spec(2) }));
    assert_eq!(kind, "address-taken");
    assert_eq!(
        text,
        "192.0.2.1:51820 belongs to manager m1 (m1): name an address of this machine, or remove that manager first if it is gone"
    );
    for there in ["192.0.2.1:8443", "[::ffff:192.0.2.1]:8443"] {
        let https = vec!["192.0.2.7:8443".parse().unwrap(), there.parse().unwrap()];
        assert_eq!(refusal(&joins(ManagerSpec { https: https.clone(), ..spec(2) })).0, "address-taken");
        assert_eq!(refusal(&[witness_token(2), join_with(2, ManagerSpec { https, ..witness(2) })]).0, "address-taken");
    }
    let two = joins(spec(2));
    let then = |more: &[Command]| last_of(&[&two[..], more].concat()).1.map_err(|refusal| refusal.kind());
    assert_eq!(then(&[move_to(2, Some("192.0.2.1:51820"), None)]), Err("address-taken"));
    assert_eq!(then(&[move_to(2, None, Some("192.0.2.1:8443"))]), Err("address-taken"));
    assert_eq!(then(&[move_to(2, Some("192.0.2.1:51821"), Some("192.0.2.1:51820"))]), Ok(Outcome::Done), "UDP and TCP");
    assert_eq!(then(&[move_to(2, Some("192.0.2.2:51820"), Some("192.0.2.2:8443"))]), Ok(Outcome::Done), "its own");
    let gone = [
        manager_token(3),
        Command::RemoveManager(ManagerId(2)),
        join_with(3, ManagerSpec { name: "m3".to_owned(), ..spec(2) }),
    ];
    assert_eq!(then(&gone), Ok(Outcome::Manager(ManagerId(3))), "whoever is removed makes room");
}

#[test]
fn an_incarnation_only_grows() {
    let (state, last) = last_of(&[renew(1, 3), renew(1, 3)]);
    assert_eq!(last, Ok(Outcome::Done));
    assert_eq!(state.manager(ManagerId(1)).unwrap().incarnation, 3);
    assert_eq!(state.managers_changed(), last_of(&[renew(1, 0)]).0.managers_changed(), "endpoints need not know");
    let (kind, text) = refusal(&[renew(1, 3), renew(1, 2)]);
    assert_eq!(
        (kind, text.as_str()),
        ("manager-incarnation", "m1 has begun anew 3 times and can't go back to 2: ask it again")
    );
    assert_eq!(refusal(&[renew(9, 1)]).0, "manager-unknown");
}

#[test]
fn an_epoch_follows_the_last() {
    let (first, second) = (last_of(&[epoch(2, 1)]).0.epoch(), last_of(&[epoch(2, 1), epoch(3, 1)]).0.epoch());
    assert_eq!((second.number, second.id().began_unix_ms, second.began_from()), (3, 8, MapVersion(5)));
    assert!(second.id() > first.id() && first.id() > EpochId::FIRST);
    for wrong in [0, 1, 3, u32::MAX] {
        assert_eq!(refusal(&[epoch(wrong, 1)]).0, "epoch-not-next");
    }
    // The clock shows the same as before, or less; or nonsense.
    assert_eq!(refusal(&[begin_epoch(2, 1, 9), begin_epoch(3, 1, 9)]).0, "epoch-time");
    assert_eq!(refusal(&[begin_epoch(2, 1, u64::MAX)]).0, "epoch-not-proved");
    let (state, _) = last_of(&[begin_epoch(2, 1, 9)]);
    let next = |now| state.next_epoch(ManagerId(1), UnixMs(now)).map(|epoch| (epoch.number, epoch.began_unix_ms));
    assert_eq!((next(3), next(50)), (Ok((3, 10)), Ok((3, 50))));
    assert_eq!(next(u64::MAX), Err(EpochError::Time), "there is always room for another");
    let Command::BeginEpoch(BeginEpoch { proof }) = epoch(2, 1) else { unreachable!() };
    let forged = EpochProof { signature: signing_key(2).sign("festoon epoch 1", b""), ..proof };
    assert_eq!(refusal(&[Command::BeginEpoch(BeginEpoch { proof: forged })]).0, "epoch-not-proved");
    assert_eq!(refusal(&[epoch(2, 5)]).0, "manager-unknown");
    let (state, _) = last_of(&[witness_token(2), join_with(2, witness(2)), epoch(2, 2)]);
    assert_eq!(state.epoch().id().by, Some(ManagerId(2)), "a witness has a whole copy");
}

#[test]
fn whoever_was_given_an_id_in_a_part_of_the_log_that_is_lost_is_not_taken_for_somebody_else() {
    let lost = last_of(&[token(1, 1), join_as(1, 1, 1)]).0;
    let (state, outcome) = last_of(&[epoch(2, 1), token(1, 1), join_as(1, 1, 1)]);
    let Ok(Outcome::Endpoint(given)) = outcome else { unreachable!() };
    let theirs = lost.endpoints().next().unwrap().id;
    assert_ne!(given, theirs);
    assert!(state.endpoint(theirs).is_none() && state.was_given(theirs), "it is told that it was removed");
    let (_, joined) = last_of(&[epoch(2, 1), manager_token(2), join_manager(2, 2)]);
    assert_eq!(joined, Ok(Outcome::Manager(ManagerId(12))));
}

#[test]
fn the_format_is_what_all_programs_understand_and_never_goes_back() {
    let announce = |manager, format| announce(manager, format, "1.0.0");
    let two = [manager_token(2), join_manager(2, 2)];
    let after = |more: &[Command]| last_of(&[&two[..], more].concat()).0.format();
    assert_eq!(after(&[]), 1);
    assert_eq!(after(&[announce(1, 2)]), 1);
    assert_eq!(after(&[announce(1, 2), announce(2, 2)]), 2);
    assert_eq!(after(&[announce(2, 2), manager_token(3), join_manager(3, 3)]), 1);
    let all = [&two[..], &[announce(1, 2), announce(2, 2)]].concat();
    let then = |more: &[Command]| refusal(&[&all[..], more].concat());
    assert_eq!(then(&[announce(1, 1)]).0, "format-too-old");
    assert_eq!(then(&[manager_token(3), join_manager(3, 3)]).0, "format-too-old");
    assert_eq!(then(&[announce(1, 4)]).0, "format-too-new");
    assert_eq!(after(&[announce(1, 2), manager_token(3), join_manager(3, 3), announce(3, 2)]), 1);
}

#[test]
fn which_release_a_manager_runs_is_known_once_it_says_so() {
    let release = |log: &[Command]| last_of(log).0.manager(ManagerId(1)).unwrap().release.clone();
    assert_eq!(release(&[manager_token(2)]), None);
    assert_eq!(release(&[announce(1, 1, "1.4.2"), announce(1, 1, "1.4.3-rc.1+5")]), Some("1.4.3-rc.1+5".to_owned()));
    for bad in ["", "1.0\n", "eins zwei", &"1".repeat(65)] {
        assert_eq!(refusal(&[announce(1, 1, bad)]).0, "bad-release");
    }
}

fn announce(manager: u16, format: u16, release: &str) -> Command {
    let release = release.to_owned();
    Command::AnnounceProgram(AnnounceProgram { manager: ManagerId(manager), format, release })
}

#[test]
fn a_state_of_another_format_is_refused_by_name() {
    let mut bytes = postcard::to_stdvec(&last_of(&[renew(1, 1)]).0).unwrap();
    assert_eq!(u16::from(bytes[0]), FORMAT);
    bytes[0] = 9;
    assert!(postcard::from_bytes::<State>(&bytes).is_err());
    assert_eq!(
        check_readable(9).unwrap_err().to_string(),
        "this is in format 9, and this program reads 1 and the one before: install the version that wrote it"
    );
}

#[test]
fn two_keys_are_good_while_one_takes_the_place_of_the_other() {
    let keys = |more: &[Command]| {
        let (state, last) = last_of(more);
        assert!(last.is_ok(), "{last:?}");
        state.endpoint(EndpointId(1)).unwrap().keys().collect::<Vec<_>>()
    };
    let added = client("a", 1);
    assert_eq!(keys(&[added.clone(), rotate(1, 2, 1, HOUR)]), [key(2), key(1)]);
    assert_eq!(
        keys(&[added.clone(), rotate(1, 2, 1, HOUR), rotate(1, 2, 9, HOUR)]),
        [key(2), key(1)],
        "the same again"
    );
    assert_eq!(keys(&[added.clone(), rotate(1, 2, 1, HOUR), rotate(1, 3, 9, HOUR)]), [key(3), key(2)]);
    assert_eq!(keys(&[added.clone(), rotate(1, 2, 5, 5)]), [key(2)]);
    assert_eq!(keys(&[added.clone(), rotate(1, 2, 1, HOUR), Command::Expire(UnixMs(HOUR - 1))]), [key(2), key(1)]);
    assert_eq!(keys(&[added.clone(), rotate(1, 2, 1, HOUR), Command::Expire(UnixMs(HOUR))]), [key(2)]);
    let rotated = [added, rotate(1, 2, 1, HOUR)];
    let then = |more: Command| last_of(&[&rotated[..], &[more]].concat()).1.map_err(|refusal| refusal.kind());
    for taken in [1, 2] {
        assert_eq!(then(client("b", taken)), Err("key-taken"));
    }
    assert_eq!(then(rotate(1, 1, 2, HOUR)), Err("key-taken"));
    assert_eq!(then(rotate(1, 3, 2, 1)), Err("bad-overlap"));
    assert_eq!(then(rotate(1, 3, 2, 30 * DAY)), Err("bad-overlap"));
    assert_eq!(then(rotate(2, 3, 2, HOUR)), Err("endpoint-unknown"));
    let (state, _) = last_of(&rotated);
    assert_eq!(state.next_expiry(), Some(UnixMs(HOUR)));
    assert_eq!(state.endpoint(EndpointId(1)).unwrap().changed, state.version());
}

#[test]
fn the_credential_goes_with_the_key_and_of_two_that_hold_it_the_second_gets_nothing() {
    let joined = [token(1, 1), join_as(1, 1, 1)];
    let after = |more: &[Command]| {
        let (state, last) = last_of(&[&joined[..], more].concat());
        let endpoint = state.endpoint(EndpointId(1)).unwrap();
        let holds = (endpoint.public_key, endpoint.credential, endpoint.former_credential());
        (holds, last.map_err(|refusal| refusal.kind()))
    };
    let second = (key(2), Some(hash(2)), Some(hash(1)));
    assert_eq!(after(&[rotate_agent(1, 2)]), (second, Ok(Outcome::Done)));
    // The answer was lost: whoever has the new credential is told the same, and so is a request that was sent twice.
    for shown in [1, 2] {
        assert_eq!(after(&[rotate_agent(1, 2), rotate_agent(shown, 2)]), (second, Ok(Outcome::Done)));
    }
    // A copy of what the endpoint was, whose request may have been let through by a manager that lags behind.
    assert_eq!(after(&[rotate_agent(1, 2), rotate_agent(1, 3)]), (second, Err("credential-replaced")));
    assert_eq!(after(&[rotate_agent(9, 3)]).1, Err("credential-replaced"));
    assert_eq!(after(&[rotate_agent(1, 2), rotate_agent(2, 3)]).0, (key(3), Some(hash(3)), Some(hash(2))));
}

#[test]
fn a_manager_changes_its_key_like_an_endpoint() {
    let rotate = |manager, node| {
        let (manager, new_key) = (ManagerId(manager), key(node));
        Command::RotateManagerKey(RotateManagerKey { manager, new_key, now: UnixMs(1), overlap_until: UnixMs(HOUR) })
    };
    let (state, _) = last_of(&[rotate(1, 9)]);
    assert_eq!(state.manager(ManagerId(1)).unwrap().keys().collect::<Vec<_>>(), [key(9), key(201)]);
    assert_eq!(state.managers_changed(), state.version());
    let (state, _) = last_of(&[rotate(1, 9), Command::Expire(UnixMs(HOUR))]);
    assert_eq!(state.manager(ManagerId(1)).unwrap().keys().collect::<Vec<_>>(), [key(9)]);
    assert_eq!(state.managers_changed(), state.version());
    assert_eq!(refusal(&[client("a", 9), rotate(1, 9)]).0, "key-taken");
    assert_eq!(refusal(&[rotate(5, 9)]).0, "manager-unknown");
}

#[test]
fn what_was_removed_does_not_come_back_by_its_old_token() {
    let gone = [manager_token(2), join_manager(2, 2), Command::RemoveManager(ManagerId(2)), join_manager(2, 2)];
    assert_eq!(refusal(&gone).0, "token-used");
    let rotated = [token(1, 1), join_as(1, 1, 1), rotate_agent(1, 2), join_as(1, 1, 3)];
    assert_eq!(refusal(&rotated).0, "token-used");
}
