//! Whom the agent trusts: managers whose certificate a CA of the cluster signed, and nobody else.
//!
//! The host's certificate store has no say. A token carries the fingerprint of the CA, and every map those of all CAs that
//! count; a manager sends the CA's certificate behind its own. A map also has the signing key of each manager, which must
//! stand for the key of its certificate: a manager that was removed still has the CA's key.

use std::sync::Arc;

use festoon_proto::{Fingerprint, Tie, VerifyingKey};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;

/// A TLS configuration that believes the CAs with these fingerprints alone, and of their managers only the one that signs with
/// `manager`, if that is known.
pub(super) fn tls_config(
    authorities: &[Fingerprint],
    manager: Option<VerifyingKey>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = PinnedCas { authorities: authorities.to_vec(), manager, provider: Arc::clone(&provider) };
    let verifier = Arc::new(verifier);
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Whether the manager that signs with `key` stands for the key of this certificate.
fn is_by(leaf: &CertificateDer<'_>, key: &VerifyingKey) -> bool {
    let Ok((_, leaf)) = x509_parser::parse_x509_certificate(leaf) else { return false };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return false };
    let tie = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Tie::from_uri(uri),
        _ => None,
    });
    tie.is_some_and(|tie| tie.is_by(key, Fingerprint::of(leaf.public_key().raw)))
}

#[derive(Debug)]
struct PinnedCas {
    authorities: Vec<Fingerprint>,
    manager: Option<VerifyingKey>,
    provider: Arc<CryptoProvider>,
}

impl PinnedCas {
    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }
}

impl ServerCertVerifier for PinnedCas {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for ca in chain.iter().filter(|certificate| self.authorities.contains(&Fingerprint::of(certificate))) {
            roots.add(ca.clone().into_owned())?;
        }
        if roots.is_empty() {
            return Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        // While a CA takes the place of another, the way from a certificate of the new one to the old one is in the chain.
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(leaf, chain, name, ocsp, now)?;
        match self.manager.is_none_or(|key| is_by(leaf, &key)) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
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
