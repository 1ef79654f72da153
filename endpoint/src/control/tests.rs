use std::time::Duration;

use festoon_proto::Generation;
use tokio::sync::mpsc;

use super::*;
use crate::host::Code;
use crate::node::measure::Measure;
use crate::rotate::RotateError;
use crate::state::{StateDir, StateError};

fn status() -> AgentStatus {
    let manager = |id, name: &str, state| ManagerStatus {
        id: ManagerId(id),
        name: name.into(),
        state,
        rtt_us: Some(1_250),
        heard_ms_ago: Some(35),
        handshake_ms_ago: Some(125_000),
        underlay: Some("192.0.2.1:51820".parse().unwrap()),
        observed: Some("203.0.113.5:40001".parse().unwrap()),
    };
    let setup = Setup {
        interface: "festoon0".into(),
        listen_port: 40_000,
        endpoint: EndpointId(7),
        name: "web".into(),
        network: NetworkId(3),
        network_name: "prod".into(),
        addresses: vec!["172.31.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
        public_key: PublicKey::from_bytes([1; 32]),
        map_version: MapVersion(17),
        problems: vec!["cannot bring festoon0 up".into()],
        notes: vec![Note {
            code: Code::ForeignRoute,
            prefix: "172.31.9.0/24".parse().unwrap(),
            text: "a route came later".into(),
        }],
        routing_table: 79063,
        leak_protection: Protection::Require,
    };
    AgentStatus {
        setup,
        node: Status {
            generation: Generation::first_of_boot(4).next(),
            active: Some(ManagerId(1)),
            managers: vec![
                manager(1, "frankfurt", UplinkState::Active),
                manager(2, "paris", UplinkState::Warm),
                manager(3, "rome", UplinkState::HoldDown),
            ],
            rx_bytes: 3 << 20,
            tx_bytes: 100,
            moves: Vec::new(),
            losses: 0,
            drops: vec![("no_route".into(), 2), ("bad_source".into(), 0)],
        },
    }
}

fn facts() -> Facts {
    let settings = Settings {
        state_dir: "/tmp/a".into(),
        socket: "/tmp/a/agent.sock".into(),
        interface: "festoon0".into(),
        listen_port: 0,
        no_segmentation: false,
        routes: vec!["10.0.0.0/8".parse().unwrap()],
        rotate_key_every_s: Some(60),
        leak_protection: Protection::Off,
    };
    Facts { version: "1".into(), settings, io: vec![("lost".into(), 3)], log: vec!["a line".into()] }
}

#[test]
fn the_table_shows_what_an_admin_looks_for() {
    let table = status().to_string();
    for line in [
        "interface: festoon0",
        "  endpoint: web (e7)",
        "  network: prod (n3)",
        "  addresses: 172.31.0.5, fd00::5",
        "  active manager: frankfurt (m1)",
        "  spare managers: paris (m2)",
        "  generation: 4.1",
        "  transfer: 3.00 MiB received, 100 B sent",
        "  dropped: 2 no_route",
        "  problem: cannot bring festoon0 up",
        "  foreign route: a route came later",
        "  routing table: 79063 (ip route show table 79063)",
        "  leak protection: required",
        "manager: rome (m3)",
        "  state: hold-down",
        "  sees us as: 203.0.113.5:40001",
        "  round trip: 1.250 ms",
        "  last heard: 35 ms ago",
        "  latest handshake: 2 min ago",
    ] {
        assert!(table.lines().any(|found| found == line), "no {line:?} in\n{table}");
    }
    assert!(!table.contains("bad_source"));
}

#[test]
fn the_json_holds_the_same() {
    let json = serde_json::to_string(&status()).unwrap();
    assert_eq!(serde_json::from_str::<AgentStatus>(&json).unwrap(), status());
}

/// Plays the session: answers status requests and stops on `down`.
async fn session(mut asks: mpsc::Receiver<Ask>) {
    while let Some(ask) = asks.recv().await {
        match ask {
            Ask::Status(reply) => reply.send(status()).unwrap(),
            Ask::RotateKey(rotation) if rotation.overlap.is_zero() => {
                rotation.reply.send(Err(RotateError::State(StateError::NotJoined))).unwrap();
            }
            Ask::RotateKey(rotation) => rotation.reply.send(Ok(PublicKey::from_bytes([9; 32]))).unwrap(),
            Ask::Measure(Measure { manager: ManagerId(1), size, done }) => {
                done(Measured { rtt_us: size.map_or(1, u32::from), observed: None });
            }
            // Nobody answers.
            Ask::Measure(_) => {}
            Ask::Facts(reply) => reply.send(facts()).unwrap(),
            Ask::Down => return,
        }
    }
}

#[test]
fn commands_reach_the_session_and_down_waits_for_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("run/agent.sock");
    assert!(matches!(client::status(&socket), Err(ControlError::NotRunning)));
    assert!(matches!(down(&socket), Err(ControlError::NotRunning)));

    let lock = StateDir::new(directory.path()).lock().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(async { Server::bind(&socket, lock).unwrap() });
    let (asks, receiver) = mpsc::channel(1);
    let serving = runtime.spawn(server.serve(asks));
    let agent = std::thread::spawn(move || {
        runtime.block_on(async {
            session(receiver).await;
            // As the agent does. Were it left to the end of the runtime, connections might end before the lock.
            serving.abort();
            assert!(serving.await.is_err_and(|ended| ended.is_cancelled()));
        });
    });
    assert_eq!(client::status(&socket).unwrap(), status());
    assert_eq!(rotate_key(&socket, Duration::from_secs(1)).unwrap(), PublicKey::from_bytes([9; 32]));
    let asked = |manager, size| measure(&socket, ManagerId(manager), size, Duration::from_millis(200)).unwrap();
    assert_eq!(asked(1, Some(1400)).map(|it| it.rtt_us), Some(1400));
    assert_eq!((asked(1, None).map(|it| it.rtt_us), asked(2, None)), (Some(1), None));
    assert_eq!(super::facts(&socket).unwrap(), facts());
    let refused = rotate_key(&socket, Duration::ZERO).unwrap_err();
    assert_eq!(refused.to_string(), StateError::NotJoined.to_string());
    down(&socket).unwrap();
    // `down` has waited. Only a process that another test is starting right now may have the lock too, until it runs its program.
    let lock = || StateDir::new(directory.path()).lock().ok();
    assert!((0..50).any(|_| lock().is_some() || {
        std::thread::park_timeout(Duration::from_millis(2));
        false
    }));
    assert!(!socket.exists());
    agent.join().unwrap();
    assert!(matches!(client::status(&socket), Err(ControlError::NotRunning)));
}

#[test]
fn a_socket_that_a_killed_agent_left_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(matches!(client::status(&socket), Err(ControlError::NotRunning)));
    let lock = StateDir::new(directory.path()).lock().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Server::bind(&socket, lock).unwrap() });
}
