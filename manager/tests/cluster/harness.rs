//! Real managers on loopback ports, and an agent's side of HTTPS.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use festoon_cluster::storage::{Execution, read_state};
use festoon_control::registry::State;
use festoon_manager::cluster;
use festoon_manager::data_dir::DataDir;
use festoon_manager::pki::client_config;
use festoon_proto::address::MANAGER_TLS_NAME;
use festoon_proto::http::{AGENT_JOIN, AGENT_MAP, Credential, JoinRequest, JoinResponse, Problem};
use festoon_proto::map::EndpointMap;
use festoon_proto::token::{JoinToken, SecretHash};
use festoon_proto::{EndpointId, Fingerprint, PublicKey};
use reqwest::{RequestBuilder, Response};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_festoon-manager");
/// How long anything is waited for: longer than any pause after some failures, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(90);
/// For one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A manager: its directory, its addresses and, while it runs, its process.
pub(crate) struct Manager {
    pub(crate) root: PathBuf,
    pub(crate) https: SocketAddr,
    pub(crate) underlay: SocketAddr,
    /// What `init` printed.
    pub(crate) founding: String,
    /// For its next start.
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
    process: Option<Child>,
    _directory: tempfile::TempDir,
}

/// A port that is free, and stays so until a test takes it: no other test gets it, and the kernel gives whoever connects one
/// from 32768 on.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Another run may be going on.
    let first = std::process::id().wrapping_mul(61);
    loop {
        let port = 10_000 + (first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000) as u16;
        let at = (Ipv4Addr::UNSPECIFIED, port);
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return port;
        }
    }
}

/// One on loopback.
pub(crate) fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

impl Manager {
    fn new() -> Self {
        Self::at(free_address(), free_address())
    }

    fn at(https: SocketAddr, underlay: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("data");
        Self {
            root,
            https,
            underlay,
            founding: String::new(),
            environment: Vec::new(),
            process: None,
            _directory: directory,
        }
    }

    /// An empty machine in the place of this one, which is lost.
    pub(crate) fn replaced(mut self) -> Self {
        self.kill();
        std::fs::remove_dir_all(&self.root).unwrap();
        Self::at(self.https, self.underlay)
    }

    /// A file beside its directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.with_file_name(name)
    }

    /// Configures it, for its next start.
    pub(crate) fn configure(&self, toml: &str) {
        std::fs::write(self.file("manager.toml"), toml).unwrap();
    }

    /// The first manager of a new cluster, not yet running.
    pub(crate) fn init(name: &str) -> Self {
        let mut manager = Self::new();
        let addresses = manager.addresses();
        let mut arguments = vec!["init", "--name", name, "--prefix", "172.31.0.0/16", "--prefix", "fd00:31::/64"];
        arguments.extend(addresses.iter().map(String::as_str));
        manager.founding = manager.must(&arguments);
        manager
    }

    /// Another manager of the cluster of `first`, running.
    pub(crate) async fn join(name: &str, first: &Self) -> Self {
        let token = first.must(&["tokens", "add", "--manager"]);
        let manager = Self::new();
        let output = manager.try_join(name, token.trim());
        assert!(output.status.success(), "{}", text(&output.stderr));
        manager.started().await
    }

    pub(crate) fn try_join(&self, name: &str, token: &str) -> Output {
        let addresses = self.addresses();
        let token = in_file(token);
        let mut arguments = vec!["join", &token.argument, "--name", name];
        arguments.extend(addresses.iter().map(String::as_str));
        self.run(&arguments)
    }

    pub(crate) fn unjoined() -> Self {
        Self::new()
    }

    pub(crate) fn addresses(&self) -> [String; 4] {
        ["--underlay".to_owned(), self.underlay.to_string(), "--https".to_owned(), self.https.to_string()]
    }

    /// Runs an admin command.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run_at(&self.root, arguments)
    }

    /// Runs an admin command that must succeed, and gives what it prints.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}\n{}", text(&output.stderr), self.log());
        text(&output.stdout)
    }

    /// Runs an admin command that must fail, and gives the one line it says.
    pub(crate) fn must_fail(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded: {}", text(&output.stdout));
        let said = text(&output.stderr);
        assert_eq!(said.lines().count(), 1, "one line: {said}");
        said
    }

    pub(crate) async fn started(mut self) -> Self {
        self.start().await;
        self
    }

    /// Starts it.
    pub(crate) fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("serve").envs(self.environment.clone());
        let config = self.file("manager.toml");
        if config.exists() {
            command.arg("--config").arg(config);
        }
        command.arg("--data-dir").arg(&self.root).env("FESTOON_LOG", "debug");
        self.process = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// Starts it and waits until it serves.
    pub(crate) async fn start(&mut self) {
        self.spawn();
        let deadline = Instant::now() + PATIENCE;
        while !self.run(&["status"]).status.success() {
            assert!(Instant::now() < deadline, "it does not start:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.process.as_ref().unwrap())
    }

    fn log_path(&self) -> PathBuf {
        self.root.with_extension("log")
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).unwrap();
        self.ended("it stops when it is asked to").await
    }

    /// Stops it in its tracks: the kernel still takes connections for it, but nothing answers.
    pub(crate) fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self, what: &str) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        let mut status = None;
        until(what, || {
            status = process.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// What the registry on the disk of this manager says, while the manager does not run.
    pub(crate) async fn stored_state(&self) -> Arc<State> {
        // The check of the file needs the program, which this is not.
        let database = cluster::open(&DataDir::open(&self.root).unwrap().registry()).unwrap();
        read_state(database, Execution::Threads).await.unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.must(&["status", "--json"])).unwrap()
    }

    pub(crate) fn token(&self, more: &[&str]) -> JoinToken {
        let arguments = [&["tokens", "add"], more].concat();
        self.must(&arguments).trim().parse().unwrap()
    }
}

