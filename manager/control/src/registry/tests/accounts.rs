//! Accounts: what is refused and why, what ends with what, and what holds after any log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use festoon_proto::access::{Grant, Role, Scope};
use festoon_proto::map::MapVersion;
use festoon_proto::{ApiTokenId, SessionId, UserId};
use proptest::prelude::*;

use super::*;

const DAY: u64 = 24 * HOUR;
const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn phc(text: &str) -> PasswordHash {
    PasswordHash::new(format!("$argon2id${text}"))
}

fn grant(role: Role, networks: &[u32]) -> Grant {
    let some = || networks.iter().copied().map(NetworkId).collect();
    Grant { role, networks: if networks.is_empty() { Scope::All } else { Scope::Networks(some()) } }
}

fn add(name: &str, role: Role, networks: &[u32]) -> Command {
    let (name, password) = (name.to_owned(), Some(phc(name)));
    Command::AddUser(AddUser { name, grant: grant(role, networks), password, identity: None, now: UnixMs(1) })
}

fn of(user: u32) -> UpdateUser {
    UpdateUser::of(UserId(user))
}

fn set_up(secret: u8) -> Command {
    Command::SetUp(SetUp { secret: hash(secret), name: "root".to_owned(), password: phc("root"), now: UnixMs(1) })
}

fn identity(subject: &str) -> OidcIdentity {
    OidcIdentity { issuer: "https://id.example".to_owned(), subject: subject.to_owned() }
}

fn totp(step: u64, codes: &[u8]) -> NewTotp {
    let secret = EncryptedSecret { key: 1, bytes: Ciphertext::new([7]) };
    NewTotp { secret, step, recovery: codes.iter().copied().map(hash).collect() }
}

fn keyring() -> Command {
    let copies = vec![(ManagerId(1), Ciphertext::new([1]))];
    Command::SetKeyring(SetKeyring { based_on: MapVersion(0), number: 1, copies, secrets: Vec::new() })
}

fn log_in(user: u32, proof: Proof, checked: u64) -> LogIn {
    LogIn {
        user: UserId(user),
        proof,
        checked: MapVersion(checked),
        hash: hash(9),
        from: HOST,
        agent: "curl\n".to_owned(),
        now: UnixMs(1),
        confirmed: UnixMs(1),
        expires: UnixMs(HOUR),
    }
}

fn confirm(session: u64, proof: Proof, checked: u64, now: u64) -> Command {
    let (session, checked, now) = (SessionId(session), MapVersion(checked), UnixMs(now));
    Command::ConfirmSession(ConfirmSession { session, proof, checked, now })
}

fn token_of(user: u32, grant: Grant) -> CreateApiToken {
    let (name, now, expires) = ("ci".to_owned(), UnixMs(1), UnixMs(DAY));
    CreateApiToken { hash: hash(8), name, user: UserId(user), grant, is_sensitive: false, now, expires }
}

/// Refused, with this word.
#[track_caller]
fn refused(more: &[Command], kind: &str) {
    assert_eq!(refusal(more).0, kind, "{:?}", more.last());
}

/// `last_of` has made two changes before; these are of the third and so on. All of them must succeed.
#[track_caller]
fn done(more: &[Command]) -> State {
    let (state, last) = last_of(more);
    last.unwrap();
    state
}

#[test]
fn the_set_up_secret_makes_the_first_owner_and_nobody_else() {
    let secret = |number| Command::SetSetUpSecret(hash(number));
    refused(&[set_up(1)], "set-up-secret");
    refused(&[secret(1), set_up(2)], "set-up-secret");
    refused(&[secret(1), secret(2), set_up(1)], "set-up-secret");
    let state = done(&[secret(1), set_up(1)]);
    let root = state.user_named("root").unwrap();
    assert!(root.is_acting_owner() && state.has_owner() && state.set_up_secret().is_none());
    refused(&[secret(1), set_up(1), set_up(1)], "set-up-already");
    refused(&[secret(1), set_up(1), secret(2)], "set-up-already");
    let state = done(&[secret(1), add("root", Role::Owner, &[])]);
    assert!(state.set_up_secret().is_none(), "root on a manager may add an owner too");
    assert!(done(&[secret(1), add("a", Role::Admin, &[])]).set_up_secret().is_some());
}

