//! TLS under the cluster's CA. The provider is passed on everywhere: nothing depends on a process-wide default.

use std::fmt;
use std::sync::Arc;

use festoon_proto::{Fingerprint, ManagerId, VerifyingKey};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use super::members::{ExpiredToo, expired_too};
use super::{Tied, server_name};

/// What managers talk to one another (ALPN, RFC 7301). Whoever does not ask for it reaches none of the routes for managers.
pub const CLUSTER_ALPN: &[u8] = b"festoon-cluster/1";

/// What consensus talks (ALPN), on connections that carry nothing else.
pub const CONSENSUS_ALPN: &[u8] = b"festoon-consensus/1";

/// TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file holds no certificate or no key.
    #[error("a certificate or key file is damaged: restore it from a backup")]
    BadPem,
    /// rustls refuses them.
    #[error("TLS refuses the certificates of this manager")]
    Refused(#[from] rustls::Error),
    /// A CA's certificate is none.
    #[error("the certificate of a CA is damaged: restore ca.crt from a backup")]
    BadAuthority(#[from] rustls::server::VerifierBuilderError),
}

/// What a manager shows of itself, as server and as client.
pub struct TlsIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity(redacted)")
    }
}

impl TlsIdentity {
    /// From a key, a manager's own certificate and those behind it, all in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| TlsError::BadPem)?;
        Ok(Self { chain: certificates(pem)?, key })
    }
}

/// The certificates in `pem`, at least one.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or(TlsError::BadPem)
}

/// The fingerprints of the certificates in `pem`, at least one.
pub fn fingerprints(pem: &str) -> Result<Vec<Fingerprint>, TlsError> {
    Ok(certificates(pem)?.iter().map(|certificate| Fingerprint::of(certificate)).collect())
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For requests to managers, with our own certificate if we are one. Believes managers whose certificate comes from one of
/// the CAs `trusted`, which they must show too.
pub fn client_config(trusted: &[Fingerprint], identity: Option<&TlsIdentity>) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = PinnedAuthorities { trusted: trusted.to_vec(), manager: None, provider: Arc::clone(&provider) };
    let verifier = Arc::new(verifier);
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let config = config.dangerous().with_custom_certificate_verifier(verifier);
    Ok(match identity {
        Some(identity) => config.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?,
        None => config.with_no_client_auth(),
    })
}

/// The same configuration for what only managers ask, by `protocol` (ALPN), which believes no other manager than the one that signs
/// with `key`. Also if its certificate has expired: the clock of this machine may be wrong, and that manager may be the one to
/// learn it from. Who is still in the registry is believed.
pub fn of_manager(config: &ClientConfig, trusted: &[Fingerprint], key: VerifyingKey, protocol: &[u8]) -> ClientConfig {
    let (trusted, provider) = (trusted.to_vec(), Arc::clone(config.crypto_provider()));
    let mut config = config.clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    let verifier = PinnedAuthorities { trusted, manager: Some(key), provider };
    config.dangerous().set_certificate_verifier(Arc::new(verifier));
    config
}

/// For the HTTPS listener. Who shows a certificate must have one from a CA in `ca_pem`; nobody has to show one.
pub fn server_config(ca_pem: &str, identity: &TlsIdentity) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let mut roots = RootCertStore::empty();
    certificates(ca_pem)?.into_iter().try_for_each(|ca| roots.add(ca))?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let clients = clients.allow_unauthenticated().build()?;
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let config = config.with_client_cert_verifier(Arc::new(ExpiredToo(clients)));
    let mut config = config.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = [CONSENSUS_ALPN, CLUSTER_ALPN, b"http/1.1"].map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// Which of `managers` a certificate belongs to. Says nothing of who signed it: TLS has checked that before.
pub fn manager_of(certificate: &CertificateDer<'_>, managers: impl Iterator<Item = ManagerId>) -> Option<ManagerId> {
    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    let owns = |name: &ServerName<'_>| rustls::client::verify_server_name(&certificate, name).is_ok();
    managers.into_iter().find(|manager| server_name(*manager).is_some_and(|name| owns(&name)))
}

#[derive(Debug)]
struct PinnedAuthorities {
    trusted: Vec<Fingerprint>,
    /// The key of the one manager that is believed; any of the cluster if it is not known.
    manager: Option<VerifyingKey>,
    provider: Arc<CryptoProvider>,
}

impl PinnedAuthorities {
    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }
}

impl ServerCertVerifier for PinnedAuthorities {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for ca in chain.iter().filter(|certificate| self.trusted.contains(&Fingerprint::of(certificate))) {
            roots.add(ca.clone().into_owned())?;
        }
        if roots.is_empty() {
            return Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        // The way from a certificate of a new CA to the one before is in the chain too.
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let Some(key) = &self.manager else { return verifier.verify_server_cert(leaf, chain, name, ocsp, now) };
        if !Tied::read(leaf).is_some_and(|tied| tied.is_by(key)) {
            return Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        expired_too(now, |at| verifier.verify_server_cert(leaf, chain, name, ocsp, at))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signature, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

/// What a client that trusts these CAs says to a server with this chain.
#[cfg(test)]
pub(super) fn verify_chain(
    trusted: &[Fingerprint],
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    at: UnixTime,
) -> Result<(), rustls::Error> {
    verify_manager(trusted, None, chain, name, at)
}

/// The same of a client that believes no other manager than the one with this signing key.
#[cfg(test)]
pub(super) fn verify_manager(
    trusted: &[Fingerprint],
    manager: Option<VerifyingKey>,
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    at: UnixTime,
) -> Result<(), rustls::Error> {
    let verifier = PinnedAuthorities { trusted: trusted.to_vec(), manager, provider: provider() };
    verifier.verify_server_cert(&chain[0], &chain[1..], name, &[], at).map(drop)
}
