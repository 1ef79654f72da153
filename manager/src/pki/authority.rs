//! A CA of the cluster: it signs the certificates of managers.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use festoon_control::registry::{ManagerRole, UnixMs};
use festoon_proto::address::{MANAGER_TLS_NAME, agent_tls_name, cluster_tls_name};
use festoon_proto::{ClusterId, Fingerprint, Introduction, ManagerId, SigningKey, Tie, VerifyingKey};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, date_time_ymd,
};
use zeroize::Zeroizing;

use super::certificates;
use super::leaf::common_name;

/// How long a manager's certificate is good, in milliseconds: 90 days. It is renewed long before.
pub const VALIDITY_MS: u64 = 90 * 24 * 3600 * 1000;
/// How long the old CA's word for the new one is good, in milliseconds: a year, for machines that are off meanwhile.
const CROSS_VALIDITY_MS: u64 = 365 * 24 * 3600 * 1000;

/// A certificate is not made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// What came is no signing request, or its signature is wrong.
    #[error("this is not a certificate signing request: run the same version of Festoon on both managers")]
    BadRequest,
    /// A certificate and a key are no CA.
    #[error("the CA's certificate or key is damaged: restore a snapshot")]
    BadAuthority,
    /// A key can't be made, or a signature fails.
    #[error("a certificate can't be made")]
    Crypto(#[source] rcgen::Error),
}

/// The private key of a manager's certificate.
pub struct TlsKey(KeyPair);

impl TlsKey {
    /// A new key (ECDSA on P-256).
    pub fn generate() -> Result<Self, PkiError> {
        KeyPair::generate().map(Self).map_err(PkiError::Crypto)
    }

    /// The key in PEM. Secret.
    pub fn to_secret_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// The key in this PEM, of [`TlsKey::to_secret_pem`].
    pub fn from_secret_pem(pem: &str) -> Result<Self, PkiError> {
        KeyPair::from_pem(pem).map(Self).map_err(PkiError::Crypto)
    }

    /// A signing request for this key, in PEM (RFC 2986), of the manager whose signing key is `signer` and which came into
    /// the cluster like this. All it asks for is what ties the key to that manager: the CA decides what else stands in a
    /// certificate.
    pub fn signing_request(&self, signer: &SigningKey, introductions: &[Introduction]) -> Result<String, PkiError> {
        let tls_key = Fingerprint::of(&self.0.subject_public_key_info());
        let tie = Tie::new(signer, tls_key, introductions.to_vec());
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![uri(&tie)?];
        let request = params.serialize_request(&self.0).map_err(PkiError::Crypto)?;
        request.pem().map_err(PkiError::Crypto)
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKey(redacted)")
    }
}

fn uri(tie: &Tie) -> Result<SanType, PkiError> {
    tie.to_uri().try_into().map(SanType::URI).map_err(PkiError::Crypto)
}

/// A signing request whose signature is right.
#[derive(Debug)]
pub struct SigningRequest {
    request: CertificateSigningRequestParams,
    tie: Tie,
}

impl SigningRequest {
    /// The request in `pem`.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let request = CertificateSigningRequestParams::from_pem(pem).map_err(|_| PkiError::BadRequest)?;
        let tie = request.params.subject_alt_names.iter().find_map(|name| match name {
            SanType::URI(uri) => Tie::from_uri(uri.as_str()),
            _ => None,
        });
        Ok(Self { request, tie: tie.ok_or(PkiError::BadRequest)? })
    }

    /// Whether the manager that signs with `key` stands for it.
    pub fn is_by(&self, key: &VerifyingKey) -> bool {
        self.tie.is_by(key, self.key_fingerprint())
    }

    /// The same, of a manager that came into the cluster like this.
    #[must_use]
    pub fn introduced(self, introductions: Vec<Introduction>) -> Self {
        Self { tie: self.tie.introduced(introductions), ..self }
    }

    /// The SHA-256 of the public key in it, as SubjectPublicKeyInfo in DER. Whoever made the request has the private half.
    pub fn key_fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.request.public_key.subject_public_key_info())
    }
}

