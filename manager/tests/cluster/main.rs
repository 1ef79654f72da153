//! Real managers: joining, agreeing, and what happens when one is away.

#![expect(clippy::disallowed_methods, reason = "a deadline needs the clock")]
#![expect(clippy::unwrap_used, reason = "clippy takes the helpers of an integration test for a program")]

mod access;
mod accounts;
mod addresses;
mod api;
mod asks_first;
mod audit;
mod burst;
mod canaries;
mod cli;
mod destinations;
mod endings;
mod events;
mod files;
mod harness;
mod keys;
mod kills;
mod limits;
mod membership;
mod metrics;
mod oidc;
mod reload;
mod snapshots;
mod strangers;
mod terminal;
mod web;

use std::time::{Duration, Instant};

use festoon_proto::http::{AGENT_JOIN, AGENT_LEAVE};
use festoon_proto::token::{JoinToken, TokenSecret};
use festoon_proto::{EndpointId, Fingerprint};

use harness::{Agent, Manager, in_file, modes, problem, text, until};

async fn two_managers() -> (Manager, Manager) {
    let first = Manager::init("m1").started().await;
    let second = Manager::join("m2", &first).await;
    (first, second)
}

#[tokio::test]
async fn an_agent_joins_through_any_manager_and_all_serve_its_map() {
    let (first, second) = two_managers().await;
    let token = first.token(&[]);
    let web = Agent::new(1, &token);
    let joined = web.join(second.https, &token).await.unwrap();
    assert_eq!(joined.map.name, "web");
    assert_eq!(joined.map.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["172.31.0.2", "fd00:31::2"]);
    assert_eq!(joined.map.managers.len(), 2);
    assert_eq!(joined.map.managers[1].underlay, [second.underlay]);
    let endpoint = joined.map.endpoint;
    assert_eq!(web.map(first.https, endpoint).await.unwrap(), joined.map);
    assert_eq!(web.map(second.https, endpoint).await.unwrap(), joined.map);
    assert_eq!(web.join(first.https, &token).await.unwrap(), joined, "the same again gets the same answer");
    // Another endpoint changes nothing that the first can see.
    let other = first.token(&[]);
    assert_eq!(Agent::new(2, &other).join(first.https, &other).await.unwrap().map.name, "web-2");
    assert_eq!(web.map(first.https, endpoint).await.unwrap().version, joined.map.version);
    let bearer = web.credential(endpoint).to_secret_string();
    let leave = web.request(first.https, |client, url| client.post(url + AGENT_LEAVE).bearer_auth(&bearer));
    assert_eq!(leave.send().await.unwrap().status(), 204);
    let removed = web.map(first.https, endpoint).await.unwrap_err();
    assert_eq!((removed.kind.as_str(), removed.status), ("bad-credential", 401), "it is told to join again");
}

#[tokio::test]
async fn every_bad_token_and_request_is_told_apart() {
    let manager = Manager::init("m1").started().await;
    let good = manager.token(&[]);
    let refused = async |token: &JoinToken| Agent::new(9, token).join(manager.https, token).await.unwrap_err();
    Agent::new(1, &good).join(manager.https, &good).await.unwrap();
    assert_eq!(refused(&good).await.kind, "token-used");
    let expired = manager.token(&["--expires", "1s"]);
    let made = Instant::now();
    until("the token expires", || made.elapsed() > Duration::from_secs(1)).await;
    let problem_ = refused(&expired).await;
    assert_eq!((problem_.kind.as_str(), problem_.status), ("token-expired", 403));
    assert!(problem_.title.contains("festoon-manager tokens add"), "{}", problem_.title);
    let too_long = manager.run(&["tokens", "add", "--expires", "366d"]);
    assert!(text(&too_long.stderr).contains("365 days at most"), "{}", text(&too_long.stderr));
    assert_eq!(refused(&manager.token(&["--manager"])).await.kind, "token-wrong-kind");
    let unknown = JoinToken { secret: TokenSecret::from_bytes([1; 32]), ..good.clone() };
    assert_eq!(refused(&unknown).await.kind, "token-unknown");
    let word = good.to_secret_string();
    assert!(word[..word.len() - 5].parse::<JoinToken>().unwrap_err().to_string().contains("cut off"));
    let agent = Agent::new(9, &good);
    let junk = agent.request(manager.https, |client, url| client.post(url + AGENT_JOIN).body("{"));
    assert_eq!(problem(junk.send().await.unwrap()).await.kind, "bad-request");
    let huge = agent.request(manager.https, |client, url| client.post(url + AGENT_JOIN).json(&"x".repeat(1 << 20)));
    // It answers without reading all of it, so the connection may break before the answer is read.
    if let Ok(response) = huge.send().await {
        assert_eq!(problem(response).await.status, 413);
    }
    assert_eq!(agent.map(manager.https, EndpointId(1)).await.unwrap_err().status, 401, "somebody else's endpoint");
    assert!(!manager.log().contains(&word), "a token in the log");
}

