//! TLS as an attacker begins it: it shows what it has, and believes everybody.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::Tls;

/// What a connection is begun with.
pub(super) fn config(tls: &Tls) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(BelievesAll(schemes)));
    let mut config = match &tls.identity {
        Some(path) => show(path).map(|(chain, key)| config.with_client_auth_cert(chain, key))??,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = tls.protocol.iter().map(|protocol| protocol.clone().into_bytes()).collect();
    Ok(Arc::new(config))
}

/// A key and the certificates that go with it.
fn show(path: &Path) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(&pem);
    match (chain, key) {
        (Ok(chain), Ok(key)) => Ok((chain, key)),
        _ => anyhow::bail!("{} has no key and certificates", path.display()),
    }
}

#[derive(Debug)]
struct BelievesAll(Vec<SignatureScheme>);

impl ServerCertVerifier for BelievesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
