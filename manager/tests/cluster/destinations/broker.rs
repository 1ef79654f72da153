//! A RabbitMQ of our own: another name, ports and directory than any other, and its own epmd.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::harness::{free_address, free_port};

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const DEADLINE: Duration = Duration::from_secs(90);

/// The broker.
pub(super) struct Broker {
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    directory: tempfile::TempDir,
    distribution: u16,
    epmd_port: u16,
    epmd: Child,
    server: Option<Child>,
}

impl Broker {
    /// Starts one and waits until it takes connections.
    pub(super) async fn start() -> Self {
        assert!(Path::new(SERVER).exists(), "there is no {SERVER}: run tests/install-needs");
        let [plain, tls] = [free_address(), free_address()];
        let (distribution, epmd_port) = (free_port(), free_port());
        let mut epmd = Command::new("epmd");
        epmd.args(["-port", &epmd_port.to_string()]).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        let epmd = epmd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut broker = Self { plain, tls, directory, distribution, epmd_port, epmd, server: None };
        broker.configure();
        broker.up().await;
        broker
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The certificate of the CA that its certificate is from.
    pub(super) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    fn configure(&self) {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        fs::write(self.ca(), ca.pem()).unwrap();
        fs::write(self.path("server.pem"), certificate.pem()).unwrap();
        fs::write(self.path("server.key"), key.serialize_pem()).unwrap();
        let path = |name: &str| self.path(name).display().to_string();
        let configuration = format!(
            "listeners.tcp.1 = {}\nlisteners.ssl.1 = {}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\nssl_options.verify = verify_none\n",
            self.plain,
            self.tls,
            path("ca.pem"),
            path("server.pem"),
            path("server.key"),
        );
        fs::write(self.path("rabbitmq.conf"), configuration).unwrap();
        fs::write(self.path("enabled_plugins"), "[].").unwrap();
        fs::write(self.path("environment"), "").unwrap();
    }

    /// Starts it, with what it had.
    pub(super) async fn up(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("output")).unwrap();
        let mut server = Command::new(SERVER);
        server.process_group(0).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        server.env("HOME", self.directory.path()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        for (name, value) in [
            ("ERL_EPMD_PORT", self.epmd_port.to_string()),
            ("RABBITMQ_NODENAME", format!("festoon-{}@localhost", self.plain.port())),
            ("RABBITMQ_DIST_PORT", self.distribution.to_string()),
        ] {
            server.env(name, value);
        }
        for (name, file) in [
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq"),
            ("RABBITMQ_CONF_ENV_FILE", "environment"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_GENERATED_CONFIG_DIR", "generated"),
            ("RABBITMQ_PID_FILE", "pid"),
        ] {
            server.env(name, self.path(file));
        }
        self.server = Some(server.spawn().unwrap());
        let deadline = Instant::now() + DEADLINE;
        while [self.plain, self.tls].iter().any(|at| TcpStream::connect(at).is_err()) {
            let said = fs::read_to_string(self.path("output")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the broker does not start:\n{said}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends it at once, as a power cut does.
    pub(super) fn down(&mut self) {
        if let Some(mut server) = self.server.take() {
            // The script and the broker that it started are a group of their own.
            kill_process_group(Pid::from_child(&server), Signal::KILL).unwrap();
            server.wait().unwrap();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.down();
        self.epmd.kill().unwrap();
        self.epmd.wait().unwrap();
    }
}
