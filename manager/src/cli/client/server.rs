//! Where a manager is asked: at the admin socket of this machine, or at an address over TLS.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use festoon_proto::Fingerprint;
use festoon_proto::address::{HTTPS_PORT, MANAGER_TLS_NAME};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::ClientError;
use crate::data_dir::DataDir;
use crate::pki::client_config;

const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// A manager as an admin names it: `https://203.0.113.10:8443`. The scheme and the port may be left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(in crate::cli) struct Server {
    host: String,
    port: u16,
}

/// A text names no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the address of a manager, as in https://203.0.113.10:8443")]
pub(in crate::cli) struct ParseServerError;

impl FromStr for Server {
    type Err = ParseServerError;

    fn from_str(text: &str) -> Result<Self, ParseServerError> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url: reqwest::Url = with_scheme.parse().map_err(|_| ParseServerError)?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.username().is_empty();
        let host = url.host_str().filter(|_| url.scheme() == "https" && is_bare).ok_or(ParseServerError)?;
        // The port of HTTPS itself is never meant by accident, but the parser drops it.
        let port = if with_scheme.trim_end_matches('/').ends_with(":443") { 443 } else { HTTPS_PORT };
        Ok(Self { host: host.to_owned(), port: url.port().unwrap_or(port) })
    }
}

impl TryFrom<String> for Server {
    type Error = ParseServerError;

    fn try_from(text: String) -> Result<Self, ParseServerError> {
        text.parse()
    }
}

impl From<Server> for String {
    fn from(server: Server) -> Self {
        server.to_string()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

impl Server {
    /// As the header `Host` has it.
    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Connects over TLS, with whatever `tls` believes.
    pub(super) async fn connect(&self, tls: ClientConfig) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let connect = async {
            let stream = TcpStream::connect((host, self.port)).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(MANAGER_TLS_NAME).map_err(io::Error::other)?;
            TlsConnector::from(Arc::new(tls)).connect(name, stream).await
        };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(CONNECT_LIMIT, connect).await.map_err(late)?
    }
}

/// The way to a manager.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// The socket in this data directory.
    Socket(PathBuf),
    /// This server, whose certificate must come from one of these CAs.
    Server(Server, Vec<Fingerprint>),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(root) => root.display().fmt(f),
            Self::Server(server, _) => server.fmt(f),
        }
    }
}

impl Way {
    /// For the header `Host`.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Socket(_) => "localhost".to_owned(),
            Self::Server(server, _) => server.authority(),
        }
    }

    /// A connection that takes one request after the other.
    pub(super) async fn connect(&self) -> Result<SendRequest<Body>, ClientError> {
        let stream: Box<dyn Stream> = match self {
            Self::Socket(root) => {
                Box::new(UnixStream::connect(DataDir::socket_in(root)).await.map_err(|error| match error.kind() {
                    io::ErrorKind::PermissionDenied => ClientError::NotAllowed(root.clone()),
                    _ => ClientError::NotRunning(root.clone()),
                })?)
            }
            Self::Server(server, trusted) => {
                let tls = client_config(trusted, None).map_err(|error| ClientError::Unreachable(error.to_string()))?;
                Box::new(server.connect(tls).await.map_err(|error| unreachable(server, &error))?)
            }
        };
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| ClientError::NoAnswer)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn unreachable(server: &Server, error: &io::Error) -> ClientError {
    let is_certificate = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref())
        .is_some_and(|error: &rustls::Error| matches!(error, rustls::Error::InvalidCertificate(_)));
    ClientError::Unreachable(match is_certificate {
        true => format!(
            "{server} shows a certificate of another CA than it should: if the CA of the cluster was replaced, `festoon-manager login` again"
        ),
        false => format!("{server}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for (text, expected) in [
            ("https://203.0.113.10:8443", "https://203.0.113.10:8443"),
            ("https://203.0.113.10/", "https://203.0.113.10:8443"),
            ("https://m1.example:443", "https://m1.example:443"),
            ("m1.example", "https://m1.example:8443"),
            ("m1.example:9000", "https://m1.example:9000"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!(server.to_string(), expected, "{text}");
        }
        for bad in ["", "http://m1", "https://m1/api", "https://a@m1", "https://m1?x", "https://"] {
            assert_eq!(bad.parse::<Server>(), Err(ParseServerError), "{bad}");
        }
    }
}
