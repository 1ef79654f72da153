//! Every signal message, from everybody who holds the key of some tunnel; and what comes of it.

use std::fs;

use anyhow::{Context, ensure};
use festoon_proto::map::{EndpointMap, MapVersion};
use festoon_proto::signal::{
    Attach, AttachReply, Detach, Flood, FloodAck, LinkState, ManagerState, Message, MoveReason, Probe, ProbeReply,
    Suspect,
};
use festoon_proto::{Attachment, EndpointId, Generation, ManagerId, PrivateKey};

use super::position::Position;
use super::requests::Tally;
use super::routes::Right;
use super::world::World;
use crate::lab::{Host, tool};
use crate::overlay::Overlay;
use crate::tools::signals::{Heeded, Speech};

/// Generations and sequences at the ends of what there is.
const EDGES: [u64; 3] = [0, 1, u64::MAX];
/// A generation that an agent can have come to, and none has.
const BELIEVED: u64 = 1 << 40;
/// An endpoint and a manager that do not exist.
const NO_ENDPOINT: EndpointId = EndpointId(999);
const NO_MANAGER: ManagerId = ManagerId(99);

/// Who may say something to a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// All that have a tunnel.
    Neighbours,
    /// Endpoints, about themselves.
    Endpoints,
    /// Other managers.
    Managers,
    /// Nobody says it to managers.
    Nobody,
}

/// As whom a manager knows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It does not, so there is no session.
    Nobody,
    /// As this endpoint.
    Endpoint(EndpointId),
    /// As a manager.
    Manager,
}

/// Every kind of message is here, or this does not compile. Then [`messages`] needs some of the new kind too.
const fn speaker(message: &Message) -> Speaker {
    match message {
        Message::Probe(_) => Speaker::Neighbours,
        Message::Attach(_) | Message::Detach(_) => Speaker::Endpoints,
        Message::ProbeReply(_) | Message::Flood(_) | Message::FloodAck(_) => Speaker::Managers,
        Message::AttachReply(_) | Message::Suspect(_) => Speaker::Nobody,
    }
}

/// Messages of every kind, about `victim` and about whoever does not exist.
fn messages(victim: EndpointId, managers: &[ManagerId]) -> Vec<Message> {
    let managers: Vec<ManagerId> = managers.iter().copied().chain([NO_MANAGER]).collect();
    let mut attachments = Vec::new();
    for endpoint in [victim, NO_ENDPOINT] {
        for &manager in &managers {
            attachments.extend(EDGES.map(|edge| Attachment { endpoint, manager, generation: Generation(edge) }));
        }
    }
    let probes = [0, 7, 0x1000_0000].map(|sequence| Message::Probe(Probe { sequence }));
    let attach = |edge| Attach { generation: Generation(edge), why: MoveReason::Started, gap_ms: Some(u32::MAX) };
    let attaches = EDGES.map(|edge| Message::Attach(attach(edge)));
    let detaches = EDGES.map(|edge| Message::Detach(Detach { generation: Generation(edge) }));
    let acks = EDGES.map(|sequence| Message::FloodAck(FloodAck { sequence }));
    let suspects = managers.iter().map(|&manager| Message::Suspect(Suspect { manager }));
    let replies = attachments.iter().map(|&attachment| Message::AttachReply(AttachReply { attachment }));
    let answers = attachments.iter().map(|&attachment| Message::ProbeReply(answer(attachment)));
    probes
        .into_iter()
        .chain(attaches)
        .chain(detaches)
        .chain(acks)
        .chain(suspects)
        .chain(replies)
        .chain(answers)
        .chain(floods(&attachments, &managers).into_iter().map(Message::Flood))
        .collect()
}

fn answer(attachment: Attachment) -> ProbeReply {
    ProbeReply {
        sequence: 0,
        state: ManagerState::Draining,
        probe_interval_ms: u32::MAX,
        map_version: MapVersion(u64::MAX),
        attachment: Some(attachment),
        observed: None,
    }
}

/// News that others are elsewhere or gone, and that managers drain and have no links.
fn floods(attachments: &[Attachment], managers: &[ManagerId]) -> Vec<Flood> {
    let none = Flood { sequence: 1, attachments: vec![], detachments: vec![], links: vec![], wants_all: false };
    let links = managers.iter().map(|&origin| Flood { links: vec![link(origin)], ..none.clone() });
    let moved = attachments.iter().map(|&attachment| Flood { attachments: vec![attachment], ..none.clone() });
    let left = attachments.iter().map(|it| Flood { detachments: vec![(it.endpoint, it.generation)], ..none.clone() });
    let all = [none.clone(), Flood { wants_all: true, ..none.clone() }];
    all.into_iter().chain(links).chain(moved).chain(left).collect()
}

