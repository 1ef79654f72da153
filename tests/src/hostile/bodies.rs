//! Bodies that depend on who asks whom.

use festoon_proto::http::{JoinRequest, ManagerJoinRequest, ManagerRole, RotateRequest};
use festoon_proto::token::{SecretHash, TokenSecret};
use festoon_proto::{EpochId, ManagerId, PrivateKey, SigningKey};
use rcgen::KeyPair;
use serde::Serialize;

use super::cast::signing_request;
use super::position::{Endpoint, Joined, Member, Position};
use super::refusal::CONSENSUS;
use super::routes::{Right, Row};

/// What makes sense to nobody.
const JUNK: &[u8] = b"{\"";
/// A term that nobody who may vote has come to.
const HIGH_TERM: u64 = 1 << 40;
/// What the registry's format is at most.
const ANY_FORMAT: u16 = 1;

/// A body.
pub(super) struct Body {
    pub(super) what: &'static str,
    pub(super) bytes: Vec<u8>,
    /// It makes sense to nobody.
    pub(super) is_junk: bool,
}

/// All bodies that `position` sends to `target` for this row.
pub(super) fn bodies(row: &Row, position: &Position, target: &Member, csr: &str) -> anyhow::Result<Vec<Body>> {
    let good = |bytes: Vec<u8>| Body { what: "good", bytes, is_junk: false };
    let mut all = match row.path.as_str() {
        "/agent/v1/join" => vec![good(serde_json::to_vec(&join(position))?)],
        "/agent/v1/rotate-key" => vec![good(serde_json::to_vec(&rotation(position))?)],
        "/join/v1/manager" => vec![good(serde_json::to_vec(&manager_join(position)?)?)],
        "/cluster/v1/certificate" => {
            let own = position.joined.as_ref().map_or(csr, |joined| &joined.csr);
            vec![good(own.as_bytes().to_vec())]
        }
        CONSENSUS => questions(position, target),
        _ => vec![good(row.body.as_bytes().to_vec())],
    };
    if row.method != "GET" {
        all.push(Body { what: "junk", bytes: JUNK.to_vec(), is_junk: true });
    }
    Ok(all)
}

fn secret(position: &Position) -> TokenSecret {
    position.token.as_ref().map_or_else(|| TokenSecret::from_bytes(rand::random()), |token| token.secret.clone())
}

fn any_key() -> PrivateKey {
    PrivateKey::from_bytes(rand::random())
}

fn any_endpoint() -> Endpoint {
    Endpoint { public_key: any_key().public_key(), credential: SecretHash::of(&rand::random::<[u8; 32]>()) }
}

/// Whoever joined before says the same again.
fn join(position: &Position) -> JoinRequest {
    let Endpoint { public_key, credential } = position.endpoint.unwrap_or_else(any_endpoint);
    JoinRequest { secret: secret(position), public_key, credential_hash: credential, name: "intruder".to_owned() }
}

/// Whoever may rotate says what is so already, which changes nothing. Others would like to have the identity.
fn rotation(position: &Position) -> RotateRequest {
    let own = position.endpoint.filter(|_| position.rights.contains(&Right::Endpoint));
    let Endpoint { public_key, credential } = own.unwrap_or_else(any_endpoint);
    RotateRequest { public_key, credential_hash: credential, overlap_s: 0 }
}

/// The same.
fn manager_join(position: &Position) -> anyhow::Result<ManagerJoinRequest> {
    let at = |port| vec![std::net::SocketAddr::from(([198, 18, 9, 9], port))];
    let any = || {
        let signer = SigningKey::from_seed(rand::random());
        anyhow::Ok(Joined {
            public_key: any_key().public_key(),
            seal_key: Some(any_key().public_key()),
            signing_key: signer.verifying_key(),
            csr: signing_request(&KeyPair::generate()?, &signer)?,
        })
    };
    let Joined { public_key, seal_key, signing_key, csr } = position.joined.clone().map_or_else(any, Ok)?;
    Ok(ManagerJoinRequest {
        secret: secret(position),
        name: "intruder".to_owned(),
        role: if seal_key.is_some() { ManagerRole::Full } else { ManagerRole::Witness },
        public_key,
        seal_key,
        signing_key,
        csr_pem: csr,
        underlay: at(51820),
        https: at(8443),
        priority: 255,
        format: ANY_FORMAT,
    })
}

/// A question of consensus, byte for byte as members ask it: `Envelope` in `manager/cluster/src/message.rs`, in postcard.
#[derive(Serialize)]
struct Envelope {
    epoch: EpochId,
    proof: Option<()>,
    from: (ManagerId, u32),
    to: (ManagerId, u32),
    request: Question,
}

/// Those that tell something or stop something. Their numbers are their places.
#[derive(Serialize, Clone, Copy)]
#[expect(dead_code, reason = "those in between count")]
enum Question {
    Append,
    Vote { term: u64, candidate: (ManagerId, u32), is_committed: bool, last_log: Option<()> },
    Snapshot,
    Propose,
    Health,
    Digests,
}

/// Whoever takes part asks how everybody is; whoever does not would also like to lead.
fn questions(position: &Position, target: &Member) -> Vec<Body> {
    let nobody = Member { manager: ManagerId(1), incarnation: 0, epoch: target.epoch };
    let me = position.member.unwrap_or(nobody);
    let from = (me.manager, me.incarnation);
    let vote = Question::Vote { term: HIGH_TERM, candidate: from, is_committed: false, last_log: None };
    let all = [("health", Question::Health), ("digests", Question::Digests), ("vote", vote)];
    let count = if position.rights.contains(&Right::Voter) { 2 } else { all.len() };
    let body = |&(what, request): &(&'static str, Question)| {
        let to = (target.manager, target.incarnation);
        let envelope = Envelope { epoch: me.epoch, proof: None, from, to, request };
        // Nothing in it has an unknown length, so it can always be encoded.
        Body { what, bytes: postcard::to_stdvec(&envelope).unwrap_or_default(), is_junk: false }
    };
    all.iter().take(count).map(body).collect()
}
