//! A whole life of the agent, from its last map, while no manager answers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]
#![expect(clippy::disallowed_methods, reason = "a deadline needs the clock")]

mod namespace;
mod sample;

use std::io::Read as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use festoon_endpoint::control::AgentStatus;
use festoon_endpoint::host::Note;
use festoon_endpoint::state::{Identity, StateDir};
use festoon_proto::token::TokenSecret;
use festoon_proto::{EndpointId, Generation};
use namespace::{in_fresh_namespace, ip};
use sample::map;

const DEADLINE: Duration = Duration::from_secs(20);

/// A host that has joined.
fn member(directory: &Path) {
    let state = StateDir::new(directory);
    state.store_identity(&Identity::generate(&TokenSecret::from_bytes([1; 32]))).unwrap();
    state.store_map(&map()).unwrap();
}

fn command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_festoon"));
    command.env_clear().arg("--state-dir").arg(state).args(arguments);
    command
}

fn festoon(state: &Path, arguments: &[&str]) -> Output {
    command(state, arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `festoon up`, with a stand-in for the socket that systemd listens on.
struct Agent {
    process: Child,
    notices: UnixDatagram,
}

/// A test that fails leaves no agent behind, for which whoever reads its output would wait.
impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Agent {
    fn start(state: &Path) -> Self {
        Self::start_with(state, &["up"])
    }

    fn start_with(state: &Path, arguments: &[&str]) -> Self {
        let socket = state.join("notify");
        let _ = std::fs::remove_file(&socket);
        let notices = UnixDatagram::bind(&socket).unwrap();
        notices.set_read_timeout(Some(DEADLINE)).unwrap();
        let process = command(state, arguments).env("NOTIFY_SOCKET", &socket).stderr(Stdio::piped()).spawn().unwrap();
        Self { process, notices }
    }

    fn wait_for_notice(&mut self, wanted: &str) {
        let mut buffer = [0; 512];
        loop {
            let Ok(length) = self.notices.recv(&mut buffer) else { panic!("no {wanted}: {}", self.log()) };
            if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == wanted) {
                return;
            }
        }
    }

    /// Waits for the end of the program; whether it ended well, and its log.
    fn wait(mut self) -> (bool, String) {
        let start = Instant::now();
        let mut log = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(start.elapsed() < DEADLINE, "{log}");
        (self.process.wait().unwrap().success(), log)
    }

    /// Stops the agent in good order.
    fn stop(self) {
        assert!(Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
        let (ended_well, log) = self.wait();
        assert!(ended_well, "{log}");
    }

    fn log(&mut self) -> String {
        self.process.kill().unwrap();
        let mut log = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }
}

/// All that an agent changes on its host.
fn host() -> (String, String, String) {
    (ip("-4 route"), ip("-6 route"), ip("-brief address"))
}

fn status(state: &Path) -> AgentStatus {
    let output = festoon(state, &["status", "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn an_agent_starts_cold_and_takes_everything_back() {
    if !in_fresh_namespace("an_agent_starts_cold_and_takes_everything_back") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    member(state);
    let before = host();
    let mut agent = Agent::start(state);
    agent.wait_for_notice("READY=1");
    let way = ip("route get 172.31.9.9");
    assert!(way.contains("dev festoon0") && way.contains("src 172.31.0.5"), "{way}");
    assert!(ip("-6 address show dev festoon0").contains("fd00::5/128"));
    assert!(!ip("address show dev festoon0").contains("fe80"));
    assert!(ip("link show festoon0").contains("mtu 1380"));

    assert!(festoon(state, &["down"]).status.success());
    // No waiting here: `down` has.
    assert_eq!(host(), before);
    assert_eq!(festoon(state, &["status"]).status.code(), Some(3));
    let (ended_well, log) = agent.wait();
    assert!(ended_well && log.contains("the agent has stopped"), "{log}");
}

#[test]
fn status_shows_the_agent_and_what_it_could_not_do() {
    if !in_fresh_namespace("status_shows_the_agent_and_what_it_could_not_do") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    member(state);
    let mut agent = Agent::start(state);
    agent.wait_for_notice("READY=1");
    let status = status(state);
    assert_eq!(status.node.active, None);
    assert_eq!(status.setup.addresses, map().addresses);
    assert_ne!(status.setup.listen_port, 0);
    // The manager is inside an overlay prefix, and is reached beside the tunnel.
    assert_eq!(status.setup.problems, Vec::<String>::new());
    assert!(ip("route get 192.0.2.7").contains("dev festoon0"));
    let past = ip("rule show");
    assert!(past.contains("to 192.0.2.1 ipproto udp dport 51820 lookup main"), "{past}");
    ip("tuntap add dev other0 mode tun");
    ip("link set other0 up");
    ip("route add 172.31.9.0/24 dev other0");
    let start = Instant::now();
    while self::status(state).setup.notes.is_empty() {
        assert!(start.elapsed() < DEADLINE);
    }
    assert!(self::status(state).setup.notes[0].text.contains("172.31.9.0/24 through other0"));
    assert!(ip("route get 172.31.9.9").contains("dev festoon0"));
    // As somebody makes one for containers.
    ip("link add br-app type bridge");
    ip("address add 172.31.200.1/24 dev br-app");
    ip("link set br-app up");
    let is_named =
        |note: &Note| note.text.contains("the bridge br-app") && note.text.contains("--local 172.31.200.0/24");
    let start = Instant::now();
    while !self::status(state).setup.notes.iter().any(is_named) {
        assert!(start.elapsed() < DEADLINE);
    }
    let table = text(&festoon(state, &["status"]));
    assert!(table.contains("active manager: none") && table.contains("manager: frankfurt (m1)"), "{table}");
    agent.stop();
}

#[test]
fn a_running_agent_keeps_its_state_and_its_routes() {
    if !in_fresh_namespace("a_running_agent_keeps_its_state_and_its_routes") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    member(state);
    let mut agent = Agent::start(state);
    agent.wait_for_notice("READY=1");
    let second = text(&festoon(state, &["up"]));
    assert!(second.contains("another festoon uses"), "{second}");

    let table = status(state).setup.routing_table.to_string();
    let filter = format!("festoon-{table}");
    let nft = |arguments: &[&str]| Command::new("nft").args(arguments).output().unwrap();
    let is_whole = || {
        ip(&format!("-4 route show table {table}")).contains("172.31.0.0/16 dev festoon0")
            && ip("-4 rule").contains(&format!("not from all fwmark 0x46000000/0xff000000 lookup {table}"))
            && ip("-6 rule").contains(&format!("lookup {table}"))
            && text(&nft(&["list", "table", "inet", &filter])).contains("172.31.0.0/16")
    };
    assert!(is_whole());
    let heal = |what: &str| {
        let start = Instant::now();
        while !is_whole() {
            assert!(start.elapsed() < DEADLINE, "{what} is not healed");
        }
    };
    ip(&format!("route del 172.31.0.0/16 dev festoon0 table {table}"));
    heal("a route that was removed");
    ip(&format!("-4 rule del lookup {table}"));
    ip(&format!("-6 rule del lookup {table}"));
    heal("rules that were removed");
    assert!(nft(&["flush", "ruleset"]).status.success());
    heal("a packet filter that was flushed");
    // The table stays, but says nothing.
    assert!(nft(&["flush", "table", "inet", &filter]).status.success());
    let start = Instant::now();
    while !text(&nft(&["list", "table", "inet", &filter])).contains("drop") {
        assert!(start.elapsed() < DEADLINE, "a packet filter without rules is not healed");
    }

    // A service manager that stops the agent may start it again: nothing leaves in the clear until then.
    agent.stop();
    let kept = Command::new("ip").args(["route", "get", "172.31.9.9"]).output().unwrap();
    assert!(!kept.status.success(), "{}", text(&kept));
    let down = text(&festoon(state, &["down"]));
    assert!(down.contains("that it left on this host are removed"), "{down}");
    assert!(!nft(&["list", "table", "inet", &filter]).status.success());
    assert!(!ip("rule").contains(&table) && !ip("route show table all").contains(&format!("table {table}")));
}

#[test]
fn without_nft_an_agent_starts_only_if_it_may() {
    if !in_fresh_namespace("without_nft_an_agent_starts_only_if_it_may") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    member(state);
    let before = host();
    for place in ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/bin/nft", "/usr/local/sbin/nft"] {
        if Path::new(place).is_file() {
            assert!(Command::new("mount").args(["--bind", "/dev/null", place]).status().unwrap().success());
        }
    }
    let up = festoon(state, &["up"]);
    assert!(!up.status.success() && text(&up).contains("install the package nftables"), "{}", text(&up));
    assert_eq!((host(), ip("rule").contains("fwmark")), (before, false));

    let mut agent = Agent::start_with(state, &["up", "--leak-protection", "warn"]);
    agent.wait_for_notice("READY=1");
    let problems = status(state).setup.problems;
    assert!(problems.iter().any(|problem| problem.contains("nft is not installed")), "{problems:?}");
    agent.stop();
}

/// Puts a program that always fails in the place of `nft`, or takes it away again. Where the real one is beside.
struct Broken {
    place: &'static str,
    copy: std::path::PathBuf,
}

impl Broken {
    fn prepare(directory: &Path) -> Self {
        let places = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/bin/nft", "/usr/local/sbin/nft"];
        let place = places.into_iter().find(|place| Path::new(place).is_file()).unwrap();
        let copy = directory.join("nft-that-works");
        std::fs::copy(place, &copy).unwrap();
        let script = directory.join("nft-that-fails");
        std::fs::write(&script, "#!/bin/sh\necho 'Error: out of luck' >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&script, std::fs::metadata(place).unwrap().permissions()).unwrap();
        Self { place, copy }
    }

    fn break_it(&self) {
        let script = self.copy.with_file_name("nft-that-fails");
        assert!(Command::new("mount").arg("--bind").arg(script).arg(self.place).status().unwrap().success());
    }

    fn heal(&self) {
        assert!(Command::new("umount").arg(self.place).status().unwrap().success());
    }
}

#[test]
fn while_the_filter_cannot_be_set_the_overlay_is_closed() {
    if !in_fresh_namespace("while_the_filter_cannot_be_set_the_overlay_is_closed") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    member(state);
    let nft = Broken::prepare(state);
    let is_closed = |to: &str| !Command::new("ip").args(["route", "get", to]).status().unwrap().success();

    // From the start: nothing opens even for a moment, for nobody reads the device's packets then.
    nft.break_it();
    let up = festoon(state, &["up"]);
    assert!(!up.status.success() && text(&up).contains("out of luck"), "{}", text(&up));
    assert!(is_closed("172.31.9.9") && is_closed("fd00::9"));
    let down = festoon(state, &["down"]);
    assert!(!down.status.success() && text(&down).contains("out of luck"), "not taken for clean: {}", text(&down));
    nft.heal();
    assert!(festoon(state, &["down"]).status.success());

    // In the middle: somebody flushes the filter, and it cannot be set again.
    let mut agent = Agent::start(state);
    agent.wait_for_notice("READY=1");
    assert!(ip("route get 172.31.9.9").contains("dev festoon0"));
    nft.break_it();
    assert!(Command::new(&nft.copy).args(["flush", "ruleset"]).status().unwrap().success());
    let start = Instant::now();
    let wait_until = |what: &str, is_so: &dyn Fn() -> bool| {
        while !is_so() {
            assert!(start.elapsed() < 2 * DEADLINE, "{what}");
        }
    };
    wait_until("the overlay is closed", &|| is_closed("172.31.9.9") && is_closed("fd00::9"));
    let problems = || status(state).setup.problems;
    wait_until("the reason is in the status", &|| problems().iter().any(|problem| problem.contains("out of luck")));
    nft.heal();
    wait_until("the overlay is open again", &|| problems().is_empty() && !is_closed("172.31.9.9"));
    agent.stop();
}

#[test]
fn what_an_agent_left_is_taken_back_by_the_interface_that_it_used() {
    if !in_fresh_namespace("what_an_agent_left_is_taken_back_by_the_interface_that_it_used") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    member(state);
    let before = host();
    let leave_traces = |arguments: &[&str]| {
        let mut agent = Agent::start_with(state, arguments);
        agent.wait_for_notice("READY=1");
        let table = status(state).setup.routing_table.to_string();
        agent.stop();
        assert!(ip("rule").contains(&table));
        table
    };
    let is_there = |table: &str| {
        let filters = Command::new("nft").args(["list", "tables"]).output().unwrap();
        ip("rule").contains(table) || ip("-6 rule").contains(table) || text(&filters).contains(table)
    };
    let table = leave_traces(&["up", "--interface", "other0"]);
    let down = text(&festoon(state, &["down"]));
    assert!(down.contains("that it left on this host are removed"), "{down}");
    assert!(!is_there(&table));

    // The next start with another name takes it back as well.
    let first = leave_traces(&["up", "--interface", "other0"]);
    let second = leave_traces(&["up"]);
    assert!(first != second && !is_there(&first) && is_there(&second));
    let leave = festoon(state, &["leave", "--force", "--interface", "other0"]);
    assert!(leave.status.success(), "{}", text(&leave));
    assert!(!is_there(&second));
    assert_eq!(host(), before);
}

#[test]
fn every_start_has_a_higher_generation_however_the_last_one_ended() {
    if !in_fresh_namespace("every_start_has_a_higher_generation_however_the_last_one_ended") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    member(state);
    let before = host();
    for (boot, signal) in [(1, "TERM"), (2, "INT"), (3, "KILL"), (4, "TERM")] {
        let mut agent = Agent::start(state);
        agent.wait_for_notice("READY=1");
        assert_eq!(status(state).node.generation, Generation::first_of_boot(boot));
        let process = agent.process.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &process]).status().unwrap().success());
        assert_eq!(agent.wait().0, signal != "KILL");
        assert_eq!(festoon(state, &["status"]).status.code(), Some(3));
        assert_eq!(host(), before);
    }
}

#[test]
fn leaving_without_a_manager_takes_a_second_thought() {
    if !in_fresh_namespace("leaving_without_a_manager_takes_a_second_thought") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    member(state);
    let mut agent = Agent::start(state);
    agent.wait_for_notice("READY=1");
    let leave = festoon(state, &["leave"]);
    assert!(!leave.status.success() && text(&leave).contains("--force"), "{}", text(&leave));
    assert_eq!(status(state).setup.endpoint, EndpointId(7));

    let leave = festoon(state, &["leave", "--force"]);
    assert!(leave.status.success(), "{}", text(&leave));
    assert!(agent.wait().0);
    assert!(!StateDir::new(state).has_joined());
    assert!(!state.join("identity.json").exists());
}