fn link(origin: ManagerId) -> LinkState {
    LinkState { origin, sequence: u64::MAX, state: ManagerState::Draining, neighbours: vec![] }
}

/// A manager as its neighbours know it.
struct Neighbour {
    id: ManagerId,
    name: String,
    speech: Speech,
}

/// Says everything to both managers as each position.
pub(super) fn run(world: &World<'_>, positions: &[Position], tally: &mut Tally) -> anyhow::Result<u64> {
    let map: EndpointMap = serde_json::from_slice(&fs::read(world.guest.state_dir().join("map.json"))?)?;
    let victim: EndpointMap = serde_json::from_slice(&fs::read(world.overlay.agents[0].state_dir().join("map.json"))?)?;
    let ids: Vec<ManagerId> = world.overlay.managers.iter().map(|manager| ManagerId(manager.id)).collect();
    let all = messages(victim.endpoint, &ids);
    let mut targets = Vec::new();
    for manager in map.managers.iter().filter(|manager| ids.contains(&manager.id)) {
        let at = *manager.underlay.first().context("a manager without an address")?;
        let speech = Speech { at, manager: manager.public_key, own: String::new(), messages: Vec::new() };
        targets.push(Neighbour { id: manager.id, name: manager.id.to_string(), speech });
    }
    ensure!(targets.len() == ids.len(), "the map of the guest has not all managers");
    prove(world, &targets, map.endpoint)?;
    let before = tally.cases;
    for position in positions {
        let is = |right| position.rights.contains(&right);
        let standing = match (is(Right::Endpoint), is(Right::Full)) {
            (true, _) => Standing::Endpoint(map.endpoint),
            (_, true) => Standing::Manager,
            _ => Standing::Nobody,
        };
        for (target, heeded) in targets.iter().zip(speak(&world.attacker, &targets, position.tunnel.as_ref(), &all)?) {
            judge(tally, &format!("{} to {}", position.name, target.name), &all, &heeded, standing);
        }
    }
    Ok(tally.cases - before)
}

/// Says `messages` to managers, at the same time. Whoever holds no key takes any.
fn speak(
    from: &Host,
    targets: &[Neighbour],
    own: Option<&PrivateKey>,
    messages: &[Message],
) -> anyhow::Result<Vec<Heeded>> {
    let any = PrivateKey::from_bytes(rand::random());
    let own = own.unwrap_or(&any).to_secret_base64();
    let speech = |target: &Neighbour| Speech { own: own.clone(), messages: messages.to_vec(), ..target.speech.clone() };
    let input = tempfile::NamedTempFile::new()?;
    fs::write(input.path(), serde_json::to_vec(&targets.iter().map(speech).collect::<Vec<_>>())?)?;
    let args = ["signals".to_owned(), format!("--input={}", input.path().display())];
    let said = from.run(&tool("festoon-labtool")?.to_string_lossy(), &args)?;
    let all: Vec<Heeded> = serde_json::from_str(&said)?;
    ensure!(all.len() == targets.len(), "{} managers were told, not {}", all.len(), targets.len());
    Ok(all)
}

/// The same, to one.
fn speak_to(from: &Host, target: &Neighbour, own: Option<&PrivateKey>, said: &[Message]) -> anyhow::Result<Heeded> {
    speak(from, std::slice::from_ref(target), own, said)?.pop().context("nobody heard it")
}

fn judge(tally: &mut Tally, who: &str, messages: &[Message], heeded: &Heeded, standing: Standing) {
    let nothing = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        tally.cases += 1;
        let answers = heeded.answers.as_ref().and_then(|all| all.get(place)).unwrap_or(&nothing);
        let is_right = match standing {
            Standing::Nobody => heeded.answers.is_none(),
            _ => heeded.answers.is_some() && answers.iter().all(|answer| is_due(message, answer, standing)),
        };
        if !is_right {
            tally.wrong.push(format!("{who}: {message:?} gets {answers:?}"));
        }
    }
}

