//! Who may stand for which change, and that nobody else can.

use festoon_proto::{ApiTokenId, SessionId, UserId, VerifyingKey};

use super::super::audit::Entry;
use super::*;

const ID: u128 = 7;

/// A cluster with the full managers 1 and 2 and the witness 3.
fn cluster() -> State {
    let witness = ManagerSpec { role: ManagerRole::Witness, seal_key: None, underlay: Vec::new(), ..spec(3) };
    let join = JoinManager { token: hash(3), manager: witness, data_key: None, now: UnixMs(1) };
    let more = [manager_token(2), join_manager(2, 2), witness_token(3), Command::JoinManager(join), client("a", 1)];
    last_of(&more).0
}

fn by(who: Who, command: Command) -> Change {
    Change { by: Author { who, from: None }, ..command.into() }
}

fn vouch(state: &State, manager: u8, change: &Change) -> Vouch {
    let (cluster, epoch) = (state.cluster().unwrap(), state.epoch().id());
    Vouch::sign(&signing_key(manager), ManagerId(manager.into()), (cluster, epoch), state.version(), ID, change)
}

fn carry(state: &State, change: &Change, vouch: Option<&Vouch>) -> Result<Vec<Entry>, &'static str> {
    let index = state.version().0 + 1;
    let carried = carry_out_vouched(state, index, ID, change, vouch);
    carried.map(|carried| carried.entries).map_err(|refusal| refusal.kind())
}

/// What becomes of a change for which `manager` stands.
fn through(manager: u8, who: Who, command: Command) -> Result<(), &'static str> {
    let (state, change) = (cluster(), by(who, command));
    carry(&state, &change, Some(&vouch(&state, manager, &change))).map(drop)
}

/// Root of a manager's machine.
fn local(manager: ManagerId) -> Who {
    Who::Local { manager, user: LocalUser::new(0, "root") }
}

fn add() -> Command {
    network("other", &["10.9.0.0/16"])
}

#[test]
fn a_full_manager_speaks_for_itself_and_for_callers_and_not_as_another() {
    for who in [Who::Cluster, local(ManagerId(1)), Who::Manager(ManagerId(1)), Who::Newcomer] {
        assert_eq!(through(1, who, add()), Ok(()), "{who:?}");
    }
    assert_eq!(through(1, Who::Endpoint(EndpointId(1)), remove(1)), Ok(()));
    let user = Who::User { user: UserId(1), session: SessionId(1) };
    let token = Who::ApiToken { token: ApiTokenId(1), user: UserId(1) };
    for who in [local(ManagerId(2)), Who::Manager(ManagerId(3)), Who::Endpoint(EndpointId(9)), user, token] {
        assert_eq!(through(1, who, add()), Err("not-its-author"), "{who:?}");
    }
}

#[test]
fn a_witness_speaks_for_nothing_but_itself() {
    let me = ManagerId(3);
    let announce =
        |manager| Command::AnnounceProgram(AnnounceProgram { manager, format: FORMAT, release: "1.0.0".to_owned() });
    let renew = |manager| Command::RenewManager(RenewManager { manager, incarnation: 1 });
    for own in [announce(me), renew(me), Command::RemoveManager(me)] {
        assert_eq!(through(3, Who::Manager(me), own.clone()), Ok(()), "{own:?}");
        assert_eq!(through(3, Who::Cluster, Command::Batch(vec![own.clone()])), Ok(()), "{own:?}");
    }
    let other = ManagerId(2);
    for (command, expected) in [
        (announce(other), "not-its-author"),
        (renew(other), "not-its-author"),
        (Command::RemoveManager(other), "is-witness"),
        (add(), "is-witness"),
        (Command::Batch(vec![announce(me), add()]), "is-witness"),
        (Command::Expire(UnixMs(u64::MAX)), "is-witness"),
        (Command::SetSetUpSecret(hash(9)), "is-witness"),
        (Command::SetRecoveryKey(VerifyingKey([9; 32])), "is-witness"),
        (manager_token(9), "is-witness"),
        (begin_epoch(2, 3, 5), "epoch-by-change"),
    ] {
        for who in [Who::Cluster, local(me), Who::Manager(me)] {
            assert_eq!(through(3, who, command.clone()), Err(expected), "{command:?} as {who:?}");
        }
    }
    for who in [Who::Newcomer, Who::Endpoint(EndpointId(1)), Who::User { user: UserId(1), session: SessionId(1) }] {
        assert_eq!(through(3, who, announce(me)), Err("is-witness"), "{who:?}");
    }
}

