//! A manager on a host, through its command line.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::admin::Admin;
use super::status::{Listed, ManagerStatus};
use super::{in_file, wait_until_slowly};
use crate::lab::{Host, Program, WallClock, tool};

const START: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(20);

/// A manager. Its state outlives its process.
#[derive(Debug)]
pub struct Manager {
    /// Where it runs.
    pub host: Host,
    /// Its id in the cluster.
    pub id: u16,
    name: String,
    data_dir: PathBuf,
    /// The wall clock that it starts with, if it has one of its own.
    pub clock: Option<WallClock>,
    program: Option<Program>,
}

/// What a manager says of itself when it comes into a cluster.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// Its name.
    pub name: String,
    /// Where others reach it.
    pub underlay: IpAddr,
    /// Its priority.
    pub priority: u8,
}

impl Introduction {
    fn options(&self) -> Vec<String> {
        let Self { name, underlay, priority } = self;
        vec![format!("--name={name}"), format!("--underlay={underlay}"), format!("--priority={priority}")]
    }
}

impl Manager {
    /// Makes a cluster with a network of `prefixes`, and runs its first manager on `host`, with its state under `dir`.
    ///
    /// # Errors
    /// What the program says; so for all that follow.
    pub fn init(host: &Host, dir: PathBuf, me: &Introduction, prefixes: &[&str]) -> anyhow::Result<Self> {
        let prefixes = prefixes.iter().map(|prefix| format!("--prefix={prefix}"));
        let args = ["init".to_owned()].into_iter().chain(me.options()).chain(prefixes);
        Self::enter(host, dir, me, &args.collect::<Vec<_>>())
    }

    /// Runs another manager of the cluster that `token` is from.
    ///
    /// # Errors
    /// When it is not let in.
    pub fn join(host: &Host, dir: PathBuf, me: &Introduction, token: &str) -> anyhow::Result<Self> {
        let token = in_file(dir.parent().unwrap_or(Path::new(".")), token)?;
        let args = ["join".to_owned(), token].into_iter().chain(me.options());
        Self::enter(host, dir, me, &args.collect::<Vec<_>>())
    }

    /// Runs a witness of the cluster that `token` is from: it votes, and no more.
    ///
    /// # Errors
    /// When it is not let in.
    pub fn witness(host: &Host, dir: PathBuf, me: &Introduction, token: &str) -> anyhow::Result<Self> {
        let token = in_file(dir.parent().unwrap_or(Path::new(".")), token)?;
        let mut witness =
            Self { host: host.clone(), id: 0, name: me.name.clone(), data_dir: dir, clock: None, program: None };
        let (name, https) = (format!("--name={}", me.name), format!("--https={}", me.underlay));
        witness.run(&["witness", &token, &name, &https])?;
        witness.start_witness()?;
        witness.id = witness.status()?.manager;
        Ok(witness)
    }

    /// Starts a witness and waits until it answers. It never says that it serves.
    ///
    /// # Errors
    /// When it does not.
    pub fn start_witness(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        wait_until_slowly(START, "an answer of the witness", || Ok(self.status().is_ok()))
    }

    /// Makes the first manager of a cluster that lost all of them, from a snapshot and the recovery key.
    ///
    /// # Errors
    /// When it is refused.
    pub fn restore(host: &Host, dir: PathBuf, me: &Introduction, file: &Path, key: &Path) -> anyhow::Result<Self> {
        let snapshot = [file.display().to_string(), format!("--key={}", key.display())];
        let args = ["snapshots", "restore"].map(str::to_owned).into_iter().chain(snapshot).chain(me.options());
        Self::enter(host, dir, me, &args.collect::<Vec<_>>())
    }

    fn enter(host: &Host, data_dir: PathBuf, me: &Introduction, args: &[String]) -> anyhow::Result<Self> {
        let mut manager =
            Self { host: host.clone(), id: 0, name: me.name.clone(), data_dir, clock: None, program: None };
        manager.run(args)?;
        manager.start()?;
        manager.id = manager.status()?.manager;
        Ok(manager)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its state is.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Runs `festoon-manager` with these arguments on its host, and gives what it prints.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub fn run<A: AsRef<str>>(&self, args: &[A]) -> anyhow::Result<String> {
        let mut all = vec![format!("--data-dir={}", self.data_dir.display())];
        all.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        self.host.run(&tool("festoon-manager")?.to_string_lossy(), &all)
    }

    /// A token for one more endpoint.
    ///
    /// # Errors
    /// When it makes none.
    pub fn token(&self) -> anyhow::Result<String> {
        Ok(self.run(&["tokens", "add"])?.trim().to_owned())
    }

    /// What it says of itself and the cluster.
    ///
    /// # Errors
    /// When it does not run, or says something else.
    pub fn status(&self) -> anyhow::Result<ManagerStatus> {
        let text = self.run(&["status", "--json"])?;
        serde_json::from_str(&text).with_context(|| format!("this is no status of a manager: {text}"))
    }

    /// All endpoints that it knows.
    ///
    /// # Errors
    /// When it does not run, or says something else.
    pub fn endpoints(&self) -> anyhow::Result<Vec<Listed>> {
        let text = self.run(&["endpoints", "list", "--json"])?;
        serde_json::from_str(&text).context("this is no list of endpoints")
    }

    /// Its admin socket, for those who ask often.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(&self.data_dir)
    }

    /// All it has printed since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.as_ref().map(Program::log).unwrap_or_default()
    }

    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// When it does not, with the end of its log.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        self.wait_serving()
    }

    /// Starts it.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        let data_dir = format!("--data-dir={}", self.data_dir.display());
        let args = [data_dir, "serve".to_owned()];
        self.program = Some(self.host.spawn_at(self.clock.as_ref(), tool("festoon-manager")?, &args)?);
        Ok(())
    }

    /// Waits until it says that it serves.
    ///
    /// # Errors
    /// When it does not, with the end of its log.
    pub fn wait_serving(&mut self) -> anyhow::Result<()> {
        self.program()?.wait_for_log(START, "serving").map(drop)
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Errors
    /// When it does not.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let program = self.program()?;
        program.terminate()?;
        let status = program.wait(END)?;
        anyhow::ensure!(status.success(), "manager {} ended with {status}", self.name);
        Ok(())
    }

    /// The process.
    ///
    /// # Errors
    /// When it was never started.
    pub fn program(&mut self) -> anyhow::Result<&mut Program> {
        self.program.as_mut().with_context(|| format!("manager {} was never started", self.name))
    }
}
