//! What an endpoint can't do with its credential: act while it is disabled or past its time, or fill the log.

use std::net::SocketAddr;

use festoon_proto::PublicKey;
use festoon_proto::http::{
    AGENT_LEAVE, AGENT_MAP, AGENT_ROTATE, AGENT_ROUTES, Credential, OfferRequest, RotateRequest,
};
use festoon_proto::token::SecretHash;
use serde_json::Value;

use super::harness::{Agent, Manager, problem, until};

/// A member with a credential.
struct Member {
    agent: Agent,
    credential: Credential,
}

impl Member {
    async fn join(manager: &Manager, number: u8) -> Self {
        let token = manager.token(&[]);
        let agent = Agent::new(number, &token);
        let endpoint = agent.join(manager.https, &token).await.unwrap().map.endpoint;
        Self { credential: agent.credential(endpoint), agent }
    }

    /// The status of the answer, and the kind of the refusal if it is one.
    async fn ask(&self, at: SocketAddr, what: &Ask) -> (u16, String) {
        let bearer = self.credential.to_secret_string();
        let request = self.agent.request(at, |client, url| {
            let request = match what {
                Ask::Map => client.get(url + AGENT_MAP),
                Ask::Offer(prefixes) => {
                    let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
                    client.put(url + AGENT_ROUTES).json(&OfferRequest { prefixes })
                }
                Ask::Rotate(number) => {
                    let public_key = PublicKey::from_bytes([*number; 32]);
                    let credential_hash = SecretHash([*number; 32]);
                    let request = RotateRequest { public_key, credential_hash, overlap_s: 0 };
                    client.post(url + AGENT_ROTATE).json(&request)
                }
                Ask::Leave => client.post(url + AGENT_LEAVE),
            };
            request.bearer_auth(&bearer)
        });
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let kind = if response.status().is_success() { String::new() } else { problem(response).await.kind };
        (status, kind)
    }
}

#[derive(Debug)]
enum Ask {
    Map,
    Offer(Vec<String>),
    Rotate(u8),
    Leave,
}

fn offer(prefix: &str) -> Ask {
    Ask::Offer(vec![prefix.to_owned()])
}

/// All that an endpoint can ask for.
fn all() -> [Ask; 5] {
    // With the key that it has, and with another.
    [Ask::Map, offer("192.168.1.0/24"), Ask::Rotate(1), Ask::Rotate(99), Ask::Leave]
}

fn last_log(manager: &Manager) -> Value {
    manager.status()["registry"]["last_log"].clone()
}

#[tokio::test]
async fn a_disabled_endpoint_gets_a_refusal_for_whatever_it_asks() {
    let (first, second) = crate::two_managers().await;
    let member = Member::join(&first, 1).await;
    first.must(&["endpoints", "disable", "web", "--yes"]);
    until("both have heard", || last_log(&first) == last_log(&second)).await;
    let before = last_log(&first);
    for manager in [&first, &second] {
        for what in all() {
            assert_eq!(member.ask(manager.https, &what).await, (403, "endpoint-disabled".to_owned()), "{what:?}");
        }
    }
    assert_eq!((last_log(&first), last_log(&second)), (before.clone(), before), "nothing went through the log");
    first.must(&["endpoints", "enable", "web"]);
    until("both have heard", || last_log(&first) == last_log(&second)).await;
    for what in [Ask::Map, offer("192.168.1.0/24"), Ask::Leave] {
        assert!((200..300).contains(&member.ask(second.https, &what).await.0), "{what:?}");
    }
}

#[tokio::test]
async fn offers_that_change_nothing_leave_no_trace_and_those_that_do_have_a_rate() {
    let manager = Manager::init("m1").started().await;
    let (member, other) = (Member::join(&manager, 1).await, Member::join(&manager, 2).await);
    let both = ["192.168.1.0/24", "192.168.2.0/24"].map(str::to_owned);
    assert_eq!(member.ask(manager.https, &Ask::Offer(both.to_vec())).await.0, 204);
    let before = last_log(&manager);
    let turned = Ask::Offer(both.iter().rev().cloned().collect());
    for _ in 0..10 {
        assert_eq!(member.ask(manager.https, &turned).await.0, 204);
    }
    assert_eq!(last_log(&manager), before);

    let mut taken = 0;
    for number in 0..60 {
        match member.ask(manager.https, &offer(&format!("10.{number}.0.0/16"))).await {
            (204, _) => taken += 1,
            refused => assert_eq!(refused, (429, "too-many-requests".to_owned())),
        }
    }
    // 20 at once, one of which was used, and some while this takes its time.
    assert!((19..40).contains(&taken), "{taken}");
    let audit = manager.must(&["audit", "list", "--last", "10000"]);
    let entries = audit.lines().filter(|line| line.contains("offer-routes")).count();
    assert_eq!(entries, taken + 1);
    assert_eq!(other.ask(manager.https, &offer("10.99.0.0/16")).await.0, 204, "others have their own rate");
}
