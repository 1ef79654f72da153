//! A real TLS server whose certificates the test makes.

use std::net::SocketAddr;
use std::sync::Arc;

use festoon_proto::address::{MANAGER_TLS_NAME, agent_tls_name};
use festoon_proto::http::Credential;
use festoon_proto::{EndpointId, Fingerprint, ManagerId, SigningKey, Tie};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData as _, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::sample;

/// What all managers of these tests sign with, as in the sample map.
fn signer() -> SigningKey {
    SigningKey::from_seed([9; 32])
}

pub(crate) struct Ca {
    params: CertificateParams,
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    /// What servers send behind its certificate.
    more: Vec<CertificateDer<'static>>,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params.clone(), key), params, certificate, more: Vec::new() }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.certificate.der())
    }

    /// This CA's certificate from another CA.
    fn certified_by(&self, other: &Self) -> CertificateDer<'static> {
        self.params.signed_by(self.issuer.key(), &other.issuer).unwrap().der().clone()
    }

    /// A server with a certificate of this CA for `name`, that answers every request with `response`.
    pub(crate) async fn serve(&self, name: &str, response: &str) -> SocketAddr {
        let response: Arc<str> = response.into();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        let tie = Tie::new(&signer(), Fingerprint::of(&key.subject_public_key_info()), Vec::new());
        params.subject_alt_names.push(SanType::URI(tie.to_uri().try_into().unwrap()));
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let chain = [leaf.der(), self.certificate.der()].into_iter().chain(&self.more).cloned().collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(respond(acceptor.clone(), stream, Arc::clone(&response)));
            }
        });
        address
    }
}

async fn respond(acceptor: TlsAcceptor, stream: TcpStream, response: Arc<str>) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut request = vec![0; 4096];
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A port on which nothing listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// In seconds.
const DAY: i64 = 86_400;

const OK: &str = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
const GONE: &str = "HTTP/1.1 410 Gone\r\nconnection: close\r\n\r\n\
    {\"type\":\"endpoint-removed\",\"title\":\"the endpoint is gone\",\"status\":410}";
const BROKEN: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Managers m1, m2, ... at these addresses, as a map has them that believes these CAs.
fn managers(at: &[SocketAddr], authorities: &[Fingerprint]) -> Managers {
    let places = (1..).zip(at).map(|(id, &at)| Place {
        at,
        manager: Some(ManagerId(id)),
        signing_key: Some(signer().verifying_key()),
    });
    Managers { places: places.collect(), authorities: authorities.to_vec(), known: None }
}

async fn leave(at: &[SocketAddr], ca: Fingerprint) -> Result<(), AskError> {
    let credential = Credential::new(EndpointId(1), [1; 32]);
    ask_any(&managers(at, &[ca]), |manager| manager.leave(&credential)).await
}

#[tokio::test]
async fn the_cas_own_managers_are_trusted_whatever_their_address() {
    let ca = Ca::new("ours");
    let manager = ca.serve(&agent_tls_name(ManagerId(1)), OK).await;
    leave(&[manager], ca.fingerprint()).await.unwrap();
}

