//! What stands in a certificate.

use std::net::IpAddr;

use festoon_control::registry::UnixMs;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// What a manager's certificate says, as far as it decides when the next is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Until when it is good.
    pub until: UnixMs,
    /// The addresses of the HTTPS listener, in order.
    pub addresses: Vec<IpAddr>,
}

impl Leaf {
    /// Of this certificate; `None` if it is damaged.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let until = u64::try_from(certificate.validity().not_after.timestamp()).ok()?.saturating_mul(1000);
        let names = certificate.subject_alternative_name().ok()?.map(|names| &names.value.general_names);
        let addresses = names.into_iter().flatten().filter_map(|name| match name {
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        });
        Some(Self { until: UnixMs(until), addresses: addresses.collect() })
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The common name of whom it is for.
pub(super) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}
