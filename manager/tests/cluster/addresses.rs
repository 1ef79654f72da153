//! Addresses and networks as an admin sets them.

use super::harness::{Agent, Manager, until};

fn addresses(conf: &str) -> String {
    let line = conf.lines().find_map(|line| line.strip_prefix("Address = "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn an_address_may_be_named_for_a_token_and_for_a_client() {
    let manager = Manager::init("m1").started().await;
    let token = manager.token(&["--address", "172.31.9.9", "--address", "fd00:31::99"]);
    assert!(
        manager.must_fail(&["endpoints", "add", "x", "--address", "172.31.9.9"]).contains("is promised to"),
        "nobody else gets it meanwhile"
    );
    let joined = Agent::new(1, &token).join(manager.https, &token).await.unwrap();
    assert_eq!(
        joined.map.addresses,
        ["172.31.9.9".parse::<std::net::IpAddr>().unwrap(), "fd00:31::99".parse().unwrap()]
    );
    let one = manager.must(&["endpoints", "add", "laptop", "--address", "172.31.7.7"]);
    assert_eq!(addresses(&one), "172.31.7.7/32, fd00:31::2/128", "a free one in the other family");
    let must_fail = |arguments: &[&str]| manager.must_fail(&[&["endpoints", "add", "x"], arguments].concat());
    assert!(must_fail(&["--address", "172.31.7.7"]).contains("172.31.7.7 belongs to endpoint laptop (e2)"));
    assert!(must_fail(&["--address", "10.0.0.1"]).contains("10.0.0.1"));
    assert!(must_fail(&["--address", "172.31.0.1"]).contains("is the gateway of 172.31.0.0/16"));
    assert!(must_fail(&["--address", "172.31.1.1", "--address", "172.31.1.2"]).contains("are two IPv4 addresses"));
    assert!(!manager.run(&["tokens", "add", "--manager", "--address", "172.31.1.1"]).status.success());
}

#[tokio::test]
async fn a_network_grows_and_keeps_addresses_back_and_renumbers_nobody() {
    let first = Manager::init("m1").started().await;
    let second = Manager::join("m2", &first).await;
    let token = first.token(&[]);
    let web = Agent::new(1, &token);
    let before = web.join(first.https, &token).await.unwrap().map;
    second.must(&["networks", "set", "default", "--reserve", "172.31.0.3-172.31.0.9", "--reserve", "fd00:31::/112"]);
    second.must(&["networks", "set", "default", "--add-prefix", "10.7.0.0/24", "--mtu", "1400", "--name", "lan"]);
    let free = second.must(&["endpoints", "add", "a"]);
    assert_eq!(addresses(&free), "172.31.0.10/32, fd00:31::1:0/128", "the next that is not reserved");
    let named = second.must(&["endpoints", "add", "b", "--address", "172.31.0.5", "--address", "fd00:31::5"]);
    assert_eq!(addresses(&named), "172.31.0.5/32, fd00:31::5/128");
    let list = |manager: &Manager| manager.must(&["networks", "list", "--json"]);
    until("both know", || list(&first) == list(&second)).await;
    let networks: serde_json::Value = serde_json::from_str(&list(&first)).unwrap();
    assert_eq!(networks[0]["prefixes"], serde_json::json!(["172.31.0.0/16", "fd00:31::/64", "10.7.0.0/24"]));
    assert_eq!((networks[0]["mtu"].as_u64(), networks[0]["endpoints"].as_u64()), (Some(1400), Some(3)));
    let shown = first.must(&["networks", "list"]);
    assert!(shown.contains("lan") && shown.contains("172.31.0.3-172.31.0.9"), "{shown}");
    let after = web.map(first.https, before.endpoint).await.unwrap();
    assert_eq!(after.addresses, before.addresses);
    assert_eq!((after.network.prefixes.len(), after.network.mtu), (3, 1400));
    assert!(after.version > before.version, "its agent hears of it");
}

#[tokio::test]
async fn a_change_of_a_network_that_makes_no_sense_is_refused_and_changes_nothing() {
    let manager = Manager::init("m1").started().await;
    manager.must(&["endpoints", "add", "laptop"]);
    manager.must(&["networks", "add", "lab", "--prefix", "172.31.0.0/16"]);
    manager.must(&["networks", "set", "lab", "--reserve", "172.31.0.0/24"]);
    let before = manager.must(&["networks", "list"]);
    let must_fail = |arguments: &[&str]| manager.must_fail(&[&["networks", "set"], arguments].concat());
    assert!(must_fail(&["default", "--remove-prefix", "172.31.0.0/16"]).contains("belongs to endpoint laptop"));
    assert!(must_fail(&["default", "--remove-prefix", "10.0.0.0/8"]).contains("has no prefix 10.0.0.0/8"));
    assert!(must_fail(&["default", "--add-prefix", "172.31.8.0/24"]).contains("overlap"));
    assert!(must_fail(&["default", "--name", "lab"]).contains("exists already"));
    assert!(must_fail(&["default", "--mtu", "100"]).contains("an MTU of 100 does not work"));
    assert!(must_fail(&["default", "--reserve", "10.0.0.0/24"]).contains("not a range of addresses in one prefix"));
    assert!(must_fail(&["lab", "--unreserve", "172.31.0.7"]).contains("reserves no 172.31.0.7"));
    assert!(must_fail(&["nowhere", "--mtu", "1400"]).contains("there is no network nowhere"));
    assert!(!manager.run(&["networks", "set", "lab"]).status.success(), "nothing to change");
    assert_eq!(manager.must(&["networks", "list"]), before);
    manager.must(&["networks", "set", "lab", "--unreserve", "172.31.0.0/24"]);
    let conf = manager.must(&["endpoints", "add", "x", "--network", "lab"]);
    assert_eq!(addresses(&conf), "172.31.0.2/32");
    manager.must(&["endpoints", "remove", "x", "--yes"]);
    manager.must(&["networks", "set", "lab", "--remove-prefix", "172.31.0.0/16", "--add-prefix", "192.168.0.0/24"]);
}
