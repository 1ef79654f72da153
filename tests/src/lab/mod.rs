//! A lab: hosts that are network namespaces, an internet between them, and ways to break it.
//!
//! ```no_run
//! use festoon_tests::lab::{Lab, Path};
//!
//! fn scenario() -> anyhow::Result<()> {
//!     let lab = Lab::new()?;
//!     let net = lab.internet()?;
//!     let m1 = net.cloud("cloud1", "192.0.2.0/24")?.host("m1")?;
//!     let home = net.cloud("isp", "198.51.100.0/24")?.nat("home", "10.0.0.0/24")?;
//!     let laptop = home.host("laptop")?;
//!     let cut = net.cut(&laptop, &m1)?;
//!     cut.heal()?;
//!     let lossy = net.lose(&Path::everywhere(), 5.0)?;
//!     lossy.heal()
//! }
//! ```
//!
//! Every host has its own cable to the router of its cloud and no neighbours: all traffic, also within one cloud, passes a
//! router, as in the clouds of the large providers. So every fault is made in a router, silently, and no host can see it
//! any other way than by what does not arrive.
//!
//! Dropping the [`Lab`] ends every process in its namespaces and removes them, also after a panic; then it prints the end
//! of every program's log first. For tests that return errors, [`Lab::run`] does so too.

mod arrivals;
mod cleanup;
mod cloud;
mod command;
mod delay;
mod fault;
mod hogs;
mod host;
mod measure;
mod namespace;
mod narrow;
mod path;
mod program;
mod router;
mod wait;
mod wall_clock;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use tempfile::TempDir;

pub use arrivals::Arrivals;
pub use cleanup::remove_on_signals;
pub use cloud::{Cloud, Internet};
pub use command::tool;
pub use delay::{Delay, Delayed};
pub use fault::{Fault, Slowed};
pub use hogs::Hogs;
pub use host::Host;
pub use measure::{Echo, Flood, Receiver, Stream, Tool};
pub use namespace::Namespace;
pub use narrow::Narrowed;
pub use path::Path;
pub use program::{Program, log_tail};
pub use wait::{wait_for, wait_until};
pub use wall_clock::WallClock;

/// Distinguishes the labs of one process.
static LABS: AtomicU32 = AtomicU32::new(0);

/// Hosts and what runs on them. See the [module](self).
#[derive(Debug)]
pub struct Lab {
    site: Arc<Site>,
}

/// What everything in a lab shares.
#[derive(Debug)]
struct Site {
    prefix: String,
    dir: PathBuf,
    namespaces: Mutex<Vec<Arc<Namespace>>>,
    /// Those with a cable, `eth0`.
    cabled: Mutex<Vec<Arc<Namespace>>>,
    logs: Mutex<Vec<PathBuf>>,
    /// Outside of the directory, and to be removed too.
    litter: Mutex<Vec<PathBuf>>,
    serial: AtomicU32,
    kept: AtomicBool,
    /// Removes the directory when dropped, unless kept.
    temporary: Mutex<Option<TempDir>>,
}

impl Lab {
    /// An empty lab.
    ///
    /// # Errors
    /// Without the right to make namespaces.
    pub fn new() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("the lab needs root: run this as root, or under tests/enter");
        }
        let prefix = format!("fst{}x{}-", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let temporary = TempDir::with_prefix(&prefix).context("cannot make the lab's directory")?;
        let site = Site {
            prefix,
            dir: temporary.path().to_owned(),
            namespaces: Mutex::default(),
            cabled: Mutex::default(),
            logs: Mutex::default(),
            litter: Mutex::default(),
            serial: AtomicU32::new(0),
            kept: AtomicBool::new(false),
            temporary: Mutex::new(Some(temporary)),
        };
        let site = Arc::new(site);
        cleanup::remember(&site);
        Ok(Self { site })
    }

    /// Runs `scenario` in a lab of its own and prints the programs' logs when it fails, by error or by panic.
    ///
    /// # Errors
    /// The scenario's.
    pub fn run<T>(scenario: impl FnOnce(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let lab = Self::new()?;
        scenario(&lab).inspect_err(|_| lab.print_logs())
    }

    /// A router with clouds around it. One is enough for most labs.
    ///
    /// # Errors
    /// When the namespace cannot be made.
    pub fn internet(&self) -> anyhow::Result<Internet> {
        Internet::new(&self.site)
    }

    /// The lab's directory, removed with it: logs, reports, and whatever a scenario puts there.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        &self.site.dir
    }

    /// The names of all its namespaces.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        self.site.namespaces().iter().map(|namespace| namespace.name().to_owned()).collect()
    }

    /// Prints the end of every program's log to standard error.
    pub fn print_logs(&self) {
        let logs = self.site.logs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for log in logs {
            eprintln!("--- {}\n{}", log.display(), log_tail(&log));
        }
    }

    /// Leaves everything as it is, programs too, and gives the names of the namespaces. [`Lab::remove`] takes it away.
    #[must_use]
    pub fn keep(self) -> Vec<String> {
        self.mark_kept();
        self.namespaces()
    }

    /// As [`Lab::keep`], for one whose programs are still in other hands.
    pub fn mark_kept(&self) {
        self.site.kept.store(true, Ordering::Relaxed);
        let temporary = self.site.temporary.lock().unwrap_or_else(PoisonError::into_inner).take();
        temporary.map(TempDir::keep);
    }

    /// Removes namespaces that [`Lab::keep`] left, and ends what runs in them.
    ///
    /// # Errors
    /// When one of them cannot be removed.
    pub fn remove(namespaces: &[String]) -> anyhow::Result<()> {
        namespaces.iter().try_for_each(|name| Namespace::remove_by_name(name))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.site.is_kept() {
            return;
        }
        if std::thread::panicking() {
            self.print_logs();
        }
        self.site.remove();
    }
}

impl Site {
    fn namespace(&self, name: &str) -> anyhow::Result<Arc<Namespace>> {
        let namespace = Arc::new(Namespace::create(format!("{}{name}", self.prefix))?);
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&namespace));
        Ok(namespace)
    }

    /// Ends every process in its namespaces and removes them, and the directory.
    fn remove(&self) {
        for namespace in self.namespaces() {
            if let Err(error) = namespace.remove() {
                eprintln!("{error:#}");
            }
        }
        for path in self.litter.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A program that ended well has removed it.
            let _ = std::fs::remove_file(path);
        }
        drop(self.temporary.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn namespaces(&self) -> Vec<Arc<Namespace>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A number that was not given before in this lab.
    fn next_serial(&self) -> u32 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// A fresh log file for `program` on `host`.
    fn new_log(&self, host: &str, program: &str) -> PathBuf {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let log = self.dir.join(format!("{:02}-{host}-{program}.log", logs.len()));
        logs.push(log.clone());
        log
    }
}
