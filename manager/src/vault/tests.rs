//! A vault over the real registry.

use festoon_control::registry::{
    AddNetwork, Bootstrap, Command, CreateToken, DEFAULT_MTU, FORMAT, JoinManager, ManagerRole, ManagerSpec, PutSecret,
    SetKeyring, TokenPreset, UnixMs, apply,
};
use festoon_proto::map::MapVersion;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{ClusterId, PrivateKey};

use super::*;
use crate::pki::Authority;

fn seal_key(number: u8) -> SealKey {
    SealKey::new(PrivateKey::from_bytes([number; 32]))
}

pub(crate) fn vault(number: u8) -> Vault {
    Vault::new(ManagerId(number.into()), Some(seal_key(number)))
}

fn spec(number: u8) -> ManagerSpec {
    ManagerSpec {
        name: format!("m{number}"),
        role: ManagerRole::Full,
        public_key: PrivateKey::from_bytes([100 + number; 32]).public_key(),
        seal_key: Some(seal_key(number).public_key()),
        signing_key: festoon_proto::SigningKey::from_seed([number; 32]).verifying_key(),
        tls_key: festoon_proto::Fingerprint([number; 32]),
        underlay: vec![([192, 0, 2, number], 51820).into()],
        https: vec![([192, 0, 2, number], 8443).into()],
        priority: 100,
        format: FORMAT,
    }
}

pub(crate) fn then(state: &State, command: &Command) -> State {
    apply(state, state.version().0 + 1, command).unwrap().0
}

/// A cluster as `init` makes it, with one manager and a CA.
pub(crate) fn founded() -> (State, Authority) {
    let (commands, authority) = founding();
    (commands.iter().fold(State::default(), |state, command| then(&state, command)), authority)
}

/// The commands that make it.
pub(crate) fn founding() -> (Vec<Command>, Authority) {
    let authority = Authority::generate(ClusterId([1; 16])).unwrap();
    let data_key = DataKey::generate(1);
    let copy = data_key.seal_to(seal_key(1).public_key()).unwrap();
    let commands = vec![
        Command::Bootstrap(Bootstrap { cluster: ClusterId([1; 16]), manager: spec(1) }),
        Command::AddNetwork(AddNetwork {
            name: "default".into(),
            prefixes: vec!["10.0.0.0/8".parse().unwrap()],
            mtu: DEFAULT_MTU,
        }),
        Command::SetKeyring(SetKeyring {
            based_on: MapVersion(0),
            number: 1,
            copies: vec![(ManagerId(1), copy.sealed)],
            secrets: Vec::new(),
        }),
        Command::AddAuthority(add_authority(&authority, &data_key).unwrap()),
    ];
    (commands, authority)
}

/// Lets the second manager in, as the first does when it is asked.
pub(crate) fn joined(state: &State) -> State {
    let token = CreateToken {
        hash: SecretHash::of(b"2"),
        kind: TokenKind::Manager,
        network: None,
        addresses: festoon_control::registry::Addresses::NONE,
        preset: TokenPreset::default(),
        now: UnixMs(1),
        expires: UnixMs(100),
    };
    let state = then(state, &Command::CreateToken(token));
    let data_key = vault(1).data_key(&state).unwrap().seal_to(seal_key(2).public_key()).unwrap();
    let join = JoinManager { token: SecretHash::of(b"2"), manager: spec(2), data_key: Some(data_key), now: UnixMs(2) };
    then(&state, &Command::JoinManager(join))
}

#[test]
fn any_full_manager_has_the_ca_and_a_witness_has_not() {
    let (state, authority) = founded();
    let state = joined(&state);
    for number in [1, 2] {
        assert_eq!(vault(number).authority(&state).unwrap().to_secret_pem(), authority.to_secret_pem());
    }
    assert!(matches!(Vault::new(ManagerId(1), None).authority(&state), Err(VaultError::NoSealKey)));
    assert!(matches!(Vault::new(ManagerId(3), None).authority(&state), Err(VaultError::Witness)));
    assert!(matches!(vault(3).authority(&state), Err(VaultError::NoCopy)));
    let foreign = Vault::new(ManagerId(1), Some(seal_key(9)));
    assert!(matches!(foreign.authority(&state), Err(VaultError::Unseal)));
}

#[test]
fn a_manager_that_was_removed_reads_no_later_secret() {
    let (state, _) = founded();
    let name = SecretName("later".to_owned());
    let removed = then(&joined(&state), &Command::RemoveManager(ManagerId(2)));
    let known = vault(2).data_key(&joined(&state)).unwrap();
    assert!(removed.vault().keyring().is_known_outside);
    let rekeyed = then(&removed, &Command::SetKeyring(new_keyring(&removed, &vault(1)).unwrap()));
    let secret = vault(1).encrypt(&rekeyed, &name, b"new").unwrap();
    let stored = then(&rekeyed, &Command::PutSecret(PutSecret { name: name.clone(), secret: secret.clone() }));
    assert_eq!(vault(1).read(&stored, &name).unwrap().as_slice(), b"new");
    assert!(known.decrypt(&name, &secret).is_err());
    assert!(vault(1).authority(&stored).is_ok(), "what was stored before is taken along");
}
