//! What this manager shows of itself and whom it believes, on disk and in use.

use std::fmt;
use std::sync::Arc;

use festoon_proto::Fingerprint;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{Leaf, TlsError, TlsIdentity, TlsKey, certificates, client_config, fingerprints, server_config};
use crate::data_dir::{DataDir, DataDirError, TLS_IDENTITY, TRUSTED};

/// Credentials can't be used or kept.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file is missing or can't be written.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A file is damaged.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// TLS as it is at one time.
pub struct Tls {
    /// For the HTTPS listener.
    pub server: Arc<ServerConfig>,
    /// For requests to other managers.
    pub client: ClientConfig,
    /// The certificate shown, and those behind it.
    pub chain: Vec<CertificateDer<'static>>,
    /// What the certificate says.
    pub leaf: Leaf,
    /// The CAs that are trusted.
    pub trusted: Vec<Fingerprint>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("leaf", &self.leaf).field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

impl Tls {
    fn from_pem(identity: &str, trusted: &str) -> Result<Self, TlsError> {
        let chain = certificates(identity)?;
        let leaf = chain.first().and_then(Leaf::read).ok_or(TlsError::BadPem)?;
        let (identity, fingerprints) = (TlsIdentity::from_pem(identity)?, fingerprints(trusted)?);
        Ok(Self {
            server: Arc::new(server_config(trusted, &identity)?),
            client: client_config(&fingerprints, Some(&identity))?,
            chain,
            leaf,
            trusted: fingerprints,
        })
    }
}

/// The credentials of this manager. A clone is the same. Whoever makes a connection takes [`Credentials::now`], so what is
/// new counts from the next connection on, and those that are open stay.
#[derive(Debug, Clone)]
pub struct Credentials {
    data: DataDir,
    now: watch::Sender<Arc<Tls>>,
}

impl Credentials {
    /// From the files in `data`.
    pub fn load(data: &DataDir) -> Result<Self, CredentialsError> {
        let identity = Zeroizing::new(data.read(TLS_IDENTITY)?);
        let tls = Tls::from_pem(&identity, &data.read(TRUSTED)?)?;
        Ok(Self { data: data.clone(), now: watch::Sender::new(Arc::new(tls)) })
    }

    /// Makes the files in `data`: whom to trust, and the key with its certificate and those behind it, in PEM.
    pub fn create(data: &DataDir, trusted: &str, key: &TlsKey, chain: &str) -> Result<(), CredentialsError> {
        data.write(TRUSTED, trusted)?;
        Self::create_identity(data, key, chain)
    }

    /// Makes the one of them with the key, its certificate and those behind it.
    pub fn create_identity(data: &DataDir, key: &TlsKey, chain: &str) -> Result<(), CredentialsError> {
        Ok(data.write(TLS_IDENTITY, &identity(key, chain))?)
    }

    /// What to use for a connection that is made now.
    pub fn now(&self) -> Arc<Tls> {
        Arc::clone(&self.now.borrow())
    }

    /// Trusts the CAs in `trusted`, in PEM, and no others. What can't be used is not kept.
    pub fn trust(&self, trusted: &str) -> Result<(), CredentialsError> {
        let identity = Zeroizing::new(self.data.read(TLS_IDENTITY)?);
        self.replace(Tls::from_pem(&identity, trusted)?, TRUSTED, trusted)
    }

    /// Shows another certificate. What can't be used is not kept.
    pub fn show(&self, key: &TlsKey, chain: &str) -> Result<(), CredentialsError> {
        let identity = identity(key, chain);
        self.replace(Tls::from_pem(&identity, &self.data.read(TRUSTED)?)?, TLS_IDENTITY, &identity)
    }

    fn replace(&self, tls: Tls, name: &str, pem: &str) -> Result<(), CredentialsError> {
        self.data.write(name, pem)?;
        self.now.send_replace(Arc::new(tls));
        Ok(())
    }
}

fn identity(key: &TlsKey, chain: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{}{chain}", *key.to_secret_pem()))
}