#[test]
fn users_are_checked() {
    refused(&[add("Root", Role::Owner, &[])], "bad-name");
    refused(&[add("a", Role::Viewer, &[]), add("a", Role::Viewer, &[])], "name-taken");
    refused(&[add("a", Role::Owner, &[1])], "bad-grant");
    refused(&[add("a", Role::Viewer, &[7])], "network-unknown");
    let Command::AddUser(good) = add("a", Role::Viewer, &[]) else { unreachable!() };
    let nowhere = Grant { role: Role::Viewer, networks: Scope::Networks(BTreeSet::new()) };
    refused(&[Command::AddUser(AddUser { grant: nowhere, ..good.clone() })], "bad-grant");
    let plain = Some(PasswordHash::new("hunter2"));
    refused(&[Command::AddUser(AddUser { password: plain, ..good.clone() })], "bad-password");
    let with = |name: &str, subject: &str| {
        let (name, identity) = (name.to_owned(), Some(identity(subject)));
        Command::AddUser(AddUser { name, identity, ..good.clone() })
    };
    refused(&[with("a", "")], "bad-identity");
    refused(&[with("a", "1"), with("b", "1")], "identity-taken");
    let state = done(&[with("a", "1"), with("b", "2")]);
    assert_eq!(state.user_with(&identity("2")).map(|user| user.id), Some(UserId(2)));
    refused(&[Command::UpdateUser(of(9))], "user-unknown");
    refused(&[Command::RemoveUser(UserId(9))], "user-unknown");
    assert!(!format!("{:?}", with("a", "1")).contains("argon2id"), "hashes are not printed");
}

#[test]
fn the_last_owner_who_can_log_in_stays() {
    let one = [add("a", Role::Owner, &[]), add("b", Role::Admin, &[])];
    let ends = [
        Command::RemoveUser(UserId(1)),
        Command::UpdateUser(UpdateUser { is_enabled: Some(false), ..of(1) }),
        Command::UpdateUser(UpdateUser { role: Some(Role::Admin), ..of(1) }),
        Command::UpdateUser(UpdateUser { password: Some(None), ..of(1) }),
    ];
    let disabled = Command::UpdateUser(UpdateUser { is_enabled: Some(false), ..of(2) });
    let owner = Command::UpdateUser(UpdateUser { role: Some(Role::Owner), ..of(2) });
    for end in ends {
        let log = |more: &[Command]| [&one[..], more, std::slice::from_ref(&end)].concat();
        refused(&log(&[]), "last-owner");
        refused(&log(&[owner.clone(), disabled.clone()]), "last-owner");
        assert!(done(&log(std::slice::from_ref(&owner))).has_owner());
    }
}

#[test]
fn a_token_may_no_more_than_its_user_and_dies_with_it() {
    let user = add("a", Role::Operator, &[1]);
    let create = |role, networks: &[u32]| Command::CreateApiToken(token_of(1, grant(role, networks)));
    refused(&[create(Role::Viewer, &[])], "user-unknown");
    for (role, networks) in [(Role::Viewer, &[][..]), (Role::Admin, &[1])] {
        refused(&[user.clone(), create(role, networks)], "bad-grant");
    }
    for expires in [0, 1, 2 + MAX_API_TOKEN_MS] {
        let token = CreateApiToken { expires: UnixMs(expires), ..token_of(1, grant(Role::Viewer, &[1])) };
        refused(&[user.clone(), Command::CreateApiToken(token)], "bad-expiry");
    }
    let made = [user, create(Role::Operator, &[1])];
    let after = |more: &[Command]| done(&[&made[..], more].concat());
    let may = |state: &State| state.grant_of(state.api_token(ApiTokenId(1)).unwrap());
    assert_eq!(may(&after(&[])), Some(grant(Role::Operator, &[1])));
    let demoted = Command::UpdateUser(UpdateUser { role: Some(Role::Viewer), ..of(1) });
    assert_eq!(may(&after(&[demoted])), Some(grant(Role::Viewer, &[1])));
    let disabled = Command::UpdateUser(UpdateUser { is_enabled: Some(false), ..of(1) });
    assert_eq!(may(&after(&[disabled])), None);
    assert!(after(&[Command::RemoveUser(UserId(1))]).api_token(ApiTokenId(1)).is_none());
    assert!(after(&[Command::RemoveApiToken(ApiTokenId(1))]).api_token(ApiTokenId(1)).is_none());
    assert!(after(&[Command::Expire(UnixMs(8 * DAY - 1))]).api_token(ApiTokenId(1)).is_some());
    assert!(after(&[Command::Expire(UnixMs(8 * DAY))]).api_token(ApiTokenId(1)).is_none());
    refused(&[Command::RemoveApiToken(ApiTokenId(1))], "api-token-unknown");
}