/// Whether a manager may answer so.
fn is_due(message: &Message, answer: &Message, standing: Standing) -> bool {
    match (speaker(message), message, answer, standing) {
        (Speaker::Neighbours, Message::Probe(probe), Message::ProbeReply(reply), _) => {
            let is_own = |known: Attachment| matches!(standing, Standing::Endpoint(own) if own == known.endpoint);
            reply.sequence == probe.sequence && reply.attachment.is_none_or(is_own)
        }
        (Speaker::Endpoints, Message::Attach(_), Message::AttachReply(reply), Standing::Endpoint(own)) => {
            reply.attachment.endpoint == own
        }
        // It may tell a manager what it knows whenever it likes.
        (_, _, Message::Flood(_) | Message::Probe(_), Standing::Manager) => true,
        (Speaker::Managers, Message::Flood(flood), Message::FloodAck(ack), Standing::Manager) => {
            ack.sequence == flood.sequence
        }
        _ => false,
    }
}

/// The messages are right: what a manager says is believed, and an endpoint is answered.
fn prove(world: &World<'_>, targets: &[Neighbour], guest: EndpointId) -> anyhow::Result<()> {
    let manager = Position::new("a manager").with_manager(&world.fenced)?;
    let endpoint = Position::new("an endpoint").with_agent(&world.guest)?;
    for (number, target) in targets.iter().enumerate() {
        // Each time a higher one, so that it is this message which is believed.
        let generation = Generation(BELIEVED + 16 * number as u64);
        let attachment = Attachment { endpoint: guest, manager: ManagerId(world.fenced.id), generation };
        let said: Vec<Message> = floods(&[attachment], &[]).into_iter().map(Message::Flood).collect();
        let answers = speak_to(&world.attacker, target, manager.tunnel.as_ref(), &said)?.answers;
        ensure!(answers.is_some(), "{} does not know a manager", target.name);
        let said = [Message::Attach(Attach { generation: Generation(1), why: MoveReason::Started, gap_ms: None })];
        let answers = speak_to(&world.attacker, target, endpoint.tunnel.as_ref(), &said)?.answers.unwrap_or_default();
        let knows = |answer: &Message| matches!(answer, Message::AttachReply(reply) if reply.attachment.generation >= generation);
        ensure!(
            answers.iter().flatten().any(knows),
            "{} does not believe a manager, or answers no endpoint: {answers:?}",
            target.id
        );
    }
    Ok(())
}

/// What must not change: who carries the agent since when, and how managers see one another.
pub(super) fn standing(overlay: &Overlay<'_>) -> anyhow::Result<String> {
    let agent = overlay.agents.first().context("no agent")?;
    let status = agent.status()?;
    let mut all = vec![format!("{:?} {}", status.active, status.generation)];
    for manager in &overlay.managers {
        let status = manager.status()?;
        let others = status.managers.iter().filter(|other| overlay.index_of(other.id).is_ok());
        all.extend(others.map(|other| format!("{} {} {}", other.id, other.state, other.direct)));
        all.push(format!("{:?}", status.carrier(agent.name())));
    }
    Ok(all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_messages_for_every_speaker_and_all_fit_into_a_datagram() {
        let all = messages(EndpointId(1), &[ManagerId(1)]);
        for speaker_ in [Speaker::Neighbours, Speaker::Endpoints, Speaker::Managers, Speaker::Nobody] {
            assert!(all.iter().any(|message| speaker(message) == speaker_), "{speaker_:?}");
        }
        let mut buffer = [0; 2048];
        assert!(all.iter().all(|message| message.encode(&mut buffer).is_ok()));
    }

    #[test]
    fn only_what_was_asked_may_be_answered() {
        let own = EndpointId(4);
        let of = |endpoint| Attachment { endpoint, manager: ManagerId(1), generation: Generation(1) };
        let reply = |endpoint| Message::AttachReply(AttachReply { attachment: of(endpoint) });
        let attach = Message::Attach(Attach { generation: Generation(1), why: MoveReason::Started, gap_ms: None });
        let ack = Message::FloodAck(FloodAck { sequence: 1 });
        let (endpoint, manager) = (Standing::Endpoint(own), Standing::Manager);
        assert!(is_due(&attach, &reply(own), endpoint));
        assert!(!is_due(&attach, &reply(EndpointId(5)), endpoint) && !is_due(&ack, &reply(own), endpoint));
        assert!(!is_due(&attach, &ack, endpoint) && !is_due(&attach, &reply(own), manager));
        let heeded = Heeded { answers: Some(vec![vec![ack]]) };
        let mut tally = Tally::default();
        judge(&mut tally, "x", std::slice::from_ref(&attach), &heeded, endpoint);
        judge(&mut tally, "x", std::slice::from_ref(&attach), &heeded, Standing::Nobody);
        judge(&mut tally, "x", &[attach], &Heeded { answers: None }, Standing::Nobody);
        assert_eq!((tally.cases, tally.wrong.len()), (3, 2));
    }
}