#[tokio::test]
async fn one_of_two_reads_on_and_refuses_writes_soon() {
    let (mut first, second) = two_managers().await;
    let (token, spare) = (first.token(&[]), first.token(&[]));
    let web = Agent::new(1, &token);
    let map = web.join(first.https, &token).await.unwrap().map;
    until("the other has it", || second.status()["version"] == first.status()["version"]).await;
    first.kill();
    let asked = Instant::now();
    let refused = Agent::new(2, &spare).join(second.https, &spare).await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_millis(2500), "{:?}", asked.elapsed());
    assert_eq!((refused.kind.as_str(), refused.status), ("no-quorum", 503));
    assert!(refused.title.contains("2 of its 2 managers have to agree"), "{}", refused.title);
    assert!(second.must_fail(&["tokens", "add"]).contains("the registry can't be changed now"));
    assert_eq!(web.map(second.https, map.endpoint).await.unwrap(), map);
    until("it says so", || second.must(&["status"]).contains("REFUSED")).await;
    first.start().await;
    until("it is back", || second.run(&["tokens", "add"]).status.success()).await;
    until("it has it", || first.status()["version"] == second.status()["version"]).await;
    assert_eq!(web.map(first.https, map.endpoint).await.unwrap(), map, "what was acknowledged survives kill -9");
    Agent::new(2, &spare).join(second.https, &spare).await.unwrap();
}