#[test]
fn a_login_needs_what_the_account_has_now() {
    // The third command, so the credentials are of version 3.
    let user = [add("a", Role::Viewer, &[])];
    let then = |more: &[Command]| [&user[..], more].concat();
    let login = |proof, checked| Command::LogIn(log_in(1, proof, checked));
    let state = done(&then(&[login(Proof::Password, 3)]));
    let session = state.sessions_of(UserId(1)).next().unwrap();
    assert_eq!((session.id, session.agent.as_str(), session.from), (SessionId(1), "curl", HOST));
    assert_eq!(state.user(UserId(1)).unwrap().changed, MapVersion(3), "a login is no change of the account");
    for (command, kind) in [
        (login(Proof::Password, 2), "account-changed"),
        (login(Proof::Identity(identity("1")), 3), "account-changed"),
        (login(Proof::Code { step: 1 }, 3), "account-changed"),
        (Command::LogIn(log_in(9, Proof::Password, 3)), "account-changed"),
        (Command::LogIn(LogIn { expires: UnixMs(1), ..log_in(1, Proof::Password, 3) }), "bad-expiry"),
        (Command::LogIn(LogIn { expires: UnixMs(31 * DAY), ..log_in(1, Proof::Password, 3) }), "bad-expiry"),
    ] {
        refused(&then(&[command]), kind);
    }
    let known = Command::UpdateUser(UpdateUser { identity: Some(Some(identity("1"))), ..of(1) });
    refused(&then(&[known.clone(), login(Proof::Password, 3)]), "account-changed");
    done(&then(&[known.clone(), login(Proof::Identity(identity("1")), 4)]));
    refused(&then(&[known, login(Proof::Identity(identity("2")), 4)]), "account-changed");
}

#[test]
fn a_code_is_good_once_in_the_whole_cluster() {
    let factor = Command::UpdateUser(UpdateUser { totp: Some(Some(totp(100, &[1, 2]))), ..of(1) });
    let begin = [keyring(), add("a", Role::Viewer, &[]), factor];
    let then = |more: &[Command]| [&begin[..], more].concat();
    let login = |proof| Command::LogIn(log_in(1, proof, 5));
    let code = |step| login(Proof::Code { step });
    let recovery = |number| login(Proof::RecoveryCode(hash(number)));
    refused(&then(&[login(Proof::Password)]), "code-needed");
    refused(&then(&[code(100)]), "code-used");
    refused(&then(&[code(102), code(102)]), "code-used");
    refused(&then(&[code(102), code(101)]), "code-used");
    refused(&then(&[recovery(3)]), "code-used");
    refused(&then(&[recovery(1), recovery(1)]), "code-used");
    let state = done(&then(&[code(101), recovery(1), recovery(2), code(102)]));
    let of_user = state.user(UserId(1)).unwrap();
    assert_eq!(of_user.totp, Some(Totp { last_step: 102, recovery: Vec::new() }));
    // The secret is in the vault just as long as the factor is there.
    let name = SecretName::of_totp(UserId(1));
    assert!(state.vault().secret(&name).is_some());
    refused(&then(&[Command::RemoveSecret(name.clone())]), "secret-in-use");
    for end in [
        Command::UpdateUser(UpdateUser { totp: Some(None), ..of(1) }),
        Command::UpdateUser(UpdateUser { password: Some(None), ..of(1) }),
        Command::RemoveUser(UserId(1)),
    ] {
        assert!(done(&then(&[end])).vault().secret(&name).is_none());
    }
    let without = Command::UpdateUser(UpdateUser { password: Some(None), ..of(1) });
    refused(&then(&[without, begin[2].clone()]), "no-password");
    let many: Vec<u8> = (0..17).collect();
    for codes in [&[][..], &many] {
        let factor = Command::UpdateUser(UpdateUser { totp: Some(Some(totp(1, codes))), ..of(1) });
        refused(&then(&[factor]), "bad-recovery-codes");
    }
}