/// A CA, with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    name: String,
    certificate_pem: String,
    fingerprint: Fingerprint,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({}, redacted)", self.fingerprint)
    }
}

impl Authority {
    /// A new CA for `cluster`.
    pub fn generate(cluster: ClusterId) -> Result<Self, PkiError> {
        let key = KeyPair::generate().map_err(PkiError::Crypto)?;
        // A CA that takes the place of another must have another name, or verifiers take one for the other.
        let [a, b, c, d, ..] = Fingerprint::of(key.public_key_raw()).0;
        let name = format!("Festoon cluster {cluster}, CA {:08x}", u32::from_be_bytes([a, b, c, d]));
        let mut params = ca_params(&name, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
        let certificate = params.self_signed(&key).map_err(PkiError::Crypto)?;
        Self::from_pem(certificate.pem(), &key.serialize_pem())
    }

    /// The CA with this certificate and key, both in PEM.
    pub fn from_pem(certificate_pem: String, key_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem).map_err(|_| PkiError::BadAuthority)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(|_| PkiError::BadAuthority)?;
        let certificates = certificates(&certificate_pem).map_err(|_| PkiError::BadAuthority)?;
        let certificate = certificates.first().ok_or(PkiError::BadAuthority)?;
        let name = common_name(certificate).ok_or(PkiError::BadAuthority)?;
        Ok(Self { issuer, name, fingerprint: Fingerprint::of(certificate), certificate_pem })
    }

    /// SHA-256 of its certificate in DER.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Its certificate in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its key in PEM. Secret.
    pub fn to_secret_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// A certificate in PEM for `manager`, which has this role and these HTTPS listeners (for browsers, which check addresses).
    /// Good for
    /// [`VALIDITY_MS`] from `now` on.
    pub fn issue(
        &self,
        request: SigningRequest,
        (manager, role): (ManagerId, ManagerRole),
        https: &[SocketAddr],
        now: UnixMs,
    ) -> Result<String, PkiError> {
        let SigningRequest { mut request, tie } = request;
        let dns = |name: &str| name.try_into().map(SanType::DnsName).map_err(PkiError::Crypto);
        let mut params = base_params(&format!("Festoon manager {manager}"));
        end_after(&mut params, now.after(VALIDITY_MS));
        params.subject_alt_names = vec![dns(&cluster_tls_name(manager))?, uri(&tie)?];
        if role == ManagerRole::Full {
            params.subject_alt_names.extend([dns(MANAGER_TLS_NAME)?, dns(&agent_tls_name(manager))?]);
        }
        params.subject_alt_names.extend(https.iter().map(|at| SanType::IpAddress(at.ip())));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        request.params = params;
        request.signed_by(&self.issuer).map(|certificate| certificate.pem()).map_err(PkiError::Crypto)
    }

    /// A certificate in PEM for the CA that takes this one's place: with it, whoever trusts this one trusts that one too.
    pub fn certify(&self, next: &Self, now: UnixMs) -> Result<String, PkiError> {
        let mut params = ca_params(&next.name, 0);
        end_after(&mut params, now.after(CROSS_VALIDITY_MS));
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(next.issuer.key(), &self.issuer);
        certificate.map(|certificate| certificate.pem()).map_err(PkiError::Crypto)
    }
}

/// Of a CA with so many others below it.
fn ca_params(name: &str, below: u8) -> CertificateParams {
    let mut params = base_params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Valid from 1970 on: a machine without a battery begins there, and one whose clock is slow has to talk to managers before
/// it can set it.
fn base_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1970, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn end_after(params: &mut CertificateParams, end: UnixMs) {
    // Nothing is valid beyond 2099, whatever a clock says.
    let latest = date_time_ymd(2099, 1, 1);
    let end = date_time_ymd(1970, 1, 1).checked_add(Duration::from_millis(end.0).try_into().unwrap_or_default());
    params.not_after = end.map_or(latest, |end| end.min(latest));
}
