//! Certificates and secrets.

use super::*;

fn sealed(byte: u8) -> Ciphertext {
    Ciphertext::new(vec![byte; 48])
}

fn name(text: &str) -> SecretName {
    SecretName(text.to_owned())
}

fn fingerprint(number: u8) -> Fingerprint {
    Fingerprint([number; 32])
}

/// The first data key of a cluster with one manager. The cluster's log has two commands before.
fn keyring() -> Command {
    rekey(0, 1, &[1], &[])
}

fn rekey(based_on: u64, number: u32, managers: &[u16], secrets: &[SecretName]) -> Command {
    Command::SetKeyring(SetKeyring {
        based_on: MapVersion(based_on),
        number,
        copies: managers.iter().map(|id| (ManagerId(*id), sealed(1))).collect(),
        secrets: secrets.iter().map(|name| (name.clone(), sealed(number as u8))).collect(),
    })
}

fn put(text: &str, key: u32) -> Command {
    Command::PutSecret(PutSecret { name: name(text), secret: EncryptedSecret { key, bytes: sealed(9) } })
}

fn authority(number: u8) -> Command {
    Command::AddAuthority(AddAuthority {
        fingerprint: fingerprint(number),
        certificate_pem: format!("certificate {number}"),
        key: EncryptedSecret { key: 1, bytes: sealed(number) },
    })
}

fn join_with_copy(number: Option<u32>) -> Command {
    let Command::JoinManager(join) = join_manager(2, 2) else { unreachable!() };
    let data_key = number.map(|number| DataKeyCopy { number, sealed: sealed(2) });
    Command::JoinManager(JoinManager { data_key, ..join })
}

#[test]
fn secrets_are_stored_under_the_data_key_of_now() {
    let (state, _) = last_of(&[keyring(), put("backup-key", 1)]);
    assert_eq!(state.vault().secret(&name("backup-key")).unwrap().bytes, sealed(9));
    assert_eq!(refusal(&[put("a", 0)]).0, "data-key-changed");
    assert_eq!(refusal(&[keyring(), put("a", 2)]).0, "data-key-changed");
    assert_eq!(refusal(&[keyring(), put("A b", 1)]).0, "bad-name");
    let large = EncryptedSecret { key: 1, bytes: Ciphertext::new(vec![0; 100_000]) };
    let large = Command::PutSecret(PutSecret { name: name("a"), secret: large });
    assert_eq!(refusal(&[keyring(), large]).0, "secret-too-large");
    let removed = Command::RemoveSecret(name("a"));
    assert_eq!(refusal(&[keyring(), put("a", 1), removed.clone(), removed]).0, "secret-unknown");
}

#[test]
fn a_secret_is_never_printed() {
    let secret = Ciphertext::new(b"attack at dawn".to_vec());
    assert_eq!(format!("{secret:?}"), "Ciphertext(14 bytes, redacted)");
    let (state, _) = last_of(&[keyring(), put("a", 1)]);
    assert!(!format!("{state:?}").contains("9, 9, 9"));
    assert!(!format!("{:?}", put("a", 1)).contains("9, 9, 9"));
}

#[test]
fn a_new_data_key_reaches_every_full_manager_and_takes_every_secret_along() {
    let log = [keyring(), put("a", 1), put("b", 1)];
    let then = |more: Command| last_of(&[&log[..], &[more]].concat()).1.map_err(|refusal| refusal.kind());
    let (a, b) = (name("a"), name("b"));
    assert_eq!(then(rekey(5, 2, &[1], &[a.clone(), b.clone()])), Ok(Outcome::Done));
    assert_eq!(then(rekey(4, 2, &[1], &[a.clone(), b.clone()])), Err("vault-changed"));
    assert_eq!(then(rekey(5, 3, &[1], &[a.clone(), b.clone()])), Err("data-key-changed"));
    for managers in [&[][..], &[1, 1], &[1, 2]] {
        assert_eq!(then(rekey(5, 2, managers, &[a.clone(), b.clone()])), Err("keyring-managers"));
    }
    for secrets in
        [&[][..], &[b.clone(), a.clone(), name("c")], std::slice::from_ref(&a), &[a.clone(), a.clone(), b.clone()]]
    {
        assert_eq!(then(rekey(5, 2, &[1], secrets)), Err("keyring-secrets"));
    }
    let (state, _) = last_of(&[&log[..], &[rekey(5, 2, &[1], &[a.clone(), b])]].concat());
    assert_eq!(state.vault().keyring().number, 2);
    assert_eq!(state.vault().secret(&a), Some(&EncryptedSecret { key: 2, bytes: sealed(2) }));
}