#[test]
fn sessions_end() {
    let login = |user, checked| Command::LogIn(log_in(user, Proof::Password, checked));
    let two = [add("a", Role::Viewer, &[]), add("b", Role::Viewer, &[]), login(1, 3), login(2, 4), login(1, 3)];
    let left = |more: &[Command]| {
        let state = done(&[&two[..], more].concat());
        state.sessions().map(|session| session.id.0).collect::<Vec<_>>()
    };
    let password = UpdateUser { password: Some(Some(phc("new"))), ..of(1) };
    for (command, expected) in [
        (Command::LogOut(SessionId(1)), &[2, 3][..]),
        (Command::LogOutAll(UserId(1)), &[2]),
        (Command::UpdateUser(password), &[2]),
        (Command::UpdateUser(UpdateUser { is_enabled: Some(false), ..of(1) }), &[2]),
        (Command::UpdateUser(UpdateUser { role: Some(Role::Admin), ..of(1) }), &[1, 2, 3]),
        (Command::RemoveUser(UserId(1)), &[2]),
        (Command::Expire(UnixMs(HOUR - 1)), &[1, 2, 3]),
        (Command::Expire(UnixMs(HOUR)), &[]),
        (begin_epoch(2, 1, 9), &[]),
    ] {
        assert_eq!(left(std::slice::from_ref(&command)), expected, "{command:?}");
    }
    let many: Vec<_> = (0..MAX_SESSIONS).map(|_| login(1, 3)).collect();
    let expected: Vec<_> = [2].into_iter().chain(4..4 + MAX_SESSIONS as u64).collect();
    assert_eq!(left(&many), expected, "the oldest gives way");
    refused(&[Command::LogOut(SessionId(1))], "session-unknown");
    refused(&[Command::LogOutAll(UserId(1))], "user-unknown");
}

#[test]
fn a_session_is_confirmed_by_what_a_login_needs() {
    let begin = [add("a", Role::Owner, &[]), Command::LogIn(log_in(1, Proof::Password, 3))];
    let then = |more: &[Command]| [&begin[..], more].concat();
    let confirmed = |more: &[Command]| done(&then(more)).session(SessionId(1)).map(|session| session.confirmed);
    assert_eq!(confirmed(&[]), Some(UnixMs(1)));
    assert_eq!(confirmed(&[confirm(1, Proof::Password, 3, 70)]), Some(UnixMs(70)));
    let both = [confirm(1, Proof::Password, 3, 70), confirm(1, Proof::Password, 3, 60)];
    assert_eq!(confirmed(&both), Some(UnixMs(70)), "the clock of one manager is behind");
    assert_eq!(confirmed(&[confirm(1, Proof::Password, 3, 70), Command::LogOut(SessionId(1))]), None);
    assert_eq!(
        confirmed(&[confirm(1, Proof::Password, 3, 70), Command::Expire(UnixMs(HOUR))]),
        None,
        "it ends when it did"
    );
    let disable = [add("b", Role::Owner, &[]), Command::UpdateUser(UpdateUser { is_enabled: Some(false), ..of(1) })];
    for (more, kind) in [
        (vec![confirm(2, Proof::Password, 3, 70)], "session-unknown"),
        (vec![confirm(1, Proof::Password, 3, HOUR)], "session-unknown"),
        (vec![confirm(1, Proof::Password, 2, 70)], "account-changed"),
        (vec![confirm(1, Proof::Identity(identity("1")), 3, 70)], "account-changed"),
        (vec![confirm(1, Proof::Code { step: 9 }, 3, 70)], "account-changed"),
        ([&disable[..], &[confirm(1, Proof::Password, 3, 70)]].concat(), "session-unknown"),
    ] {
        refused(&then(&more), kind);
    }
    let long_ago = LogIn { confirmed: UnixMs(0), ..log_in(1, Proof::Password, 3) };
    let to_come = LogIn { confirmed: UnixMs(99), ..log_in(1, Proof::Password, 3) };
    let state = done(&[begin[0].clone(), Command::LogIn(long_ago), Command::LogIn(to_come)]);
    let times: Vec<_> = state.sessions().map(|session| session.confirmed).collect();
    assert_eq!(times, [UnixMs(0), UnixMs(1)], "never later than now");
}

