//! Real TLS connections while certificates and CAs are replaced.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::routing::post;
use axum::{Extension, Router};
use festoon_control::registry::{Command, ManagerRole, State, UnixMs, UpdateManager};
use festoon_proto::address::MANAGER_TLS_NAME;
use festoon_proto::{Fingerprint, ManagerId, SigningKey};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::cluster::{Https, Threads, unix_now};
use crate::data_dir::DataDir;
use crate::https;
use crate::pki::{Authority, Credentials, SigningRequest, TlsKey, VALIDITY_MS, client_config};
use crate::vault::tests::{founded, joined, then, vault};
use crate::vault::{add_authority, trusted_pem};

const LIMIT: Duration = Duration::from_secs(5);

/// The certificate that a manager shows, to whoever asks with one.
async fn who(Extension(peer): Extension<https::Peer>) -> String {
    peer.certificate.map(|certificate| Fingerprint::of(&certificate).to_string()).unwrap_or_default()
}

/// The request of a manager, by its number, for this key of its certificate.
fn request_of(number: u8, key: &TlsKey) -> SigningRequest {
    let signer = SigningKey::from_seed([number; 32]);
    SigningRequest::from_pem(&key.signing_request(&signer, &[]).unwrap()).unwrap()
}

/// A manager with its files, which holds `state`.
struct Member {
    keeper: Keeper,
    directory: tempfile::TempDir,
}

impl Member {
    fn new(number: u8, state: &State, states: watch::Receiver<Arc<State>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::prepare(directory.path()).unwrap();
        let (me, vault, key) = (ManagerId(number.into()), vault(number), TlsKey::generate().unwrap());
        let (signing_key, request) = (SigningKey::from_seed([number; 32]), request_of(number, &key));
        let chain = vault.certify(state, me, request, unix_now()).unwrap();
        Credentials::create(&data, &trusted_pem(state), &key, &chain).unwrap();
        let credentials = Credentials::load(&data).unwrap();
        let managers = Https::new(&credentials, states, HashMap::new(), Threads::of_caller());
        Self {
            keeper: Keeper {
                me,
                vault,
                signing_key,
                introductions: Vec::new(),
                credentials,
                managers,
                told: Told::default(),
            },
            directory,
        }
    }

    fn data(&self) -> DataDir {
        DataDir::prepare(self.directory.path()).unwrap()
    }

    fn shown(&self) -> Fingerprint {
        Fingerprint::of(&self.keeper.credentials.now().chain[0])
    }

    async fn keep(&self, state: &State, now: UnixMs) {
        self.keeper.keep(state, now).await.unwrap();
    }

    /// Asks the first manager who we are.
    async fn ask(&self) -> Option<String> {
        let answer = self.keeper.managers.post(ManagerId(1), "/who", Bytes::new(), LIMIT).await;
        answer.ok().map(|answer| String::from_utf8(answer).unwrap())
    }
}

/// The first manager, serving, and the second, which asks it. The registry names where the first listens.
struct World {
    first: Member,
    second: Member,
    states: watch::Sender<Arc<State>>,
    at: SocketAddr,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "no manager serves this route")]
    async fn new() -> Self {
        let state = joined(&founded().0);
        let states = watch::Sender::new(Arc::new(state.clone()));
        let [first, second] = [1, 2].map(|number| Member::new(number, &state, states.subscribe()));
        let config = https::Config { listen: Some(([127, 0, 0, 1], 0).into()), ..https::Config::default() };
        let members = https::Members { threads: Threads::of_caller(), states: states.subscribe() };
        let server = https::build(&config, 0, &first.keeper.credentials, members).unwrap();
        let at = server.local_addr().unwrap();
        let routes = Router::new().route("/who", post(who));
        tokio::spawn(server.run(https::Routes {
            everybody: routes.clone(),
            managers: routes.clone(),
            consensus: routes,
        }));
        let world = Self { first, second, states, at };
        world.apply(&Command::UpdateManager(UpdateManager {
            manager: ManagerId(1),
            name: None,
            underlay: None,
            https: Some(vec![at]),
            priority: None,
            ..UpdateManager::of(ManagerId(1))
        }));
        world
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.states.borrow())
    }

    fn apply(&self, command: &Command) {
        let next = then(&self.state(), command);
        self.states.send_replace(Arc::new(next));
    }

    async fn first_keeps(&self) {
        self.first.keep(&self.state(), unix_now()).await;
    }

    async fn connect(&self, trusted: &[Fingerprint]) -> Option<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.at).await.unwrap();
        let connector = TlsConnector::from(Arc::new(client_config(trusted, None).unwrap()));
        connector.connect(ServerName::try_from(MANAGER_TLS_NAME).unwrap(), stream).await.ok()
    }

    async fn is_believed_by(&self, trusted: Fingerprint) -> bool {
        self.connect(&[trusted]).await.is_some()
    }
}

fn certificate_of(stream: &TlsStream<TcpStream>) -> Fingerprint {
    Fingerprint::of(&stream.get_ref().1.peer_certificates().unwrap()[0])
}

