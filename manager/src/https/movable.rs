//! A connection that another runtime can go on with.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP stream, which the runtime it was made in watches over until it is moved.
#[derive(Debug)]
pub(super) struct Movable(Option<TcpStream>);

impl Movable {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Some(stream))
    }

    /// Lets go of the runtime of before. Until [`Movable::settle`] nothing can be sent and received.
    pub(super) fn leave(&mut self) -> io::Result<Between> {
        self.0.take().ok_or(io::ErrorKind::NotConnected)?.into_std().map(Between)
    }

    /// Goes on in the runtime of the caller.
    pub(super) fn settle(&mut self, stream: Between) -> io::Result<()> {
        self.0 = Some(TcpStream::from_std(stream.0)?);
        Ok(())
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.0.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// The stream that no runtime watches over.
#[derive(Debug)]
pub(super) struct Between(std::net::TcpStream);

impl AsyncRead for Movable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Movable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::runtime::Builder;

    use super::*;

    #[tokio::test]
    async fn another_runtime_goes_on_with_what_one_has_begun() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut stream = Movable::new(listener.accept().await.unwrap().0);
        client.write_all(b"one").await.unwrap();
        let mut read = [0; 3];
        stream.read_exact(&mut read).await.unwrap();

        let between = stream.leave().unwrap();
        assert_eq!(stream.read_exact(&mut read).await.unwrap_err().kind(), io::ErrorKind::NotConnected);
        let other = std::thread::spawn(move || {
            Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                stream.settle(between).unwrap();
                stream.write_all(b"two").await.unwrap();
                stream.read_exact(&mut read).await.unwrap();
                read
            })
        });
        client.read_exact(&mut read).await.unwrap();
        client.write_all(b"3rd").await.unwrap();
        assert_eq!((&read, &other.join().unwrap()), (b"two", b"3rd"));
    }
}