/// Runs an admin command against the manager with this directory.
pub(crate) fn run_at(root: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).arg("--data-dir").arg(root).output().unwrap()
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.root.display(), self.log());
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, async || condition()).await;
}

/// As [`until`], for what has to be waited for itself.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An agent, as far as HTTPS sees it.
pub(crate) struct Agent {
    pub(crate) key: PublicKey,
    pub(crate) secret: [u8; 32],
    pub(crate) ca_fingerprint: Fingerprint,
}

/// A join token as a command line takes it: in a file.
pub(crate) struct TokenFile {
    pub(crate) argument: String,
    _file: tempfile::NamedTempFile,
}

pub(crate) fn in_file(token: &str) -> TokenFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), token).unwrap();
    TokenFile { argument: format!("@{}", file.path().display()), _file: file }
}

/// An answer, or the problem there is.
pub(crate) type Answer<T> = Result<T, Problem>;

impl Agent {
    pub(crate) fn new(number: u8, token: &JoinToken) -> Self {
        Self { key: PublicKey::from_bytes([number; 32]), secret: [number; 32], ca_fingerprint: token.ca_fingerprint }
    }

    pub(crate) fn request(
        &self,
        at: SocketAddr,
        build: impl Fn(&reqwest::Client, String) -> RequestBuilder,
    ) -> RequestBuilder {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(client_config(&[self.ca_fingerprint], None).unwrap())
            .resolve(MANAGER_TLS_NAME, at)
            .no_proxy()
            .timeout(ANSWER_LIMIT)
            .build()
            .unwrap();
        build(&client, format!("https://{MANAGER_TLS_NAME}:{}", at.port()))
    }

    pub(crate) fn join_request(&self, token: &JoinToken) -> JoinRequest {
        JoinRequest {
            secret: token.secret.clone(),
            public_key: self.key,
            credential_hash: SecretHash::of(&self.secret),
            name: "Web.example.com".to_owned(),
        }
    }

    pub(crate) async fn join(&self, at: SocketAddr, token: &JoinToken) -> Answer<JoinResponse> {
        let request = self.join_request(token);
        answer(self.request(at, |client, url| client.post(url + AGENT_JOIN).json(&request))).await
    }

    pub(crate) fn credential(&self, endpoint: EndpointId) -> Credential {
        Credential::new(endpoint, self.secret)
    }

    pub(crate) async fn map(&self, at: SocketAddr, endpoint: EndpointId) -> Answer<EndpointMap> {
        let bearer = self.credential(endpoint).to_secret_string();
        answer(self.request(at, |client, url| client.get(url + AGENT_MAP).bearer_auth(&bearer))).await
    }
}

pub(crate) async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Answer<T> {
    let response = request.send().await.unwrap();
    if response.status().is_success() {
        return Ok(response.json().await.unwrap());
    }
    Err(problem(response).await)
}

/// A refusal is one line, in the format of RFC 9457.
pub(crate) async fn problem(response: Response) -> Problem {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Problem = response.json().await.unwrap();
    assert_eq!(problem.status, status);
    assert_eq!(problem.title.lines().count(), 1);
    problem
}

/// The modes of all files under `root`.
pub(crate) fn modes(root: &Path) -> Vec<(PathBuf, u32)> {
    use std::os::unix::fs::PermissionsExt as _;
    let entries = std::fs::read_dir(root).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.path(), entry.metadata().unwrap().permissions().mode() & 0o777)).collect()
}
