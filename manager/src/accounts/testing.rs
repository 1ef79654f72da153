//! A registry with accounts, made without a cluster.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use festoon_control::registry::{
    AddNetwork, AddUser, Addresses, Bootstrap, Command, CreateApiToken, CreateToken, DEFAULT_MTU, FORMAT, JoinManager,
    LogIn, ManagerRole, ManagerSpec, PasswordHash, Proof, State, TokenPreset, UnixMs, apply,
};
use festoon_proto::access::{Grant, Role, Scope};
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{ApiTokenId, ClusterId, NetworkId, PublicKey, SessionId, UserId};

use super::secret::{ApiTokenSecret, Secret, SessionSecret};

pub(super) const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
/// When sessions and tokens expire.
pub(crate) const END: UnixMs = UnixMs(1_000_000);

pub(super) fn secret() -> Secret {
    Secret::from_bytes([5; 32])
}

pub(super) fn session(id: u64) -> SessionSecret {
    SessionSecret { id: SessionId(id), secret: secret() }
}

pub(super) fn token(id: u32) -> ApiTokenSecret {
    ApiTokenSecret { id: ApiTokenId(id), secret: secret() }
}

/// `state` after `command`.
pub(crate) fn after(state: &State, command: &Command) -> State {
    apply(state, state.version().0 + 1, command).unwrap().0
}

fn manager() -> ManagerSpec {
    ManagerSpec {
        name: "m1".to_owned(),
        role: ManagerRole::Full,
        public_key: PublicKey::from_bytes([1; 32]),
        seal_key: None,
        signing_key: festoon_proto::SigningKey::from_seed([1; 32]).verifying_key(),
        tls_key: festoon_proto::Fingerprint([1; 32]),
        underlay: vec![([192, 0, 2, 1], 51820).into()],
        https: vec![([192, 0, 2, 1], 8443).into(), "[2001:db8::1]:8443".parse().unwrap()],
        priority: 1,
        format: FORMAT,
    }
}

/// `state`, which another manager has joined.
pub(crate) fn with_second_manager(state: &State) -> State {
    let token = SecretHash::of(b"a token for a manager");
    let (created, expires) = (UnixMs(1), END);
    let made = CreateToken {
        hash: token,
        kind: TokenKind::Manager,
        network: None,
        addresses: Addresses::NONE,
        preset: TokenPreset::default(),
        now: created,
        expires,
    };
    let manager = ManagerSpec {
        name: "m2".to_owned(),
        public_key: PublicKey::from_bytes([2; 32]),
        underlay: vec![([192, 0, 2, 2], 51820).into()],
        https: vec![([192, 0, 2, 2], 8443).into()],
        ..manager()
    };
    let join = JoinManager { token, manager, data_key: None, now: created };
    [Command::CreateToken(made), Command::JoinManager(join)]
        .iter()
        .fold(state.clone(), |state, command| after(&state, command))
}

/// Manager m1, networks n1 and n2, user u1 (owner, session s1) and u2 (operator of n1, session s2, token k1 to view n1).
pub(crate) fn state() -> State {
    let manager = manager();
    let of_n1 = |role| Grant { role, networks: Scope::Networks([NetworkId(1)].into()) };
    let token = CreateApiToken {
        hash: secret().hash(),
        name: "ci".to_owned(),
        user: UserId(2),
        grant: of_n1(Role::Viewer),
        is_sensitive: false,
        now: UnixMs(1),
        expires: END,
    };
    let commands = [
        Command::Bootstrap(Bootstrap { cluster: ClusterId([7; 16]), manager }),
        network("one", "10.1.0.0/16"),
        network("two", "10.2.0.0/16"),
        user("root", Grant::OWNER),
        user("ann", of_n1(Role::Operator)),
        log_in(1, 4),
        log_in(2, 5),
        Command::CreateApiToken(token),
    ];
    commands.iter().fold(State::default(), |state, command| after(&state, command))
}

fn network(name: &str, prefix: &str) -> Command {
    let prefixes = vec![prefix.parse().unwrap()];
    Command::AddNetwork(AddNetwork { name: name.to_owned(), prefixes, mtu: DEFAULT_MTU })
}

fn user(name: &str, grant: Grant) -> Command {
    let (name, password) = (name.to_owned(), Some(PasswordHash::new("$argon2id$")));
    Command::AddUser(AddUser { name, grant, password, identity: None, now: UnixMs(1) })
}

fn log_in(user: u32, checked: u64) -> Command {
    Command::LogIn(LogIn {
        user: UserId(user),
        proof: Proof::Password,
        checked: festoon_proto::map::MapVersion(checked),
        hash: secret().hash(),
        from: FROM,
        agent: String::new(),
        now: UnixMs(1),
        confirmed: UnixMs(1),
        expires: END,
    })
}

/// Headers with a `Host` of ours.
pub(super) fn headers(more: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("m1:8443"))]);
    for (name, value) in more {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}
