//! An agent on a host, through its command line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::status::AgentStatus;
use super::{Manager, in_file, wait_until_slowly};
use crate::lab::{Host, Program, WallClock, tool};

const START: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(10);
const TLS_NAME: &str = "manager.festoon.internal";
const HTTPS_PORT: u16 = 8443;

/// An agent. Its state outlives its process.
#[derive(Debug)]
pub struct Agent {
    /// Where it runs.
    pub host: Host,
    name: String,
    state_dir: PathBuf,
    addresses: Vec<IpAddr>,
    /// The wall clock that it starts with, if it has one of its own.
    pub clock: Option<WallClock>,
    program: Option<Program>,
}

impl Agent {
    /// Joins `host` to the overlay that `token` is from, with its state under `state_dir`, and runs the agent.
    ///
    /// # Errors
    /// What the program says; so for all that follow.
    pub fn join(host: &Host, name: &str, state_dir: PathBuf, token: &str) -> anyhow::Result<Self> {
        let (host, name) = (host.clone(), name.to_owned());
        let mut agent = Self { host, name, state_dir, addresses: Vec::new(), clock: None, program: None };
        let token = in_file(agent.state_dir.parent().unwrap_or(Path::new(".")), token)?;
        agent.run(&["join", &token, "--name", &agent.name])?;
        agent.up()?;
        agent.addresses = agent.status()?.addresses;
        Ok(agent)
    }

    /// Runs an agent that joined before, on `host`, with its state in `state_dir`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn resume(host: &Host, name: &str, state_dir: PathBuf) -> anyhow::Result<Self> {
        let (host, name) = (host.clone(), name.to_owned());
        let mut agent = Self { host, name, state_dir, addresses: Vec::new(), clock: None, program: None };
        agent.up()?;
        agent.addresses = agent.status()?.addresses;
        Ok(agent)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its state is.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// What its map says of the recovery key.
    ///
    /// # Errors
    /// When it has no map.
    pub fn recovery_key(&self) -> anyhow::Result<serde_json::Value> {
        let map: serde_json::Value = serde_json::from_slice(&std::fs::read(self.state_dir.join("map.json"))?)?;
        Ok(map["recovery_key"].clone())
    }

    /// Its IPv4 address in the overlay.
    ///
    /// # Errors
    /// When it has none.
    pub fn v4(&self) -> anyhow::Result<IpAddr> {
        self.address(IpAddr::is_ipv4)
    }

    /// Its IPv6 address in the overlay.
    ///
    /// # Errors
    /// When it has none.
    pub fn v6(&self) -> anyhow::Result<IpAddr> {
        self.address(IpAddr::is_ipv6)
    }

    fn address(&self, family: impl Fn(&IpAddr) -> bool) -> anyhow::Result<IpAddr> {
        let mut addresses = self.addresses.iter().copied();
        addresses.find(family).with_context(|| format!("{} has no such address in the overlay", self.name))
    }