#[tokio::test]
async fn a_manager_that_hangs_holds_writes_up_no_longer_than_one_that_is_gone() {
    let (first, second) = two_managers().await;
    let token = first.token(&[]);
    first.freeze();
    let asked = Instant::now();
    let refused = Agent::new(1, &token).join(second.https, &token).await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_millis(2500), "{:?}", asked.elapsed());
    assert_eq!(refused.kind, "no-quorum");
    first.thaw();
    // It may have taken the proposal after all; the same again gets the same answer, so the agent just asks again.
    Agent::new(1, &token).join(second.https, &token).await.unwrap();
    assert_eq!(first.status()["endpoints"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_follower_starts_cold_from_its_own_copy() {
    let (mut first, mut second) = two_managers().await;
    let token = first.token(&[]);
    let web = Agent::new(1, &token);
    let map = web.join(second.https, &token).await.unwrap().map;
    let asked = Instant::now();
    assert!(second.terminate().await.success(), "SIGTERM ends it in peace");
    assert!(asked.elapsed() < Duration::from_secs(3), "nobody is attached, so draining takes no time");
    assert!(first.terminate().await.success());
    second.start().await;
    assert_eq!(web.map(second.https, map.endpoint).await.unwrap(), map);
}

#[tokio::test]
async fn cluster_traffic_is_for_managers_that_still_belong() {
    let (first, mut second) = two_managers().await;
    let stranger = Agent::new(1, &first.token(&[]));
    let ask = stranger.request(first.https, |client, url| client.post(url + "/cluster/v1/ask").body("let me in"));
    assert_eq!(ask.send().await.unwrap().status(), 404, "it is not there for who does not ask as a manager");
    first.must(&["managers", "set", "m2", "--priority", "7"]);
    until("the change is there", || second.status()["managers"][1]["priority"] == 7).await;
    first.must(&["managers", "remove", "m2", "--yes"]);
    let status = second.ended("a removed manager stops").await;
    assert!(!status.success());
    assert!(second.log().contains("this manager was removed from the cluster"), "{}", second.log());
    let again = second.run(&["serve"]);
    assert!(!again.status.success());
    assert!(
        text(&again.stderr).contains("this manager was removed from the cluster"),
        "it is told, if it did not know"
    );
    assert_eq!(first.status()["managers"].as_array().unwrap().len(), 1);
    first.must(&["tokens", "add"]);
    assert!(first.must_fail(&["managers", "remove", "m1", "--yes"]).contains("m1"), "the last one stays");
}

#[tokio::test]
async fn of_three_managers_any_may_be_lost() {
    let (mut first, mut second) = two_managers().await;
    let third = Manager::join("m3", &second).await;
    until("three vote", || third.must(&["status"]).contains("one more manager may fail")).await;
    let (early, late) = (first.token(&[]), third.token(&[]));
    let web = Agent::new(1, &early);
    let map = web.join(second.https, &early).await.unwrap().map;
    first.kill();
    until("the others go on", || third.run(&["tokens", "add"]).status.success()).await;
    assert_eq!(Agent::new(2, &late).join(third.https, &late).await.unwrap().map.name, "web-2");
    first.start().await;
    until("it catches up", || first.status()["endpoints"].as_array().unwrap().len() == 2).await;
    second.kill();
    until("the others go on", || first.run(&["tokens", "add"]).status.success()).await;
    assert_eq!(web.map(first.https, map.endpoint).await.unwrap(), map);
}

#[tokio::test]
async fn joining_managers_are_checked() {
    let first = Manager::init("m1").started().await;
    let outsider = Manager::unjoined();
    let join = |token: &str, name: &str| {
        let output = outsider.try_join(name, token);
        assert!(!output.status.success());
        text(&output.stderr)
    };
    let endpoint = first.token(&[]).to_secret_string();
    assert!(join(&endpoint, "m2").contains("is for an endpoint"));
    let word = first.token(&["--manager"]).to_secret_string();
    assert!(join(&word[..40], "m2").contains("damaged or cut off"));
    assert!(join(&word, "m1").contains("a manager m1 exists already"));
    let there = ["--underlay".to_owned(), first.underlay.to_string(), "--https".to_owned(), outsider.https.to_string()];
    let in_a_file = in_file(&word);
    let taken =
        [&["join", in_a_file.argument.as_str(), "--name", "m2"], &there.each_ref().map(String::as_str)[..]].concat();
    assert!(outsider.must_fail(&taken).contains(&format!("{} belongs to manager m1", first.underlay)));
    let token: JoinToken = word.parse().unwrap();
    let forged = JoinToken { ca_fingerprint: Fingerprint([0; 32]), ..token }.to_secret_string();
    assert!(join(&forged, "m2").contains("no manager let this one in"));
    assert!(outsider.try_join("m2", &word).status.success(), "a refused try does not use the token up");
    assert!(join(&word, "m2").contains("holds a manager already"));
}

#[tokio::test]
async fn admin_commands_say_what_is_wrong_and_print_what_was_asked() {
    let mut manager = Manager::init("m1");
    assert!(manager.must_fail(&["status"]).contains("no manager runs on"));
    manager.start().await;
    assert!(manager.must_fail(&["serve"]).contains("another festoon-manager runs"));
    assert!(
        manager
            .must_fail(&["init", "--name", "x", "--underlay", "192.0.2.1", "--prefix", "10.0.0.0/8"])
            .contains("already")
    );
    let conf = manager.must(&["endpoints", "add", "laptop"]);
    let value = |key: &str| conf.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim_start_matches(" = ");
    assert_eq!(value("Address"), "172.31.0.2/32, fd00:31::2/128");
    assert_eq!(value("Endpoint"), manager.underlay.to_string());
    assert_eq!(value("AllowedIPs"), "172.31.0.0/16, fd00:31::/64");
    let key: festoon_proto::PrivateKey = value("PrivateKey").parse().unwrap();
    let status = manager.status();
    assert_eq!(status["endpoints"][0]["public_key"], key.public_key().to_string());
    assert_eq!(status["managers"][0]["state"], "serving");
    let kept = modes(&manager.root);
    for (path, mode) in &kept {
        assert_eq!(*mode, 0o600, "{}", path.display());
        let bytes = std::fs::read(path).unwrap_or_default();
        assert!(!text(&bytes).contains(value("PrivateKey")), "the client's key is kept in {}", path.display());
    }
    assert!(manager.must_fail(&["endpoints", "add", "laptop"]).contains("exists already"));
    assert!(manager.must_fail(&["endpoints", "add", "x", "--network", "no"]).contains("there is no network no"));
    assert!(manager.must_fail(&["endpoints", "add", "x", "--manager", "m9"]).contains("there is no manager m9"));
    assert!(manager.must(&["endpoints", "list"]).contains("laptop"));
    assert!(manager.must(&["status"]).contains("m1"));
    manager.must(&["drain"]);
    assert_eq!(manager.status()["draining"], true);
    manager.must(&["undrain"]);
    assert_eq!(manager.status()["draining"], false);
    assert_eq!(manager.must(&["endpoints", "remove", "laptop", "--yes"]), "laptop (e1) is removed.\n");
    assert!(manager.must_fail(&["endpoints", "remove", "laptop", "--yes"]).contains("there is no endpoint laptop"));
    assert!(manager.must_fail(&["endpoints", "remove", "../x", "--yes"]).contains("there is no endpoint ../x"));
}