#[test]
fn a_manager_that_joins_can_read_the_secrets() {
    let log = [keyring(), manager_token(2)];
    let then = |more: Command| last_of(&[&log[..], &[more]].concat());
    for number in [None, Some(2)] {
        assert_eq!(then(join_with_copy(number)).1.unwrap_err().kind(), "data-key-changed");
    }
    let (state, _) = then(join_with_copy(Some(1)));
    assert_eq!(state.vault().keyring().copies.get(&ManagerId(2)), Some(&sealed(2)));
    let gone = [&log[..], &[join_with_copy(Some(1)), Command::RemoveManager(ManagerId(2))]].concat();
    let keyring = last_of(&gone).0.vault().keyring().clone();
    assert_eq!(keyring.copies.keys().collect::<Vec<_>>(), [&ManagerId(1)]);
    assert!(keyring.is_known_outside && !state.vault().keyring().is_known_outside, "the one removed knows it");
    let changed = last_of(&gone).0.vault().changed();
    let renewed = last_of(&[&gone[..], &[rekey(changed.0, 2, &[1], &[])]].concat()).0;
    assert!(!renewed.vault().keyring().is_known_outside);
    let Command::JoinManager(join) = join_with_copy(Some(1)) else { unreachable!() };
    let keyless = JoinManager { manager: ManagerSpec { seal_key: None, ..spec(2) }, ..join };
    assert_eq!(then(Command::JoinManager(keyless)).1.unwrap_err().kind(), "no-seal-key");
}

#[test]
fn a_seal_key_is_replaced_together_with_what_was_sealed_to_it() {
    let rotate = |number: Option<u32>| {
        let data_key = number.map(|number| DataKeyCopy { number, sealed: sealed(7) });
        Command::RotateSealKey(RotateSealKey { manager: ManagerId(1), seal_key: key(50), data_key })
    };
    let (state, _) = last_of(&[keyring(), rotate(Some(1))]);
    assert_eq!(state.manager(ManagerId(1)).unwrap().seal_key, Some(key(50)));
    assert_eq!(state.vault().keyring().copies.get(&ManagerId(1)), Some(&sealed(7)));
    assert_eq!(refusal(&[keyring(), rotate(None)]).0, "data-key-changed");
    assert_eq!(last_of(&[rotate(None)]).1, Ok(Outcome::Done));
    assert_eq!(refusal(&[keyring(), rotate(Some(1)), rekey(3, 2, &[1], &[])]).0, "vault-changed");
}

#[test]
fn a_ca_is_replaced_in_three_steps() {
    let roles = |more: &[Command]| {
        let (state, last) = last_of(more);
        assert!(last.is_ok(), "{last:?}");
        let of = |authority: &Authority| (authority.fingerprint.0[0], authority.role);
        (state.vault().authorities().iter().map(of).collect::<Vec<_>>(), state.vault().secrets().count())
    };
    let (promote, retire) = (Command::PromoteAuthority, Command::RetireAuthority);
    let log = [keyring(), authority(1), authority(2), promote(fingerprint(2)), retire(fingerprint(1))];
    let (next, current, previous) = (AuthorityRole::Next, AuthorityRole::Current, AuthorityRole::Previous);
    assert_eq!(roles(&log[..2]), (vec![(1, current)], 1));
    assert_eq!(roles(&log[..3]), (vec![(1, current), (2, next)], 2));
    assert_eq!(roles(&log[..4]), (vec![(1, previous), (2, current)], 2));
    assert_eq!(roles(&log), (vec![(2, current)], 1));
    assert_eq!(roles(&[&log[..3], &[retire(fingerprint(2))]].concat()), (vec![(1, current)], 1), "given up");
    let again = |steps: usize| refusal(&[&log[..steps], &[authority(3)]].concat());
    for (steps, next) in [(3, "`festoon-manager ca promote` to use it"), (4, "`festoon-manager ca retire` to end that")]
    {
        let (kind, text) = again(steps);
        assert!(kind == "authority-rotating" && text.contains(next), "{text}");
    }
    let then = |steps: usize, more: Command| refusal(&[&log[..steps], &[more]].concat()).0;
    assert_eq!(then(2, authority(1)), "authority-exists");
    assert_eq!(then(4, promote(fingerprint(1))), "authority-not-next");
    assert_eq!(then(2, retire(fingerprint(1))), "authority-current");
    assert_eq!(then(2, retire(fingerprint(9))), "authority-unknown");
    assert_eq!(then(0, authority(1)), "data-key-changed");
    assert_eq!(then(2, Command::RemoveSecret(SecretName::of_authority(&fingerprint(1)))), "secret-in-use");
}
