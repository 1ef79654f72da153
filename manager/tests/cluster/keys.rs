//! The CA's key and other secrets: every full manager has them, and no file gives them away.

use std::path::Path;
use std::time::{Duration, Instant};

use festoon_control::registry::SecretName;
use festoon_manager::data_dir::DataDir;
use festoon_manager::pki::client_config;
use festoon_manager::vault::Vault;
use festoon_proto::address::MANAGER_TLS_NAME;
use festoon_proto::map::EndpointMap;
use festoon_proto::token::JoinToken;
use festoon_proto::{EndpointId, Fingerprint, ManagerId};

use crate::harness::{Agent, Manager, text, until};

#[tokio::test]
async fn any_manager_lets_another_in_when_the_first_is_lost() {
    let mut first = Manager::init("m1").started().await;
    let second = Manager::join("m2", &first).await;
    let third = Manager::join("m3", &first).await;
    until("three vote", || third.must(&["status"]).contains("one more manager may fail")).await;
    first.kill();
    until("the others go on", || second.run(&["tokens", "add"]).status.success()).await;
    let fourth = Manager::join("m4", &second).await;
    until("it is in", || fourth.status()["managers"].as_array().unwrap().len() == 4).await;
}

fn ca(manager: &Manager) -> serde_json::Value {
    serde_json::from_str(&manager.must(&["ca", "show", "--json"])).unwrap()
}

async fn until_ready(manager: &Manager) {
    let ready = |row: &serde_json::Value| row["is_ready"] == true;
    until("all are ready", || ca(manager)["managers"].as_array().unwrap().iter().all(ready)).await;
}

