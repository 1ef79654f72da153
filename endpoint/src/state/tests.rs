use std::os::unix::fs::PermissionsExt as _;

use festoon_proto::EndpointId;
use festoon_proto::map::{EndpointMap, MapVersion};
use festoon_proto::token::TokenSecret;

use super::*;
use crate::sample;

fn map(version: u64) -> EndpointMap {
    EndpointMap { version: MapVersion(version), ..sample::map() }
}

fn state() -> (tempfile::TempDir, StateDir) {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::new(&directory.path().join("state"));
    state.create().unwrap();
    (directory, state)
}

#[test]
fn a_membership_survives_on_disk_for_its_owner_alone() {
    let (_directory, state) = state();
    assert!(matches!(state.membership(), Err(StateError::NotJoined)));
    let token = TokenSecret::from_bytes([5; 32]);
    let identity = Identity::generate(&token);
    state.store_identity(&identity).unwrap();
    state.store_map(&map(3)).unwrap();
    state.store_map(&map(4)).unwrap();

    let membership = state.membership().unwrap();
    assert_eq!(membership.private_key.public_key(), identity.private_key.public_key());
    assert_eq!(membership.credential.hash(), identity.credential_hash());
    assert_eq!(membership.credential.endpoint, EndpointId(7));
    assert_eq!(membership.map, map(4));
    assert!(identity.belongs_to(&token));
    assert!(!identity.belongs_to(&TokenSecret::from_bytes([6; 32])));

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state.path), 0o700);
    for entry in fs::read_dir(&state.path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn a_key_to_come_survives_on_disk_and_stays_the_same_until_it_has_come() {
    let (_directory, state) = state();
    let mut identity = Identity::generate(&TokenSecret::from_bytes([5; 32]));
    let next = identity.prepare(Duration::from_secs(7));
    state.store_identity(&identity).unwrap();
    let mut read = state.identity().unwrap().unwrap();
    assert_eq!(read.private_key.public_key(), identity.private_key.public_key());
    assert_eq!(read.next.as_ref().unwrap().overlap(), Duration::from_secs(7));
    let again = read.prepare(Duration::from_secs(9));
    assert_eq!(again.private_key.public_key(), next.private_key.public_key());
    assert_eq!(again.credential_secret, next.credential_secret);
    assert_eq!(again.overlap(), Duration::from_secs(9));
    read.next = None;
    state.store_identity(&read).unwrap();
    assert!(state.identity().unwrap().unwrap().next.is_none());
    assert!(state.key_age().unwrap() < Duration::from_secs(60));
    let other = read.prepare(Duration::ZERO);
    assert_ne!(other.private_key.public_key(), next.private_key.public_key());
}

#[test]
fn a_new_key_brings_a_new_credential_and_the_last_ones_of_before_are_kept() {
    let (_directory, state) = state();
    let mut identity = Identity::generate(&TokenSecret::from_bytes([5; 32]));
    let first = (identity.private_key.public_key(), identity.credential_secret.clone());
    let mut before = Vec::new();
    for _ in 0..20 {
        before.insert(0, identity.credential_secret.clone());
        let next = identity.prepare(Duration::ZERO);
        let (key, hash) = (next.private_key.public_key(), next.request().credential_hash);
        identity.adopt(next);
        assert_eq!((identity.private_key.public_key(), identity.credential_hash()), (key, hash));
        assert!(identity.next.is_none());
    }
    state.store_identity(&identity).unwrap();
    let read = state.identity().unwrap().unwrap();
    assert_eq!(read.former_secrets, before[..8]);
    assert_ne!((read.private_key.public_key(), read.credential_secret.clone()), first);
    let texts = read.secret_texts();
    let kept =
        |secret: &CredentialSecret| texts.iter().any(|text| *text == secret.map(|byte| byte.to_string()).join(","));
    assert!(kept(&read.credential_secret) && read.former_secrets.iter().all(kept), "all are kept out of reports");
}

#[test]
fn every_start_has_a_higher_generation() {
    let (_directory, state) = state();
    assert_eq!(state.next_boot().unwrap(), Generation::first_of_boot(1));
    assert_eq!(state.next_boot().unwrap(), Generation::first_of_boot(2));
    fs::write(state.path.join(BOOT), u32::MAX.to_string()).unwrap();
    assert!(matches!(state.next_boot(), Err(StateError::BootsUsedUp { .. })));
    fs::write(state.path.join(BOOT), "many").unwrap();
    let error = state.next_boot().unwrap_err().to_string();
    assert!(error.contains("/boot is damaged"), "{error}");
}

#[test]
fn a_damaged_file_is_named() {
    let (_directory, state) = state();
    state.store_map(&map(1)).unwrap();
    assert!(state.membership().unwrap_err().to_string().contains("identity.json is damaged (it is missing)"));
    fs::write(state.path.join(MAP), "{").unwrap();
    assert!(state.membership().unwrap_err().to_string().contains("map.json is damaged"));
}

#[test]
fn a_leftover_of_a_crash_does_not_spoil_the_next_write() {
    let (_directory, state) = state();
    fs::write(state.path.join("map.json.new"), "half").unwrap();
    state.store_map(&map(1)).unwrap();
    let stored: EndpointMap = serde_json::from_slice(&fs::read(state.path.join(MAP)).unwrap()).unwrap();
    assert_eq!(stored, map(1));
    assert!(!state.path.join("map.json.new").exists());
}

#[test]
fn who_takes_the_lock_finds_nothing_unfinished() {
    let (_directory, state) = state();
    let (ours, others) = (["identity.json.new", "map.json.new", "boot.new"], ["notes.new", "map.json"]);
    ours.iter().chain(&others).for_each(|name| fs::write(state.path.join(name), "half").unwrap());
    let lock = state.lock().unwrap();
    assert!(ours.iter().all(|name| !state.path.join(name).exists()));
    assert!(others.iter().all(|name| state.path.join(name).exists()));
    fs::write(state.path.join("map.json.new"), "the lock's owner writes").unwrap();
    assert!(matches!(state.lock(), Err(LockError::Busy { .. })));
    assert!(state.path.join("map.json.new").exists());
    drop(lock);
}

#[test]
fn one_process_at_a_time_has_the_lock() {
    let (_directory, state) = state();
    let lock = state.lock().unwrap();
    let error = state.lock().unwrap_err();
    assert!(matches!(error, LockError::Busy { .. }), "{error}");
    drop(lock);
    state.lock().unwrap();
    assert!(matches!(StateDir::new(Path::new("/nonexistent/festoon")).lock(), Err(LockError::NoState)));
}

#[test]
fn forgetting_leaves_what_is_not_the_agents() {
    let (_directory, state) = state();
    state.store_map(&map(1)).unwrap();
    let other = state.path.join("notes.txt");
    fs::write(&other, "mine").unwrap();
    state.forget().unwrap();
    assert!(!state.has_joined());
    assert!(other.exists());
    fs::remove_file(other).unwrap();
    state.forget().unwrap();
    assert!(!state.path.exists());
}