#[test]
fn what_only_a_manager_knows_of_itself_no_other_says() {
    let rotate = RotateManagerKey { manager: ManagerId(2), new_key: key(66), now: UnixMs(1), overlap_until: UnixMs(1) };
    let commands = [
        Command::RotateManagerKey(rotate),
        Command::RenewManager(RenewManager { manager: ManagerId(2), incarnation: 9 }),
        Command::RotateSealKey(RotateSealKey { manager: ManagerId(2), seal_key: key(67), data_key: None }),
    ];
    for command in commands {
        assert_eq!(through(1, Who::Cluster, command.clone()), Err("not-its-author"), "{command:?}");
        assert_eq!(through(1, Who::Cluster, Command::Batch(vec![command.clone()])), Err("not-its-author"));
        assert_eq!(through(2, Who::Cluster, command.clone()), Ok(()), "{command:?}");
    }
    assert_eq!(through(1, Who::Cluster, begin_epoch(2, 1, 5)), Err("epoch-by-change"));
}

#[test]
fn a_signature_is_for_one_change_of_one_proposal_at_one_time() {
    let (state, change) = (cluster(), by(Who::Cluster, add()));
    let good = vouch(&state, 1, &change);
    assert!(carry(&state, &change, Some(&good)).is_ok());
    assert_eq!(carry(&state, &change, None), Err("not-vouched"));
    let forged = [
        Vouch { by: ManagerId(2), ..good },
        Vouch { seen: MapVersion(1), ..good },
        Vouch { signature: signing_key(3).sign("festoon registry change 1", b""), ..good },
    ];
    for vouch in forged {
        assert_eq!(carry(&state, &change, Some(&vouch)), Err("bad-signature"));
    }
    let other = by(local(ManagerId(1)), add());
    assert_eq!(carry(&state, &other, Some(&good)), Err("bad-signature"), "another author");
    let later = carry_out_vouched(&state, state.version().0 + 1, ID + 1, &change, Some(&good));
    assert_eq!(later.unwrap_err().kind(), "bad-signature", "another proposal");
    let index = state.version().0 + GOOD_FOR;
    assert!(carry_out_vouched(&state, index, ID, &change, Some(&good)).is_ok());
    let late = carry_out_vouched(&state, index + 1, ID, &change, Some(&good));
    assert_eq!(late.unwrap_err().kind(), "vouch-too-old");
    let early = carry_out_vouched(&state, state.version().0 - 1, ID, &change, Some(&good));
    assert_eq!(early.unwrap_err().kind(), "vouch-too-old", "it claims to have seen what is not there yet");
}

#[test]
fn neither_a_removed_manager_nor_one_of_another_epoch_stands_for_anything() {
    let (state, change) = (cluster(), by(Who::Cluster, add()));
    let good = vouch(&state, 2, &change);
    let index = state.version().0 + 1;
    let (removed, _) = apply(&state, index, &Command::RemoveManager(ManagerId(2))).unwrap();
    assert_eq!(carry(&removed, &change, Some(&good)), Err("not-a-member"));
    let (later, _) = apply(&state, index, &begin_epoch(2, 1, 5)).unwrap();
    assert_eq!(carry(&later, &change, Some(&good)), Err("other-epoch"));
}

#[test]
fn the_audit_log_names_who_stands_for_a_change() {
    let (state, change) = (cluster(), by(Who::Newcomer, add()));
    let entries = carry(&state, &change, Some(&vouch(&state, 2, &change))).unwrap();
    let line: serde_json::Value = serde_json::from_str(&entries[0].line).unwrap();
    assert_eq!(line["by"]["kind"], "newcomer");
    assert_eq!(line["voucher"], serde_json::json!({ "kind": "manager", "id": "m2", "name": "m2" }));
}