/// Waits until a manager serves an agent's map: one that has just started may not be certain yet of what came last.
async fn until_served(agent: &Agent, manager: &Manager, endpoint: EndpointId) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(problem) = agent.map(manager.https, endpoint).await {
        assert!(Instant::now() < deadline && problem.kind == "credential-not-checked", "{problem:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a node that believes this CA alone believes a manager.
async fn believes(ca: Fingerprint, manager: &Manager) -> bool {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(client_config(&[ca], None).unwrap())
        .resolve(MANAGER_TLS_NAME, manager.https)
        .no_proxy()
        .build()
        .unwrap();
    client.get(format!("https://{MANAGER_TLS_NAME}:{}/", manager.https.port())).send().await.is_ok()
}

#[tokio::test]
async fn the_ca_is_replaced_while_agents_and_managers_work() {
    let first = Manager::init("m1").started().await;
    let mut second = Manager::join("m2", &first).await;
    let (token, early) = (first.token(&[]), first.token(&[]));
    let (old, mut web) = (token.ca_fingerprint, Agent::new(1, &token));
    let endpoint = web.join(first.https, &token).await.unwrap().map.endpoint;
    let map = async |web: &Agent, manager: &Manager| -> EndpointMap { web.map(manager.https, endpoint).await.unwrap() };
    assert_eq!(map(&web, &first).await.authorities, [old]);
    assert!(first.must_fail(&["ca", "promote"]).contains("begin with `festoon-manager ca rotate`"));
    assert!(first.must_fail(&["ca", "retire", "--yes"]).contains("begin with `festoon-manager ca rotate`"));

    let before = map(&web, &first).await.version;
    second.must(&["ca", "rotate"]);
    let again = second.must_fail(&["ca", "rotate"]);
    assert!(again.contains("not yet in use") && again.contains("`festoon-manager ca promote`"), "{again}");
    assert!(second.must_fail(&["ca", "retire", "--yes"]).contains("nobody uses the next CA yet"));
    until_ready(&first).await;
    let learned = map(&web, &first).await;
    assert!(learned.version > before, "its agent hears of it");
    let [_, new] = learned.authorities[..] else { panic!("{learned:?}") };
    assert!(!believes(new, &first).await);

    first.must(&["ca", "promote"]);
    assert!(first.must_fail(&["ca", "rotate"]).contains("still trusted. Run `festoon-manager ca retire`"));
    until_ready(&first).await;
    for manager in [&first, &second] {
        assert!(believes(old, manager).await && believes(new, manager).await);
    }
    let late = second.token(&[]);
    assert_eq!(late.ca_fingerprint, new);
    Agent::new(2, &late).join(first.https, &late).await.unwrap();
    let third = Agent::new(3, &early);
    let endpoint_of_third = third.join(second.https, &early).await.unwrap().map.endpoint;
    map(&web, &second).await;

    second.kill();
    let needed = first.must_fail(&["ca", "retire", "--yes"]);
    assert!(
        needed.contains("manager m2 does not answer") && needed.contains("agents not told of the new CA: 1 (web-3)"),
        "{needed}"
    );
    second.start().await;
    until_ready(&first).await;
    assert!(first.must_fail(&["ca", "retire", "--yes"]).contains("web-3"), "who told it has forgotten that");
    until_served(&third, &second, endpoint_of_third).await;
    until("changes are taken again", || first.run(&["ca", "retire", "--yes"]).status.success()).await;
    until("the old one is shown no more", || ca(&second)["authorities"].as_array().unwrap().len() == 1).await;
    until_ready(&second).await;
    web.ca_fingerprint = new;
    assert_eq!(map(&web, &second).await.authorities, [new]);
    for manager in [&first, &second] {
        assert!(believes(new, manager).await && !believes(old, manager).await);
    }
    let another = Manager::join("m3", &second).await;
    until("managers go on", || another.run(&["tokens", "add"]).status.success()).await;
}

#[tokio::test]
async fn a_witness_signs_nothing_and_gets_its_certificate_from_a_full_manager() {
    let first = Manager::init("m1").started().await;
    let mut witness = Manager::unjoined();
    let (token, https) = (first.must(&["tokens", "add", "--witness"]), witness.https.to_string());
    witness.must(&["witness", token.trim(), "--name", "w", "--https", &https]);
    witness.start().await;
    until("it votes", || first.must(&["status"]).contains("no spare manager")).await;

    let asked = |token: JoinToken, managers: &[&Manager]| JoinToken {
        managers: managers.iter().map(|manager| manager.https).collect(),
        ..token
    };
    let (token, newcomer) = (first.token(&["--manager"]), Manager::unjoined());
    let alone = newcomer.try_join("m2", &asked(token.clone(), &[&witness]).to_secret_string());
    assert!(text(&alone.stderr).contains("no manager let this one in"), "{}", text(&alone.stderr));
    assert!(newcomer.try_join("m2", &asked(token, &[&witness, &first]).to_secret_string()).status.success());
    let second = newcomer.started().await;

    assert!(witness.must_fail(&["ca", "rotate"]).contains("is a witness and reads no secrets"));
    second.must(&["ca", "rotate"]);
    until_ready(&first).await;
    assert!(witness.must_fail(&["ca", "promote"]).contains("is a witness, which only votes"));
    second.must(&["ca", "promote"]);
    until_ready(&second).await;
    let certified = |manager: &Manager| manager.log().contains("a manager has a new certificate");
    assert!(certified(&first) || certified(&second), "the witness asked one of them");
    second.must(&["ca", "retire", "--yes"]);
    until_ready(&first).await;
    until("changes go on", || second.run(&["tokens", "add"]).status.success()).await;
}

/// Whether `needle` stands in the file.
fn holds(path: &Path, needle: &[u8]) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn no_file_of_any_manager_gives_a_secret_away() {
    let first = Manager::init("m1").started().await;
    let second = Manager::join("m2", &first).await;
    first.must(&["ca", "rotate"]);
    until_ready(&second).await;
    let (first, second) = (stopped(first).await, stopped(second).await);
    let recovery =
        first.founding.split_whitespace().find(|word| word.starts_with("AGE-SECRET-KEY-1")).unwrap().to_owned();
    let mut secrets = vec![recovery.into_bytes()];
    for (number, manager) in [(1, &first), (2, &second)] {
        let state = manager.stored_state().await;
        let vault = Vault::load(&DataDir::open(&manager.root).unwrap(), ManagerId(number)).unwrap();
        secrets.push(vault.data_key(&state).unwrap().secret_bytes().to_vec());
        for authority in state.vault().authorities() {
            let pem = vault.read(&state, &SecretName::of_authority(&authority.fingerprint)).unwrap();
            assert!(text(&pem).contains("PRIVATE KEY"));
            // Each line of it, and what the middle of it says in DER: the scalar.
            secrets.extend(text(&pem).lines().filter(|line| !line.starts_with("---")).map(|line| line.into()));
            secrets.push(scalar(&pem));
        }
    }
    assert_eq!(secrets.len(), 1 + 2 * (1 + 2 * 4), "the canaries");
    for entry in [&first, &second].iter().flat_map(|manager| std::fs::read_dir(&manager.root).unwrap()) {
        let path = entry.unwrap().path();
        for secret in &secrets {
            assert!(secret.len() >= 20 && !holds(&path, secret), "{} holds a secret", path.display());
        }
    }
    assert!(holds(&first.root.join("registry.redb"), b"BEGIN CERTIFICATE"), "what is no secret is found");
}

async fn stopped(mut manager: Manager) -> Manager {
    assert!(manager.terminate().await.success());
    manager
}

/// The private number of a P-256 key in PKCS#8: 32 bytes behind the header of an octet string (RFC 5915).
fn scalar(pem: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let body: String = text(pem).lines().filter(|line| !line.starts_with("---")).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    let at = der.windows(5).position(|window| window == [2, 1, 1, 4, 32]).unwrap() + 5;
    der[at..at + 32].to_vec()
}

#[tokio::test]
async fn a_manager_that_is_removed_is_locked_out_of_later_secrets() {
    let first = Manager::init("m1").started().await;
    let mut second = Manager::join("m2", &first).await;
    let third = Manager::join("m3", &first).await;
    first.must(&["managers", "remove", "m2", "--yes"]);
    second.ended("it is told").await;
    until("there is a new data key", || [&first, &third].iter().any(|at| at.log().contains("a new data key"))).await;
    let seen = first.status()["version"].clone();
    until("both have it", || third.status()["version"] == seen).await;
    for (number, manager) in [(1, first), (3, third)] {
        let manager = stopped(manager).await;
        let state = manager.stored_state().await;
        let keyring = state.vault().keyring();
        assert_eq!((keyring.number, keyring.is_known_outside, keyring.copies.len()), (2, false, 2));
        let vault = Vault::load(&DataDir::open(&manager.root).unwrap(), ManagerId(number)).unwrap();
        assert!(vault.authority(&state).is_ok());
    }
}

/// What the audit log says was done, in order.
fn done(manager: &Manager) -> Vec<String> {
    let entries = manager.must(&["audit", "export", "-"]);
    let entries = entries.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    entries.map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn with_a_compromised_manager_its_secrets_begin_to_go() {
    let first = Manager::init("m1").started().await;
    let second = Manager::join("m2", &first).await;
    let mut third = Manager::join("m3", &second).await;
    let witness = crate::membership::join_witness(&first).await;
    until("it is known", || third.status()["managers"].as_array().unwrap().len() == 4).await;
    let remove = ["managers", "remove", "m3", "--compromised", "--yes"];
    assert!(third.must_fail(&remove).contains("ask another manager"), "it would make the next CA");
    assert!(
        first.run(&["managers", "remove", "m3", "--compromised"]).status.code() == Some(2),
        "it has to be confirmed"
    );

    let said = second.must(&remove);
    for expected in
        ["m3 is removed", "The next CA was made", "1. Run `festoon-manager ca promote`", "new recovery key", "password"]
    {
        assert!(said.contains(expected), "{said}");
    }
    assert!(!third.ended("it hears of it").await.success());
    let authorities = |manager: &Manager| ca(manager)["authorities"].as_array().unwrap().len();
    until("the next CA is trusted", || authorities(&first) == 2).await;
    let done = done(&second);
    let at = |action: &str| done.iter().rposition(|done| done == action).unwrap();
    let order = [at("manager.remove"), at("cluster.rotate-data-key"), at("ca.add")];
    assert!(order.is_sorted(), "the new CA's key is stored under the new data key: {done:?}");

    // A replacement that is on already uses a CA whose key this one knows.
    let fourth = Manager::join("m5", &first).await;
    until("it is known", || first.status()["managers"].as_array().unwrap().len() == 4).await;
    let said = second.must(&["managers", "remove", "m5", "--compromised", "--yes"]);
    assert!(said.contains("is removed. The CA is not being replaced: the CA is being replaced already"), "{said}");
    assert!(said.contains("1. The removed manager knows the next CA too"), "{said}");
    second.must(&["ca", "retire", "--next"]);
    let said = first.must(&["managers", "remove", "w", "--compromised", "--yes", "-o", "json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["ca"], authorities(&first)), (&"not_needed".into(), 1), "a witness knows no secret");
    drop((fourth, witness));
}
