//! HTTP/1.1 (RFC 9112) from the client's side, over TCP or TLS.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use super::{Answer, Request, Tls, tls};

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Longer than a manager takes over any request.
const ANSWER_LIMIT: Duration = Duration::from_secs(25);
/// What is kept of a body.
const KEPT: usize = 4096;

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A connection that is made when it is needed.
pub(super) struct Connection {
    at: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    open: Option<Open>,
}

/// One that is there.
pub(super) struct Open {
    stream: BufReader<Box<dyn Stream>>,
    /// The same, for its time limits.
    socket: TcpStream,
}

impl Connection {
    pub(super) fn new(at: SocketAddr, tls: Option<&Tls>) -> anyhow::Result<Self> {
        Ok(Self { at, tls: tls.map(tls::config).transpose()?, open: None })
    }

    /// Sends a request and gives the answer. Tries once more if the connection is an old one that was closed meanwhile.
    pub(super) fn send(&mut self, request: &Request) -> Answer {
        let was_open = self.open.is_some();
        match self.exchange(request) {
            Err(_) if was_open => self.exchange(request).unwrap_or_default(),
            answer => answer.unwrap_or_default(),
        }
    }

    fn exchange(&mut self, request: &Request) -> anyhow::Result<Answer> {
        let mut open = self.take()?;
        open.write(self.at, request)?;
        let (answer, goes_on) = open.read_answer()?;
        self.open = Some(open).filter(|_| goes_on);
        Ok(answer)
    }

    /// The connection, which the caller keeps.
    pub(super) fn take(&mut self) -> anyhow::Result<Open> {
        match self.open.take() {
            Some(open) => Ok(open),
            None => Open::connect(self.at, self.tls.as_ref()),
        }
    }
}

impl Open {
    fn connect(at: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let socket = TcpStream::connect_timeout(&at, CONNECT_LIMIT).context("cannot connect")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_LIMIT))?;
        let stream = socket.try_clone()?;
        let stream: Box<dyn Stream> = match tls {
            Some(config) => {
                let connection = ClientConnection::new(Arc::clone(config), ServerName::from(at.ip()))?;
                Box::new(StreamOwned::new(connection, stream))
            }
            None => Box::new(stream),
        };
        Ok(Self { stream: BufReader::new(stream), socket })
    }

    /// Sends a request.
    pub(super) fn write(&mut self, at: SocketAddr, request: &Request) -> io::Result<()> {
        let Request { method, path, headers, body } = request;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {at}\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let stream = self.stream.get_mut();
        stream.write_all(&[head.as_bytes(), body].concat())?;
        stream.flush()
    }

    /// Reads an answer, and whether another request may follow.
    fn read_answer(&mut self) -> anyhow::Result<(Answer, bool)> {
        let head = self.read_head()?;
        let body = match head.length {
            Length::Bytes(length) => self.read_exactly(length)?,
            Length::Chunks => self.read_chunks()?,
        };
        let problem: Option<Value> = serde_json::from_slice(&body).ok();
        let kind = problem.and_then(|problem| Some(problem.get("type")?.as_str()?.to_owned())).unwrap_or_default();
        let body = body.into_iter().take(KEPT).collect();
        Ok((Answer { status: Some(head.status), kind, body }, !head.closes))
    }

    /// Reads the head of an answer, and its status.
    pub(super) fn read_status(&mut self) -> anyhow::Result<u16> {
        self.read_head().map(|head| head.status)
    }

    fn read_head(&mut self) -> anyhow::Result<Head> {
        let line = self.read_line()?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no answer: {line:?}"))?;
        let mut head = Head { status, length: Length::Bytes(0), closes: false };
        loop {
            let line = self.read_line()?.to_ascii_lowercase();
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                Some(("content-length", value)) => head.length = Length::Bytes(value.parse()?),
                Some(("transfer-encoding", "chunked")) => head.length = Length::Chunks,
                Some(("connection", "close")) => head.closes = true,
                Some(_) => {}
                None => return Ok(head),
            }
        }
    }

    fn read_line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        anyhow::ensure!(self.stream.read_line(&mut line)? > 0, "closed");
        Ok(line.trim_end().to_owned())
    }

    fn read_exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    fn read_chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.read_line()?, 16).context("no chunk")?;
            body.extend(self.read_exactly(length)?);
            self.read_line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    /// Reads whatever comes for up to `limit`, and says whether the other end is still there.
    pub(super) fn is_open_after(&mut self, limit: Duration) -> bool {
        if self.socket.set_read_timeout(Some(limit)).is_err() {
            return false;
        }
        match self.stream.fill_buf() {
            Ok(read) => {
                let read = read.len();
                self.stream.consume(read);
                read > 0
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
        }
    }
}

struct Head {
    status: u16,
    length: Length,
    closes: bool,
}

enum Length {
    Bytes(usize),
    Chunks,
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers each connection with these bytes once something was asked, and then closes it.
    fn serve(answers: Vec<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a client");
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        at
    }

    fn get() -> Request {
        Request { method: "GET".to_owned(), path: "/".to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    #[test]
    fn answers_are_read_to_their_end_and_a_closed_connection_is_none() {
        let problem = "HTTP/1.1 403 Forbidden\r\nContent-Length: 21\r\n\r\n{\"type\":\"is-witness\"}";
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        let at = serve(vec![problem, chunks, ""]);
        let mut connection = Connection::new(at, None).expect("no TLS");
        let refused = connection.send(&get());
        assert_eq!((refused.status, refused.kind.as_str()), (Some(403), "is-witness"));
        assert_eq!(connection.send(&get()).body, b"abcd", "over another connection");
        assert_eq!(connection.send(&get()), Answer::default());
    }

    #[test]
    fn it_is_seen_when_the_other_end_closes() {
        let at = serve(vec!["HTTP/1.1 200 OK\r\n\r\ndata: 1\n"]);
        let mut connection = Connection::new(at, None).expect("no TLS");
        let mut open = connection.take().expect("it listens");
        open.write(at, &get()).expect("it reads");
        assert_eq!(open.read_status().expect("an answer"), 200);
        assert!(open.is_open_after(ANSWER_LIMIT), "something came");
        assert!(!open.is_open_after(ANSWER_LIMIT));
    }
}
