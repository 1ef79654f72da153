//! TLS under the cluster's CA. The provider is passed on everywhere: nothing depends on a process-wide default.

use std::fmt;
use std::sync::Arc;

use festoon_proto::ManagerId;
use festoon_proto::token::SecretHash;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use super::server_name;

/// TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file holds no certificate or no key.
    #[error("a certificate or key file is damaged: restore it from a backup")]
    BadPem,
    /// rustls refuses them.
    #[error("TLS refuses the certificates of this manager")]
    Refused(#[from] rustls::Error),
    /// The CA's certificate is none.
    #[error("the certificate of the CA is damaged: restore ca.crt from a backup")]
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
    /// From a manager's own certificate followed by the CA's, and its key, all in PEM.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsError::BadPem)?;
        Ok(Self { chain: certificates(chain)?, key })
    }
}

/// The certificates in `pem`, at least one.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or(TlsError::BadPem)
}

/// The fingerprint of the first certificate in `pem`.
pub fn ca_fingerprint(pem: &str) -> Result<[u8; 32], TlsError> {
    certificates(pem).and_then(|all| all.first().map(fingerprint).ok_or(TlsError::BadPem))
}

/// SHA-256 of a certificate in DER.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    SecretHash::of(certificate).0
}

/// Whom to believe: managers whose certificate was signed by the CA of this fingerprint, which they must show too.
#[derive(Debug, Clone, Copy)]
pub struct Trust {
    /// SHA-256 of the CA's certificate in DER.
    pub ca_fingerprint: [u8; 32],
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For requests to managers, with our own certificate if we are one.
pub fn client_config(trust: Trust, identity: Option<&TlsIdentity>) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(PinnedAuthority { trust, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(verifier);
    Ok(match identity {
        Some(identity) => config.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?,
        None => config.with_no_client_auth(),
    })
}

/// For the HTTPS listener. Who shows a certificate must have one from the CA in `ca_pem`; nobody has to show one.
pub fn server_config(ca_pem: &str, identity: &TlsIdentity) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let mut roots = RootCertStore::empty();
    certificates(ca_pem)?.into_iter().try_for_each(|ca| roots.add(ca))?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let clients = clients.allow_unauthenticated().build()?;
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_client_cert_verifier(clients);
    let mut config = config.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Which of `managers` a certificate belongs to. Says nothing of who signed it: TLS has checked that before.
pub fn manager_of(certificate: &CertificateDer<'_>, managers: impl Iterator<Item = ManagerId>) -> Option<ManagerId> {
    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    let owns = |name: &ServerName<'_>| rustls::client::verify_server_name(&certificate, name).is_ok();
    managers.into_iter().find(|manager| server_name(*manager).is_some_and(|name| owns(&name)))
}

#[derive(Debug)]
struct PinnedAuthority {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl PinnedAuthority {
    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = chain.iter().find(|certificate| fingerprint(certificate) == self.trust.ca_fingerprint);
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let mut roots = RootCertStore::empty();
        roots.add(pinned.ok_or(unknown)?.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(leaf, &[], name, ocsp, now)
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

#[cfg(test)]
mod tests {
    use festoon_proto::ClusterId;

    use super::*;
    use crate::pki::{Authority, SigningRequest, TlsKey, tls_name};

    fn leaf(authority: &Authority, manager: ManagerId) -> Vec<CertificateDer<'static>> {
        let request = TlsKey::generate().unwrap().signing_request().unwrap();
        let request = SigningRequest::from_pem(&request).unwrap();
        let pem = authority.issue(request, manager, &["192.0.2.1:8443".parse().unwrap()]).unwrap();
        certificates(&format!("{pem}{}", authority.certificate_pem())).unwrap()
    }

    fn verify(trusted: &Authority, chain: &[CertificateDer<'_>], name: &str) -> Result<(), rustls::Error> {
        let ca = certificates(trusted.certificate_pem()).unwrap();
        let trust = Trust { ca_fingerprint: fingerprint(&ca[0]) };
        let verifier = PinnedAuthority { trust, provider: provider() };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now()).map(drop)
    }

    #[test]
    fn a_manager_is_believed_under_its_own_names_and_its_own_ca_alone() {
        let ours = Authority::generate(ClusterId([1; 16])).unwrap();
        let reloaded = Authority::from_pem(ours.certificate_pem().to_owned(), &ours.to_secret_pem()).unwrap();
        let chain = leaf(&reloaded, ManagerId(2));
        for name in ["manager.festoon.internal", "192.0.2.1", &tls_name(ManagerId(2))] {
            assert_eq!(verify(&ours, &chain, name), Ok(()), "{name}");
        }
        assert!(verify(&ours, &chain, &tls_name(ManagerId(1))).is_err());
        assert!(verify(&ours, &chain[..1], "manager.festoon.internal").is_err(), "the CA must be shown");
        let theirs = Authority::generate(ClusterId([1; 16])).unwrap();
        assert!(verify(&theirs, &chain, "manager.festoon.internal").is_err());
        let mixed = [leaf(&theirs, ManagerId(2))[0].clone(), chain[1].clone()];
        assert!(verify(&ours, &mixed, "manager.festoon.internal").is_err(), "another CA signed it");
    }

    #[test]
    fn a_certificate_names_one_manager() {
        let authority = Authority::generate(ClusterId([1; 16])).unwrap();
        let chain = leaf(&authority, ManagerId(12));
        assert_eq!(manager_of(&chain[0], (1..20).map(ManagerId)), Some(ManagerId(12)));
        assert_eq!(manager_of(&chain[0], (1..12).map(ManagerId)), None);
        assert_eq!(manager_of(&chain[1], (1..20).map(ManagerId)), None);
        assert!(SigningRequest::from_pem("nonsense").is_err());
    }
}