#[test]
fn a_code_that_confirmed_a_session_is_good_for_no_login() {
    let factor = Command::UpdateUser(UpdateUser { totp: Some(Some(totp(100, &[1, 2]))), ..of(1) });
    let login = |proof| Command::LogIn(log_in(1, proof, 5));
    let begin = [keyring(), add("a", Role::Owner, &[]), factor, login(Proof::Code { step: 101 })];
    let then = |more: &[Command]| [&begin[..], more].concat();
    refused(&then(&[confirm(1, Proof::Password, 5, 70)]), "code-needed");
    refused(&then(&[confirm(1, Proof::Code { step: 101 }, 5, 70)]), "code-used");
    let code = confirm(1, Proof::Code { step: 102 }, 5, 70);
    refused(&then(&[code.clone(), login(Proof::Code { step: 102 })]), "code-used");
    let recovery = confirm(1, Proof::RecoveryCode(hash(1)), 5, 70);
    refused(&then(&[recovery.clone(), recovery.clone()]), "code-used");
    let state = done(&then(&[code, recovery]));
    assert_eq!(state.user(UserId(1)).unwrap().totp.as_ref().map(|totp| totp.recovery.len()), Some(1));
}

#[test]
fn the_audit_log_says_who_logged_in_and_shows_no_secret() {
    let mut state = State::default();
    let mut lines = Vec::new();
    let log_out = Change {
        by: Author { who: Who::User { user: UserId(1), session: SessionId(1) }, from: Some(HOST) },
        ..Command::LogOut(SessionId(1)).into()
    };
    let changes = [
        bootstrap().into(),
        add("ann", Role::Owner, &[]).into(),
        Command::CreateApiToken(token_of(1, grant(Role::Viewer, &[]))).into(),
        Command::LogIn(log_in(1, Proof::Password, 2)).into(),
        log_out,
        Command::UpdateUser(UpdateUser { password: Some(Some(phc("canary"))), ..of(1) }).into(),
        Command::RemoveUser(UserId(1)).into(),
    ];
    for (index, change) in (1..).zip(changes.iter().take(6)) {
        let carried = carry_out(&state, index, change).unwrap();
        lines.extend(carried.entries.into_iter().map(|entry| entry.line));
        state = carried.state;
    }
    assert!(carry_out(&state, 7, &changes[6]).is_err(), "the last owner");
    let actions = ["cluster.init", "user.add", "api-token.create", "user.log-in", "user.log-out", "user.update"];
    assert_eq!(lines.len(), actions.len());
    for (line, action) in lines.iter().zip(actions) {
        assert!(line.contains(&format!("\"action\":\"{action}\"")), "{line}");
        assert!(!line.contains("argon2") && !line.contains("canary"), "{line}");
    }
    let by = "\"by\":{\"kind\":\"user\",\"id\":\"u1\",\"name\":\"ann\",\"credential\":\"s1\",\"from\":\"127.0.0.1\"}";
    assert!(lines[4].contains(by), "{}", lines[4]);
    let token = "\"after\":{\"name\":\"ci\",\"user\":\"u1\",\"role\":\"viewer\",\"expires_unix_ms\":86400000}";
    assert!(lines[2].contains(token), "{}", lines[2]);
}

