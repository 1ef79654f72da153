//! The bytes below AMQP: a connection that we make, to an address that we checked, under TLS as everywhere else.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_compat::{Compat, CompatExt as _};
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use futures_util::io::{AsyncRead, AsyncWrite};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::deliver::guard::Guard;

/// How long one address is tried before the next.
const ADDRESS_LIMIT: Duration = Duration::from_secs(3);

/// A connection, encrypted or not.
pub(super) trait Wire: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Wire for T {}

pub(super) type Connected = Compat<Box<dyn Wire>>;

/// tokio, with connections of our own making.
#[derive(Debug, Clone)]
pub(super) struct Wires(Tokio);

/// What runs a connection to a broker.
pub(super) type Kit = RuntimeParts<Tokio, Wires>;

pub(super) fn runtime() -> Runtime<Kit> {
    Runtime::new(RuntimeParts::new(Tokio::current(), Wires(Tokio::current())))
}

impl Reactor for Wires {
    type TcpStream = Connected;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(&self, _: SocketAddr) -> impl Future<Output = io::Result<Connected>> + Send + 'static {
        std::future::ready(Err(io::Error::other("connections to brokers are dialled")))
    }
}

/// Where a broker is.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) guard: Guard,
    /// None for a connection in the clear.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer({}:{})", self.host, self.port)
    }
}

impl Dialer {
    /// Connects to the first of the broker's addresses that answers.
    pub(super) async fn dial(&self) -> io::Result<Connected> {
        let addresses = self.guard.resolve(&self.host, self.port).await?;
        self.encrypt(first_that_answers(&addresses).await?).await
    }

    async fn encrypt(&self, stream: TcpStream) -> io::Result<Connected> {
        stream.set_nodelay(true)?;
        let wire: Box<dyn Wire> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = self.host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(name).map_err(io::Error::other)?;
                Box::new(tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?)
            }
        };
        Ok(wire.compat())
    }
}

async fn first_that_answers(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the broker has no address");
    for at in addresses {
        match timeout(ADDRESS_LIMIT, TcpStream::connect(at)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(late) => failed = late.into(),
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// A listener whose queue is full, with what fills it: the kernel answers nobody else.
    async fn silent() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let (at, mut filling) = (listener.local_addr().unwrap(), Vec::new());
        while let Ok(stream) = timeout(Duration::from_millis(500), TcpStream::connect(at)).await {
            filling.push(stream.unwrap());
        }
        (listener, filling)
    }

    #[tokio::test]
    async fn an_address_that_never_answers_is_not_waited_for_when_there_is_another() {
        let (silent, _filling) = silent().await;
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (silent, good) = (silent.local_addr().unwrap(), good.local_addr().unwrap());
        let limit = Duration::from_secs(60);
        let stream = timeout(limit, first_that_answers(&[silent, refusing, good])).await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let failed = timeout(limit, first_that_answers(&[refusing, silent])).await.unwrap().unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        let failed = first_that_answers(&[]).await.unwrap_err();
        assert!(failed.to_string().contains("no address"), "{failed}");
    }
}
