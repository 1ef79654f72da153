//! A cluster to take snapshots of.

use std::sync::LazyLock;

use festoon_control::registry::{
    AddNetwork, Addresses, Bootstrap, Command, CreateToken, DEFAULT_MTU, FORMAT, JoinEndpoint, JoinManager,
    ManagerRole, ManagerSpec, PutSecret, SecretName, SetKeyring, State, TokenPreset, UnixMs, apply,
};
use festoon_proto::map::MapVersion;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{ClusterId, Fingerprint, ManagerId, NetworkId, PrivateKey, PublicKey, SigningKey};

use super::{Content, Header};
use crate::pki::Authority;
use crate::vault::{DataKey, SealKey, Vault, add_authority, recovery_recipient};

/// Some time in 2026.
pub(super) const NOW: UnixMs = UnixMs(1_795_242_158_000);

const CLUSTER: ClusterId = ClusterId([1; 16]);

static AUTHORITY: LazyLock<(String, String)> = LazyLock::new(|| {
    let authority = Authority::generate(CLUSTER).unwrap();
    (authority.certificate_pem().to_owned(), authority.to_secret_pem().to_string())
});

/// What signs with the recovery key.
pub(super) fn recovery() -> SigningKey {
    SigningKey::from_seed([77; 32])
}

/// The key of the cluster's CA.
pub(super) fn authority_pem() -> String {
    AUTHORITY.1.clone()
}

/// The vault of manager 1 or 2.
pub(super) fn vault(number: u8) -> Vault {
    Vault::new(ManagerId(number.into()), Some(seal_key(number)))
}

fn seal_key(number: u8) -> SealKey {
    SealKey::new(PrivateKey::from_bytes([number; 32]))
}

fn spec(number: u8, name: &str, role: ManagerRole) -> ManagerSpec {
    let is_full = role == ManagerRole::Full;
    ManagerSpec {
        name: name.to_owned(),
        role,
        public_key: PublicKey::from_bytes([100 + number; 32]),
        seal_key: is_full.then(|| seal_key(number).public_key()),
        signing_key: SigningKey::from_seed([number; 32]).verifying_key(),
        tls_key: Fingerprint([number; 32]),
        underlay: is_full.then(|| ([192, 0, 2, number], 51820).into()).into_iter().collect(),
        https: vec![([192, 0, 2, number], 8443).into()],
        priority: 100,
        format: FORMAT,
    }
}

fn token(kind: TokenKind, number: u64) -> Command {
    let network = (kind == TokenKind::Endpoint).then_some(NetworkId(1));
    let (hash, addresses) = (SecretHash::of(&number.to_le_bytes()), Addresses::NONE);
    Command::CreateToken(CreateToken {
        hash,
        kind,
        network,
        addresses,
        preset: TokenPreset::default(),
        now: NOW,
        expires: NOW.after(3_600_000),
    })
}

fn witness_token(number: u64) -> Command {
    let Command::CreateToken(token) = token(TokenKind::Manager, number) else { unreachable!() };
    Command::CreateToken(CreateToken { preset: TokenPreset { is_for_witness: true, ..token.preset }, ..token })
}

fn join_manager(token: u64, manager: ManagerSpec, data_key: &DataKey) -> Command {
    let data_key = manager.seal_key.map(|key| data_key.seal_to(key).unwrap());
    Command::JoinManager(JoinManager { token: SecretHash::of(&token.to_le_bytes()), manager, data_key, now: NOW })
}

fn join_endpoint(number: u64) -> [Command; 2] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let join = JoinEndpoint {
        token: SecretHash::of(&(1000 + number).to_le_bytes()),
        public_key: PublicKey::from_bytes(key),
        credential: SecretHash::of(&key),
        name: format!("host-{number}"),
        now: NOW,
    };
    [token(TokenKind::Endpoint, 1000 + number), Command::JoinEndpoint(join)]
}

fn founded(data_key: &DataKey) -> Vec<Command> {
    let authority = Authority::from_pem(AUTHORITY.0.clone(), &AUTHORITY.1).unwrap();
    let sealed = data_key.seal_to(seal_key(1).public_key()).unwrap().sealed;
    let prefixes = vec!["172.16.0.0/12".parse().unwrap(), "fd00:1::/64".parse().unwrap()];
    vec![
        Command::Bootstrap(Bootstrap { cluster: CLUSTER, manager: spec(1, "m1", ManagerRole::Full) }),
        Command::AddNetwork(AddNetwork { name: "default".to_owned(), prefixes, mtu: DEFAULT_MTU }),
        Command::SetKeyring(SetKeyring {
            based_on: MapVersion(0),
            number: 1,
            copies: vec![(ManagerId(1), sealed)],
            secrets: Vec::new(),
        }),
        Command::AddAuthority(add_authority(&authority, data_key).unwrap()),
        token(TokenKind::Manager, 2),
        join_manager(2, spec(2, "m2", ManagerRole::Full), data_key),
        witness_token(3),
        join_manager(3, spec(3, "witness", ManagerRole::Witness), data_key),
    ]
}

fn put(name: SecretName, secret: &[u8], data_key: &DataKey) -> Command {
    let secret = data_key.encrypt(&name, secret).unwrap();
    Command::PutSecret(PutSecret { name, secret })
}

/// A cluster of two managers and a witness, with so many endpoints and a secret.
pub(super) fn cluster(endpoints: u64) -> Content {
    let data_key = DataKey::generate(1);
    let mut commands = founded(&data_key);
    commands.push(Command::SetRecoveryKey(recovery().verifying_key()));
    commands.push(put(SecretName("a-secret".to_owned()), b"attack at dawn", &data_key));
    commands.extend((0..endpoints).flat_map(join_endpoint));
    let numbered = (1..).zip(&commands);
    let state = numbered.fold(State::default(), |state, (index, command)| apply(&state, index, command).unwrap().0);
    let header = Header {
        program: "0.1.0".to_owned(),
        cluster: CLUSTER,
        manager: "m1".to_owned(),
        created: NOW,
        registry_format: state.format(),
        data_key: data_key.number(),
    };
    Content { header, data_key, state }
}

/// The registry of a cluster whose snapshots are encrypted to `recipient`.
pub(super) fn with_recipient(cluster: Content, recipient: &str) -> State {
    let Content { state, data_key, .. } = cluster;
    let command = put(recovery_recipient(), recipient.as_bytes(), &data_key);
    apply(&state, state.version().0 + 1, &command).unwrap().0
}