/// One request over a connection that stays.
async fn request(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"POST /who HTTP/1.1\r\nhost: manager\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let (mut answer, mut part) = (Vec::new(), [0; 1024]);
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut part).await.unwrap();
        assert_ne!(read, 0, "the connection ended");
        answer.extend_from_slice(&part[..read]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_open_connections_stay() {
    let world = World::new().await;
    let trusted = world.state().vault().issuer().unwrap();
    let before = world.first.shown();
    let mut open = world.connect(&[trusted]).await.unwrap();
    request(&mut open).await;
    assert_eq!(world.second.ask().await, Some(world.second.shown().to_string()));

    world.first_keeps().await;
    let moved = world.first.shown();
    assert_ne!(moved, before, "it is reached elsewhere");
    assert_eq!(certificate_of(&world.connect(&[trusted]).await.unwrap()), moved);
    let until = world.first.keeper.credentials.now().leaf.until;
    world.first.keep(&world.state(), UnixMs(until.0 - VALIDITY_MS / 3 - 1000)).await;
    assert_eq!(world.first.shown(), moved, "it is not due yet");
    world.first.keep(&world.state(), UnixMs(until.0 - VALIDITY_MS / 3)).await;
    assert_ne!(world.first.shown(), moved);
    assert_eq!(certificate_of(&world.connect(&[trusted]).await.unwrap()), world.first.shown());
    let later = world.first.keeper.credentials.now().leaf.until;
    assert!(later > until);
    world.first_keeps().await;
    assert!(world.first.keeper.credentials.now().leaf.until < later, "a clock that was fast has been set");

    assert_eq!(certificate_of(&open), before);
    request(&mut open).await;
    let earlier = world.second.shown();
    world.second.keep(&world.state(), until).await;
    assert_ne!(world.second.shown(), earlier);
    assert_eq!(world.second.ask().await, Some(world.second.shown().to_string()), "as a client, too");
}

#[tokio::test]
async fn a_ca_is_replaced_under_clients_that_know_the_old_one() {
    let world = World::new().await;
    let old = world.state().vault().issuer().unwrap();
    let next = Authority::generate(world.state().cluster().unwrap()).unwrap();
    let new = next.fingerprint();
    let believed = async || (world.is_believed_by(old).await, world.is_believed_by(new).await);

    world.apply(&Command::AddAuthority(add_authority(&next, &vault(1).data_key(&world.state()).unwrap()).unwrap()));
    world.first_keeps().await;
    assert_eq!(world.first.keeper.credentials.now().trusted, [old, new]);
    assert_eq!(believed().await, (true, false));

    world.apply(&Command::PromoteAuthority(new));
    world.first_keeps().await;
    assert_eq!(Shown::of(&world.first.keeper.credentials).issuer, Some(new));
    assert_eq!(believed().await, (true, true));
    // The second manager has heard of nothing: it believes the old CA and shows a certificate of it.
    assert_eq!(world.second.keeper.credentials.now().trusted, [old]);
    assert_eq!(world.second.ask().await, Some(world.second.shown().to_string()));
    let token_of_now = world.state().vault().issuer().unwrap();
    assert!(world.is_believed_by(token_of_now).await);

    let mut open = world.connect(&[old]).await.unwrap();
    world.apply(&Command::RetireAuthority(old));
    world.first_keeps().await;
    assert_eq!(believed().await, (false, true));
    request(&mut open).await;
    let state = world.state();
    let anew =
        Https::new(&world.second.keeper.credentials, world.states.subscribe(), HashMap::new(), Threads::of_caller());
    assert!(anew.post(ManagerId(1), "/who", Bytes::new(), LIMIT).await.is_err(), "a new connection comes too late");
    assert!(world.second.ask().await.is_some(), "the open one stays");
    world.second.keep(&state, unix_now()).await;
    assert_eq!(world.second.ask().await, Some(world.second.shown().to_string()));
    assert_eq!(world.first.keeper.credentials.now().chain.len(), 2, "nothing of the old CA is shown");
}

/// The CA's key is on every full manager, also on one that was removed.
#[tokio::test]
async fn the_key_of_the_ca_makes_no_manager() {
    let world = World::new().await;
    let state = world.state();
    let authority = vault(1).authority(&state).unwrap();
    let forge = |name: u16, signer: u8| {
        let key = TlsKey::generate().unwrap();
        let who = (ManagerId(name), ManagerRole::Full);
        let certificate = authority.issue(request_of(signer, &key), who, &[world.at], unix_now()).unwrap();
        (key, certificate + authority.certificate_pem())
    };
    for (number, is_believed) in [(1, true), (9, false)] {
        // In the place of the first manager, in its name, and with its key of a certificate or not.
        let (key, chain) = forge(1, number);
        world.first.keeper.credentials.show(&key, &chain).unwrap();
        // Over a connection of its own: those that are open stay.
        let anew = Https::new(
            &world.second.keeper.credentials,
            world.states.subscribe(),
            HashMap::new(),
            Threads::of_caller(),
        );
        let asked = anew.post(ManagerId(1), "/who", Bytes::new(), LIMIT).await;
        assert_eq!(asked.is_ok(), is_believed, "signed by {number}");
        let anybody = TlsKey::generate().unwrap();
        let refused = vault(1).certify(&state, ManagerId(1), request_of(number, &anybody), unix_now());
        assert_eq!(refused.is_ok(), is_believed, "signed by {number}");
    }
}

#[tokio::test]
async fn nothing_is_kept_that_can_not_be_used() {
    let world = World::new().await;
    let credentials = &world.first.keeper.credentials;
    let before = world.first.shown();
    assert!(credentials.trust("nonsense").is_err());
    assert!(credentials.show(&TlsKey::generate().unwrap(), "nonsense").is_err());
    let request = request_of(1, &TlsKey::generate().unwrap());
    let chain = vault(1).certify(&world.state(), ManagerId(1), request, unix_now()).unwrap();
    assert!(credentials.show(&TlsKey::generate().unwrap(), &chain).is_err(), "the key of another certificate");
    assert!(world.is_believed_by(world.state().vault().issuer().unwrap()).await);
    assert_eq!(Credentials::load(&world.first.data()).unwrap().now().chain, credentials.now().chain);
    // Without a copy of the registry, nothing is certain and nothing changes.
    world.first.keep(&State::default(), unix_now()).await;
    assert_eq!(world.first.shown(), before);
}