#[tokio::test]
async fn another_ca_or_another_name_is_not() {
    let (ours, theirs) = (Ca::new("ours"), Ca::new("theirs"));
    let stranger = theirs.serve(&agent_tls_name(ManagerId(1)), OK).await;
    let error = leave(&[stranger], ours.fingerprint()).await.unwrap_err().to_string();
    assert!(error.contains("it is not a manager of this cluster"), "{error}");
    // Another manager, a witness, and whoever is known to have the name that only newcomers check.
    for name in ["elsewhere.example", &agent_tls_name(ManagerId(2)), "m1.cluster.festoon.internal", MANAGER_TLS_NAME] {
        let misnamed = ours.serve(name, OK).await;
        let error = leave(&[misnamed], ours.fingerprint()).await.unwrap_err().to_string();
        assert!(error.contains("it is not a manager of this cluster"), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_certificate_of_the_ca_that_its_manager_does_not_stand_for_is_not_believed() {
    let ca = Ca::new("ours");
    let at = ca.serve(&agent_tls_name(ManagerId(1)), OK).await;
    let credential = Credential::new(EndpointId(1), [1; 32]);
    let ask = async |signing_key| {
        let places = vec![Place { at, manager: Some(ManagerId(1)), signing_key }];
        let managers = Managers { places, authorities: vec![ca.fingerprint()], known: None };
        ask_any(&managers, |manager| manager.leave(&credential)).await
    };
    ask(Some(signer().verifying_key())).await.unwrap();
    ask(None).await.unwrap();
    let other = SigningKey::from_seed([8; 32]).verifying_key();
    let error = ask(Some(other)).await.unwrap_err().to_string();
    assert!(error.contains("it is not a manager of this cluster"), "{error}");
}

#[tokio::test]
async fn a_copied_ca_certificate_does_not_make_a_manager() {
    let (ours, theirs) = (Ca::new("ours"), Ca::new("theirs"));
    // Our CA's certificate is public. It is shown here behind a leaf that another CA signed.
    let impostor = Ca { certificate: ours.certificate.clone(), ..theirs };
    let manager = impostor.serve(&agent_tls_name(ManagerId(1)), OK).await;
    let error = leave(&[manager], ours.fingerprint()).await.unwrap_err().to_string();
    assert!(error.contains("it is not a manager of this cluster"), "{error}");
}

#[tokio::test]
async fn a_manager_of_the_next_ca_is_believed_by_those_who_know_the_one_before() {
    let (before, mut next, stranger) = (Ca::new("before"), Ca::new("next"), Ca::new("stranger"));
    next.more = vec![next.certified_by(&before), before.certificate.der().clone()];
    let manager = next.serve(&agent_tls_name(ManagerId(1)), OK).await;
    leave(&[manager], before.fingerprint()).await.unwrap();
    leave(&[manager], next.fingerprint()).await.unwrap();
    assert!(leave(&[manager], stranger.fingerprint()).await.is_err());
    next.more = vec![before.certificate.der().clone()];
    let uncertified = next.serve(&agent_tls_name(ManagerId(1)), OK).await;
    assert!(leave(&[uncertified], before.fingerprint()).await.is_err(), "the one before did not certify the next");
    let credential = Credential::new(EndpointId(1), [1; 32]);
    let both = [before.fingerprint(), next.fingerprint()];
    ask_any(&managers(&[uncertified], &both), |manager| manager.leave(&credential)).await.unwrap();
}

#[tokio::test]
async fn managers_are_asked_in_turn_until_one_answers() {
    let ca = Ca::new("ours");
    let managers = [
        nobody().await,
        ca.serve(&agent_tls_name(ManagerId(2)), GONE).await,
        ca.serve(&agent_tls_name(ManagerId(3)), BROKEN).await,
        ca.serve(&agent_tls_name(ManagerId(4)), OK).await,
    ];
    leave(&managers, ca.fingerprint()).await.unwrap();

    let refused = leave(&managers[..3], ca.fingerprint()).await.unwrap_err();
    assert!(refused.is_removed());
    assert!(refused.to_string().starts_with("the endpoint is gone (says the manager at 127.0.0.1:"), "{refused}");

    let unanswered =
        leave(&[managers[0], nobody().await, managers[2]], ca.fingerprint()).await.unwrap_err().to_string();
    assert!(unanswered.starts_with("no manager answers (127.0.0.1:"), "{unanswered}");
    assert!(unanswered.contains("refused") && unanswered.contains("502"), "{unanswered}");
}

#[tokio::test]
async fn a_check_compares_clocks_and_reads_the_certificate() {
    let ca = Ca::new("ours");
    let first = sample::map().managers.swap_remove(0);
    let credential = Credential::new(EndpointId(1), [1; 32]);
    for (date, behind, ahead) in [
        ("date: Thu, 01 Jan 2015 00:00:00 GMT\r\n", false, true),
        ("date: Fri, 01 Jan 2100 00:00:00 GMT\r\n", true, false),
        ("date: yesterday\r\n", false, false),
        ("", false, false),
    ] {
        let answer = format!("HTTP/1.1 204 No Content\r\n{date}connection: close\r\n\r\n");
        let manager = ca.serve(&agent_tls_name(ManagerId(1)), &answer).await;
        let checked =
            Client::of_manager(&first, manager, &[ca.fingerprint()]).unwrap().check(&credential).await.unwrap();
        let clock = checked.clock_ahead_s.unwrap_or(0);
        assert_eq!((clock < -DAY, clock > DAY), (behind, ahead), "{date:?}: {checked:?}");
        assert!(checked.certificate_until.unwrap() > checked.now, "{checked:?}");
    }
    let gone = ca.serve(&agent_tls_name(ManagerId(1)), GONE).await;
    let refused = Client::of_manager(&first, gone, &[ca.fingerprint()]).unwrap().check(&credential).await.unwrap_err();
    assert!(refused.is_removed(), "{refused}");
}