pub(super) fn any_account_command() -> impl Strategy<Value = Command> {
    let user = 1_u32..6;
    let role = proptest::sample::select(Role::ALL.to_vec());
    let networks = prop_oneof![Just(vec![]), Just(vec![1_u32]), Just(vec![1, 2])];
    let subject = proptest::option::of(proptest::sample::select(vec!["1", "2"]));
    let time = 0..2 * HOUR;
    prop_oneof![
        (1_u8..3).prop_map(|n| Command::SetSetUpSecret(hash(n))),
        (1_u8..3).prop_map(set_up),
        (user.clone(), role.clone(), networks.clone(), subject.clone()).prop_map(|(n, role, networks, subject)| {
            let Command::AddUser(add) = add(&format!("u{n}"), role, &networks) else { unreachable!() };
            Command::AddUser(AddUser { identity: subject.map(identity), ..add })
        }),
        any_update(),
        user.clone().prop_map(|n| Command::RemoveUser(UserId(n))),
        (user.clone(), role, networks, time.clone()).prop_map(|(n, role, networks, now)| {
            let (now, expires) = (UnixMs(now), UnixMs(now + HOUR));
            Command::CreateApiToken(CreateApiToken { now, expires, ..token_of(n, grant(role, &networks)) })
        }),
        (1_u32..6).prop_map(|n| Command::RemoveApiToken(ApiTokenId(n))),
        (user.clone(), subject, 3_u64..9, time).prop_map(|(n, subject, checked, now)| {
            let proof = subject.map_or(Proof::Password, |subject| Proof::Identity(identity(subject)));
            let (now, expires) = (UnixMs(now), UnixMs(now + HOUR));
            Command::LogIn(LogIn { now, expires, ..log_in(n, proof, checked) })
        }),
        (1_u64..6, 3_u64..9, 0..2 * HOUR).prop_map(|(n, checked, now)| confirm(n, Proof::Password, checked, now)),
        (1_u64..6).prop_map(|n| Command::LogOut(SessionId(n))),
        user.prop_map(|n| Command::LogOutAll(UserId(n))),
    ]
}

fn any_update() -> impl Strategy<Value = Command> {
    let user = 1_u32..6;
    let role = proptest::sample::select(Role::ALL.to_vec());
    let update = prop_oneof![
        user.clone().prop_map(|n| UpdateUser { name: Some(format!("u{n}")), ..of(n) }),
        role.prop_map(|role| UpdateUser { role: Some(role), ..of(1) }),
        any::<bool>().prop_map(|enabled| UpdateUser { is_enabled: Some(enabled), ..of(1) }),
        any::<bool>().prop_map(|some| UpdateUser { password: Some(some.then(|| phc("x"))), ..of(1) }),
        any::<bool>().prop_map(|some| UpdateUser { identity: Some(some.then(|| identity("1"))), ..of(1) }),
        Just(UpdateUser { totp: Some(Some(totp(1, &[1]))), ..of(1) }),
    ];
    (user, update).prop_map(|(n, update)| Command::UpdateUser(UpdateUser { user: UserId(n), ..update }))
}

proptest! {
    #[test]
    fn accounts_stay_whole(log in proptest::collection::vec(any_account_command(), 0..150)) {
        let begin = [bootstrap(), network("default", &["172.31.0.0/16"]), keyring()];
        let (mut state, _) = replay(&begin);
        for (index, command) in (4..).zip(&log) {
            let had_owner = state.has_owner();
            let Ok((next, _)) = apply(&state, index, command) else { continue };
            prop_assert!(next.index_agrees(), "after {:?}", command);
            prop_assert!(next.has_owner() || !had_owner, "after {:?}", command);
            prop_assert!(!next.has_owner() || next.set_up_secret().is_none());
            let (mut names, mut identities) = (BTreeSet::new(), BTreeMap::new());
            for user in next.users() {
                prop_assert!(names.insert(user.name.clone()), "{} twice", user.name);
                prop_assert_eq!(next.user_named(&user.name), Some(user));
                if let Some(identity) = &user.identity {
                    prop_assert_eq!(identities.insert(identity.clone(), user.id), None);
                }
                let has_secret = next.vault().secret(&SecretName::of_totp(user.id)).is_some();
                prop_assert_eq!(has_secret, user.totp.is_some());
                prop_assert!(next.sessions_of(user.id).count() <= MAX_SESSIONS);
                prop_assert!(user.is_enabled || next.sessions_of(user.id).next().is_none());
            }
            prop_assert!(next.sessions().all(|session| next.user(session.user).is_some()));
            for token in next.api_tokens() {
                let user = next.user(token.user).unwrap();
                prop_assert!(next.grant_of(token).is_none_or(|grant| grant.is_within(&user.grant)));
            }
            state = next;
        }
        let stored = postcard::to_stdvec(&state).unwrap();
        prop_assert_eq!(postcard::from_bytes::<State>(&stored).unwrap(), state);
    }
}
