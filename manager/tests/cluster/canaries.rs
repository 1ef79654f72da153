//! Secrets that are planted wherever there are some, and looked for wherever they must not be.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Agent, Manager};
use crate::web::{Shows, Web, set_up_secret};

/// What may be asked for, by an owner.
const READ: [&str; 17] = [
    "/cluster",
    "/networks",
    "/endpoints",
    "/endpoints/e1",
    "/endpoints/e1/config",
    "/join-tokens",
    "/managers",
    "/users",
    "/users/u1/sessions",
    "/api-tokens",
    "/settings",
    "/event-destinations",
    "/event-destinations/d1",
    "/event-destinations/d2",
    "/events?limit=1000",
    "/audit?limit=10000",
    "/audit?limit=10000&format=jsonl",
];

/// The code of now of the second factor with this secret, as an authenticator app makes it.
pub(crate) fn code_of(secret: &str) -> String {
    let key = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let step = festoon_manager::cluster::unix_now().0 / 30_000;
    let tag = ring::hmac::sign(&key, &step.to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 0xf);
    let four: [u8; 4] = tag.as_ref()[at..at + 4].try_into().unwrap();
    format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000)
}

fn word(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The secrets of two destinations of events, which were used.
async fn of_destinations(program: &Web) -> [String; 2] {
    let hook = json!({"name": "hook", "kind": "webhook", "url": "https://127.0.0.1/", "allow_private_addresses": true});
    let hook = word(&program.post("/event-destinations", hook).await["secret"]);
    let password = "canary-password-broker".to_owned();
    let bus = json!({
        "name": "bus", "kind": "amqp", "url": "amqp://u@127.0.0.1:9", "exchange": "x", "password": password,
        "allow_private_addresses": true,
    });
    program.post("/event-destinations", bus).await;
    for id in ["d1", "d2"] {
        program.must(Method::POST, &format!("/event-destinations/{id}/test"), None, 200).await;
    }
    [hook.trim_start_matches("whsec_").to_owned(), password]
}

#[tokio::test]
async fn no_secret_is_in_a_log_an_answer_or_the_audit_log() {
    let manager = Manager::init("m1").started().await;
    let anybody = Web::of(&manager);
    let (first, second, wrong) = ("canary-password-one", "canary-password-two", "canary-password-wrong");
    let set_up = set_up_secret(&manager);
    anybody.post("/setup", json!({"secret": set_up, "name": "root", "password": first})).await;
    assert_eq!(anybody.try_log_in("root", wrong, None).await.status(), 401);
    let root = anybody.logged_in("root", first, None).await;
    let mut secrets = [first, second, wrong, &set_up].map(str::to_owned).to_vec();
    secrets.push(root.shows.cookie.clone().unwrap().split_once('.').unwrap().1.to_owned());

    let change = Some(json!({"current": first, "new": second}));
    root.must(Method::PUT, "/users/u1/password", change, 200).await;
    assert_eq!(root.refused(Method::GET, "/session", None).await.1, "session-ended", "a new password ends all");
    let root = anybody.logged_in("root", second, None).await;
    let enrolment = root.must(Method::POST, "/users/u1/totp", None, 200).await;
    let secret = word(&enrolment["secret"]);
    let confirm = |password: &str| Some(json!({"secret": secret, "code": code_of(&secret), "password": password}));
    assert_eq!(root.refused(Method::PUT, "/users/u1/totp", confirm(wrong)).await, (403, "wrong-password".to_owned()));
    let codes = root.must(Method::PUT, "/users/u1/totp", confirm(second), 200).await;
    let codes: Vec<_> = codes["codes"].as_array().unwrap().iter().map(word).collect();
    assert_eq!(codes.len(), 10);
    assert_eq!(anybody.try_log_in("root", second, None).await.status(), 401, "the password is not enough");
    let again = anybody.try_log_in("root", second, Some(&code_of(&secret))).await;
    assert_eq!(again.status(), 401, "the code was used to confirm it");
    let root = anybody.logged_in("root", second, Some(&codes[0])).await;
    assert_eq!(anybody.try_log_in("root", second, Some(&codes[0])).await.status(), 401, "it is good once");
    assert_eq!(root.get("/users/u1").await["recovery_codes"], 9);
    secrets.push(secret);
    secrets.extend(codes);

    let token =
        word(&root.post("/api-tokens", json!({"name": "ci", "role": "owner", "sensitive": true})).await["secret"]);
    let program = root.showing(Shows::bearer(&token));
    let config = word(&program.post("/endpoints", json!({"name": "laptop"})).await["config"]);
    let key = config.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).unwrap().to_owned();
    let join = word(&program.post("/join-tokens", json!({})).await["secret"]);
    let agent = Agent::new(1, &join.parse().unwrap());
    agent.join(manager.https, &join.parse().unwrap()).await.unwrap();
    secrets.extend([token.rsplit_once("k1-").unwrap().1.to_owned(), key, join]);

    secrets.extend(of_destinations(&program).await);

    // A good many that are refused, with secrets where they do not belong.
    for path in ["/endpoints", "/users", "/session", "/setup", "/api-tokens", "/join-tokens"] {
        let odd = json!({"name": first, "password": second, "secret": set_up, "role": "owner", "x": secrets});
        program.send(Method::POST, path, Some(odd)).await;
    }
    let mut places = vec![("the log".to_owned(), manager.log())];
    for path in READ {
        places.push((path.to_owned(), program.send(Method::GET, path, None).await.text().await.unwrap()));
    }
    let mut found = Vec::new();
    for (place, text) in &places {
        found.extend(secrets.iter().filter(|secret| text.contains(*secret)).map(|secret| (place, secret)));
    }
    eprintln!("{} secrets looked for in {} places, found {} times", secrets.len(), places.len(), found.len());
    assert!(found.is_empty(), "{found:?}");
}