    /// Runs `festoon` with these arguments on its host, and gives what it prints.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub fn run<A: AsRef<str>>(&self, args: &[A]) -> anyhow::Result<String> {
        let mut all = vec![format!("--state-dir={}", self.state_dir.display())];
        all.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        self.host.run(&tool("festoon")?.to_string_lossy(), &all)
    }

    /// Starts the agent and waits until it answers.
    ///
    /// # Errors
    /// When it does not, with the end of its log.
    pub fn up(&mut self) -> anyhow::Result<()> {
        self.up_with(&[])
    }

    /// The same, with these options.
    ///
    /// # Errors
    /// When it does not.
    pub fn up_with(&mut self, options: &[&str]) -> anyhow::Result<()> {
        let mut args = vec![format!("--state-dir={}", self.state_dir.display()), "up".to_owned()];
        args.extend(options.iter().map(|option| (*option).to_owned()));
        self.program = Some(self.host.spawn_at(self.clock.as_ref(), tool("festoon")?, &args)?);
        self.program()?.wait_for_log(START, "the agent has started")?;
        wait_until_slowly(START, &format!("an answer of agent {}", self.name), || Ok(self.status().is_ok()))
    }

    /// Stops the agent with `festoon down`, and waits until it has ended.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn down(&mut self) -> anyhow::Result<()> {
        self.run(&["down"])?;
        let status = self.program()?.wait(END)?;
        anyhow::ensure!(status.success(), "agent {} ended with {status}", self.name);
        Ok(())
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// When it does not run, or says something else.
    pub fn status(&self) -> anyhow::Result<AgentStatus> {
        let text = self.run(&["status", "--json"])?;
        serde_json::from_str(&text).with_context(|| format!("this is no status of an agent: {text}"))
    }

    /// The version of the map in use, from the control socket: a command line would cost a process each time.
    ///
    /// # Errors
    /// When it does not run, or says something else.
    pub fn map_version(&self) -> anyhow::Result<u64> {
        let mut stream = UnixStream::connect(self.state_dir.join("agent.sock")).context("no agent answers")?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(b"\"status\"\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let answer: serde_json::Value = serde_json::from_str(&line)?;
        answer["status"]["map_version"].as_u64().with_context(|| format!("no status: {line}"))
    }

    /// Options for `curl` to ask `manager` as the agent does: their names and values.
    ///
    /// # Errors
    /// When the agent has not joined.
    pub fn curl_options(&self, manager: &Manager) -> anyhow::Result<Vec<(&'static str, String)>> {
        let read = |file: &str| -> anyhow::Result<serde_json::Value> {
            let path = self.state_dir.join(file);
            Ok(serde_json::from_slice(&std::fs::read(&path).with_context(|| path.display().to_string())?)?)
        };
        let secret: Vec<u8> = serde_json::from_value(read("identity.json")?["credential_secret"].take())?;
        let credential = format!("e{}.{}", read("map.json")?["endpoint"], URL_SAFE_NO_PAD.encode(secret));
        let ca = manager.data_dir().join("ca.crt");
        Ok(vec![
            ("max-time", ANSWER.as_secs().to_string()),
            ("cacert", ca.to_string_lossy().into_owned()),
            ("resolve", format!("{TLS_NAME}:{HTTPS_PORT}:{}", manager.host.v4())),
            ("header", format!("authorization: Bearer {credential}")),
        ])
    }

    /// Where a manager answers agents' requests of this kind.
    #[must_use]
    pub fn url(what: &str) -> String {
        format!("https://{TLS_NAME}:{HTTPS_PORT}/agent/v1/{what}")
    }

    /// For fetching its map from `manager`, as the agent does.
    ///
    /// # Errors
    /// When the agent has not joined.
    pub fn map_reader(&self, manager: &Manager) -> anyhow::Result<MapReader> {
        let mut args: Vec<String> = ["--silent", "--show-error", "--fail"].map(str::to_owned).to_vec();
        let options = self.curl_options(manager)?.into_iter();
        args.extend(options.flat_map(|(option, value)| [format!("--{option}"), value]));
        args.push(Self::url("map"));
        Ok(MapReader { host: self.host.clone(), args })
    }

    /// The id of the manager that carries it.
    ///
    /// # Errors
    /// When it has none.
    pub fn active(&self) -> anyhow::Result<u16> {
        self.status()?.active.with_context(|| format!("no manager carries {}", self.name))
    }

    /// The process.
    ///
    /// # Errors
    /// When it was never started.
    pub fn program(&mut self) -> anyhow::Result<&mut Program> {
        self.program.as_mut().with_context(|| format!("agent {} was never started", self.name))
    }
}

/// Fetches the map of an agent from one manager, with `curl`.
#[derive(Debug, Clone)]
pub struct MapReader {
    host: Host,
    args: Vec<String>,
}

impl MapReader {
    /// The version of the map.
    ///
    /// # Errors
    /// When the manager does not give it.
    pub fn read(&self) -> anyhow::Result<u64> {
        let map: serde_json::Value = serde_json::from_str(&self.host.run("curl", &self.args)?)?;
        map["version"].as_u64().context("a map without a version")
    }
}
