//! The key of a certificate, and the manager that stands for it.

use std::sync::OnceLock;

use festoon_proto::epoch::Roster;
use festoon_proto::{Fingerprint, ManagerId, Tie, VerifyingKey, introduced};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::manager_of;

/// A certificate that a manager stands for, whichever CA signed it.
#[derive(Debug)]
pub struct Tied {
    tie: Tie,
    tls_key: Fingerprint,
    /// The key of that manager, once it was checked.
    by: OnceLock<VerifyingKey>,
}

impl Tied {
    /// Of this certificate; `None` if it is damaged, or no manager's.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let tie = names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => Tie::from_uri(uri),
            _ => None,
        })?;
        let tls_key = Fingerprint::of(certificate.public_key().raw);
        Some(Self { tie, tls_key, by: OnceLock::new() })
    }

    /// What ties it.
    pub const fn tie(&self) -> &Tie {
        &self.tie
    }

    /// Whether the holder of this signing key stands for it.
    pub fn is_by(&self, key: &VerifyingKey) -> bool {
        if self.by.get() == Some(key) {
            return true;
        }
        let is_by = self.tie.is_by(key, self.tls_key);
        if is_by {
            // Another one was checked meanwhile: then the next one is checked again.
            let _ = self.by.set(*key);
        }
        is_by
    }

    /// Which manager of the cluster shows `certificate`, of which this was read: one of the roster, or one that was let in since
    /// that was made. One that was removed is named too, on its certificate alone, so that it can be told so.
    pub fn owner(&self, certificate: &CertificateDer<'_>, roster: &Roster) -> Option<ManagerId> {
        let newest = self.tie.introductions().last().map(|introduction| introduction.manager);
        let given = (1..=roster.last_manager.0).map(ManagerId);
        let id = manager_of(certificate, roster.managers.keys().copied().chain(given).chain(newest))?;
        let is_its_own = match roster.managers.get(&id) {
            Some(entry) => self.is_by(&entry.signing_key),
            None if id <= roster.last_manager => true,
            None => {
                let who = introduced(self.tie.introductions(), roster).filter(|who| who.manager == id);
                who.is_some_and(|who| self.is_by(&who.signing_key))
            }
        };
        is_its_own.then_some(id)
    }
}
