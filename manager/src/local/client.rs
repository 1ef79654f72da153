//! The end of the socket in an admin command.

use std::future::poll_fn;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, header};
use festoon_proto::http::Problem;
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::data_dir::DataDir;

const TIMEOUT: Duration = Duration::from_secs(10);
/// All endpoints are moved away, or the registry is written anew.
const LONG_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// An admin command failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No manager runs on this data directory.
    #[error("no manager runs on {0}: start one with `festoon-manager serve`, or name its --data-dir")]
    NotRunning(PathBuf),
    /// Not for this user.
    #[error("{0} is for its owner alone: run this as root or as the user that runs the manager")]
    NotAllowed(PathBuf),
    /// The manager refuses.
    #[error("{}", .0.title)]
    Refused(Problem),
    /// The connection broke.
    #[error("the manager does not answer: see its log")]
    NoAnswer,
    /// What it answers can't be written down.
    #[error("can't write it down: {0}")]
    Output(std::io::Error),
    /// The manager speaks another version.
    #[error("the running manager is of another version: restart it")]
    Nonsense,
}

/// The way to the manager that runs on a data directory.
#[derive(Debug)]
pub struct Client {
    root: PathBuf,
    limit: Duration,
}

impl Client {
    /// For the manager that runs on the directory `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), limit: TIMEOUT }
    }

    /// As [`Client::new`], for what takes its time.
    pub fn patient(root: &Path) -> Self {
        Self { root: root.to_owned(), limit: LONG_TIMEOUT }
    }

    /// `GET`s `path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        parse(&self.send(Method::GET, path, Body::empty()).await?)
    }

    /// Sends `value` to `path`.
    pub async fn send_json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        value: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(value).map_err(|_| ClientError::Nonsense)?;
        parse(&self.send(method, path, Body::from(body)).await?)
    }

    /// `GET`s `path` and writes what comes to `output`, piece by piece. An answer that breaks off is an error.
    pub async fn download(&self, path: &str, output: &mut impl Write) -> Result<(), ClientError> {
        let copy = async {
            let mut body = self.open(Method::GET, path, Body::empty()).await?.into_body();
            while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                let frame = frame.map_err(|_| ClientError::NoAnswer)?;
                output.write_all(frame.data_ref().map_or(&[], |data| &data[..])).map_err(ClientError::Output)?;
            }
            Ok(())
        };
        tokio::time::timeout(self.limit, copy).await.map_err(|_| ClientError::NoAnswer)?
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> Result<Vec<u8>, ClientError> {
        let exchange = tokio::time::timeout(self.limit, self.exchange(method, path, body));
        exchange.await.map_err(|_| ClientError::NoAnswer)?
    }

    async fn exchange(&self, method: Method, path: &str, body: Body) -> Result<Vec<u8>, ClientError> {
        let response = self.open(method, path, body).await?;
        whole(response).await
    }

    /// Asks, and gives the answer before its body has come. A refusal is an error.
    async fn open(&self, method: Method, path: &str, body: Body) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(DataDir::socket_in(&self.root)).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => ClientError::NotAllowed(self.root.clone()),
            _ => ClientError::NotRunning(self.root.clone()),
        })?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|_| ClientError::NoAnswer)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|_| ClientError::Nonsense)?;
        let response = sender.send_request(request).await.map_err(|_| ClientError::NoAnswer)?;
        match response.status().is_success() {
            true => Ok(response),
            false => {
                Err(serde_json::from_slice(&whole(response).await?).map_or(ClientError::Nonsense, ClientError::Refused))
            }
        }
    }
}

fn parse<T: DeserializeOwned>(answer: &[u8]) -> Result<T, ClientError> {
    // An answer without a body is `()`.
    let answer = if answer.is_empty() { b"null" } else { answer };
    serde_json::from_slice(answer).map_err(|_| ClientError::Nonsense)
}

async fn whole(response: Response<Incoming>) -> Result<Vec<u8>, ClientError> {
    let body = to_bytes(Body::new(response.into_body()), MAX_ANSWER).await.map_err(|_| ClientError::NoAnswer)?;
    Ok(body.into())
}
