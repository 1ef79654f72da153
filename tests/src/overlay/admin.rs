//! The admin socket of a manager, asked directly: a command line costs a process, and some scenarios ask thousands of
//! times a second. HTTP/1.1 as RFC 9112 has it, as far as this server speaks it: every body has a length.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::status::ManagerStatus;

/// Longer than a manager takes over anything.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One connection to the admin socket, made when it is needed and again after it broke.
#[derive(Debug)]
pub struct Admin {
    socket: PathBuf,
    stream: Option<BufReader<UnixStream>>,
}

/// The manager refuses (RFC 9457).
#[derive(Debug, Clone, Deserialize)]
pub struct Problem {
    /// A word for programs.
    #[serde(rename = "type")]
    pub kind: String,
    /// A line for people.
    pub title: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)
    }
}

impl std::error::Error for Problem {}

impl Admin {
    /// To the manager whose state is in `data_dir`.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { socket: data_dir.join("manager.sock"), stream: None }
    }

    /// Adds a stock client with a key that nobody has.
    ///
    /// # Errors
    /// A [`Problem`] when the manager refuses, another when it does not answer; so for all that follow.
    pub fn add_client(&mut self, name: &str) -> anyhow::Result<()> {
        let key = STANDARD.encode(rand::random::<[u8; 32]>());
        self.send("POST", "/api/v1/endpoints", &json!({ "name": name, "public_key": key })).map(drop)
    }

    /// Removes an endpoint.
    ///
    /// # Errors
    /// When it is not removed.
    pub fn remove_endpoint(&mut self, name: &str) -> anyhow::Result<()> {
        let path = self.find("endpoints", name)?;
        self.send("DELETE", &path, &Value::Null).map(drop)
    }

    /// Changes the priority of a manager.
    ///
    /// # Errors
    /// When it stays.
    pub fn set_priority(&mut self, manager: &str, priority: u8) -> anyhow::Result<()> {
        let path = self.find("managers", manager)?;
        self.send("PATCH", &path, &json!({ "priority": priority })).map(drop)
    }

    /// Changes the largest packet of a network.
    ///
    /// # Errors
    /// When it stays.
    pub fn set_mtu(&mut self, network: &str, mtu: u16) -> anyhow::Result<()> {
        let path = self.find("networks", network)?;
        self.send("PATCH", &path, &json!({ "mtu": mtu })).map(drop)
    }

    /// Where the API has what is called `name`.
    fn find(&mut self, what: &str, name: &str) -> anyhow::Result<String> {
        // There may be too many endpoints for one page.
        let filter = if what == "endpoints" { format!("&name={name}") } else { String::new() };
        let page = self.send("GET", &format!("/api/v1/{what}?limit=1000{filter}"), &Value::Null)?;
        let page: Value = serde_json::from_slice(&page)?;
        let items = page["items"].as_array().context("this is no page of a list")?;
        let found = items.iter().find(|item| item["name"] == name).and_then(|item| item["id"].as_str());
        Ok(format!("/api/v1/{what}/{}", found.with_context(|| format!("{what}: there is no {name}"))?))
    }

    /// What the manager says of itself and the cluster, with the first `limit` endpoints.
    ///
    /// # Errors
    /// When it says something else.
    pub fn status(&mut self, limit: usize) -> anyhow::Result<ManagerStatus> {
        let body = self.send("GET", &format!("/v1/status?limit={limit}"), &Value::Null)?;
        serde_json::from_slice(&body).context("this is no status of a manager")
    }

    /// Asks the API for `path` under `/api/v1`.
    ///
    /// # Errors
    /// When the manager refuses, or answers no JSON.
    pub fn api(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        match self.send(method, &format!("/api/v1{path}"), body)?.as_slice() {
            [] => Ok(Value::Null),
            answer => serde_json::from_slice(answer).context("this is no answer of the API"),
        }
    }

    fn send(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<Vec<u8>> {
        // Whatever goes wrong, the next request begins with a new connection.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nif-match: *\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.get_mut().write_all((head + &body).as_bytes())?;
        let (status, answer) = read_answer(&mut stream)?;
        self.stream = Some(stream);
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        match serde_json::from_slice::<Problem>(&answer) {
            Ok(problem) => Err(problem.into()),
            Err(_) => bail!("HTTP status {status}: {}", String::from_utf8_lossy(&answer)),
        }
    }

    fn connect(&self) -> anyhow::Result<BufReader<UnixStream>> {
        let stream = UnixStream::connect(&self.socket);
        let stream = stream.with_context(|| format!("no manager answers at {}", self.socket.display()))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(BufReader::new(stream))
    }
}

/// The status and the body.
fn read_answer(stream: &mut impl BufRead) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no answer: {line:?}"))?;
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx: y\r\n\r\n{}HTTP/1.1 204 No Content\r\n\r\n";
        let mut stream = two.as_bytes();
        assert_eq!(read_answer(&mut stream).expect("the first"), (200, b"{}".to_vec()));
        assert_eq!(read_answer(&mut stream).expect("the second"), (204, Vec::new()));
        assert!(read_answer(&mut stream).is_err());
    }
}
