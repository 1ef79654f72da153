//! What one endpoint can't do to this manager, to its own future, or to the record of events.

use festoon_dataplane::drop_reason::DropReason;
use festoon_proto::signal::{Attach, AttachReply, Detach};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A world with one agent, which has a session.
fn world() -> (World, Agent) {
    let more = [token(1, TokenKind::Endpoint), join_agent(1, 1), token(2, TokenKind::Manager), join_manager(2)];
    let mut world = World::new(more);
    let mut agent = Agent::new(&world.state, 1);
    assert!(agent.probe(&mut world).is_some());
    (world, agent)
}

/// What the agent is answered to a message.
fn say(world: &mut World, agent: &mut Agent, message: &Message) -> Option<Attachment> {
    let mut effects = effects();
    agent.host.signal(ME, message, &mut effects);
    let mut answer = None;
    for datagram in datagrams(&effects) {
        let mut replies = self::effects();
        world.node.handle_underlay(world.now, path(7), &datagram, datagram.len(), &mut replies);
        for reply in datagrams(&replies) {
            let arrival = agent.host.handle_underlay(world.now, path(1), &reply, &mut self::effects());
            if let HostArrival::Signal(ME, Message::AttachReply(AttachReply { attachment })) = arrival {
                answer = Some(attachment);
            }
        }
    }
    answer
}

fn attach(world: &mut World, agent: &mut Agent, generation: u64) -> Option<Attachment> {
    let message = Attach { generation: Generation(generation), why: MoveReason::Started, gap_ms: None };
    say(world, agent, &Message::Attach(message))
}

fn detach(world: &mut World, agent: &mut Agent, generation: u64) {
    say(world, agent, &Message::Detach(Detach { generation: Generation(generation) }));
}

fn here(generation: u64) -> Attachment {
    Attachment { endpoint: AGENT, manager: ME, generation: Generation(generation) }
}

fn events(world: &mut World) -> Vec<Seen> {
    std::iter::from_fn(|| world.node.poll_event())
        .filter_map(|event| match event {
            Event::Seen(Sighting { what, .. }) => Some(what),
            Event::Drained(_) => None,
        })
        .collect()
}

fn suspicions(world: &mut World) -> Vec<Suspicion> {
    let of = |seen| if let Seen::Suspicious { why, .. } = seen { Some(why) } else { None };
    events(world).into_iter().filter_map(of).collect()
}

#[test]
fn no_generation_poisons_an_endpoint() {
    let last = u64::MAX;
    for (known, says, leaves) in [
        (None, last, false),
        (Some(5), last, false),
        (Some(5), Generation::first_of_boot(1000).0, false),
        (Some(5), last, true),
    ] {
        let (mut world, mut agent) = world();
        if let Some(known) = known {
            assert_eq!(attach(&mut world, &mut agent, known), Some(here(known)));
        }
        if leaves {
            detach(&mut world, &mut agent, says);
        } else {
            assert_eq!(
                attach(&mut world, &mut agent, says),
                Some(here(known.unwrap_or(0))),
                "it is told what is known"
            );
        }
        assert_eq!(world.node.attachment(AGENT), known.map(here));
        assert_eq!(suspicions(&mut world), [Suspicion::Generation(Generation(says))], "the admin is told");
        let next = known.unwrap_or(0) + 1;
        assert_eq!(attach(&mut world, &mut agent, next), Some(here(next)), "it goes on");
    }
}

#[test]
fn an_endpoint_with_a_new_key_begins_anew() {
    for (far, is_forgotten) in [(Generation::first_of_boot(1 << 25), true), (Generation::first_of_boot(9), false)] {
        let (mut world, _) = world();
        world.attach(AGENT.0, 2, far.0);
        world.change(&rotate_key(AGENT, 2));
        assert!(world.tell());
        assert_eq!(world.node.attachment(AGENT).is_none(), is_forgotten);
        let mut agent = Agent::new(&world.state, 2);
        assert!(agent.probe(&mut world).is_some());
        let next = if is_forgotten { 1 } else { far.next().0 };
        assert_eq!(attach(&mut world, &mut agent, next), Some(here(next)));
    }
}

#[test]
fn an_endpoint_that_moves_all_the_time_makes_few_events() {
    let (mut world, mut agent) = world();
    events(&mut world);
    let mut generation = 0;
    // As if it went to and fro between two managers, or left and came, for ten seconds.
    for step in 0..10_000 {
        world.now += Duration::from_millis(1);
        generation += 1;
        if step % 2 == 0 {
            attach(&mut world, &mut agent, generation);
        } else {
            detach(&mut world, &mut agent, generation);
        }
    }
    let seen = events(&mut world);
    assert!(seen.len() <= 16 + 5 + 2, "{}", seen.len());
    assert!(seen.iter().any(|seen| matches!(seen, Seen::Suspicious { why: Suspicion::Changes, .. })));
    let drops = world.command(Command::Figures).drops;
    assert!(drops.get(DropReason::SignalLimit) > 7_000, "{drops:?}");
    // Saying the same again is no move, and moves are possible again after a while.
    world.now += MINUTE;
    generation += 1;
    assert_eq!(attach(&mut world, &mut agent, generation), Some(here(generation)));
    assert!((0..100).all(|_| attach(&mut world, &mut agent, generation) == Some(here(generation))));
}

#[test]
fn a_flood_of_messages_is_dropped_before_anything_is_done_for_it() {
    let (mut world, mut agent) = world();
    let answered = (0..2000).filter(|_| agent.probe(&mut world).is_some()).count();
    assert!(answered <= 500, "{answered}");
    world.now += MINUTE;
    assert!(agent.probe(&mut world).is_some());
}

#[test]
fn a_stock_client_that_was_cut_off_is_carried_again() {
    let mut world = World::new([add_client(1, 1)]);
    let arrive = |world: &mut World| {
        let now = world.now;
        world.node.handle_arrival(now, RouterArrival::ClientHere(EndpointId(1)), &mut effects());
    };
    arrive(&mut world);
    assert!(world.node.attachment(EndpointId(1)).is_some());
    world.node.handle_command(world.now, Command::Disconnect(EndpointId(1)), &mut effects());
    assert!(world.node.attachment(EndpointId(1)).is_none());
    world.now += Duration::from_secs(2);
    arrive(&mut world);
    assert!(world.node.attachment(EndpointId(1)).is_some());
}

#[test]
fn it_tells_where_an_agent_was_heard_that_it_carries() {
    let (mut world, mut agent) = world();
    assert_eq!(attach(&mut world, &mut agent, 1), Some(here(1)));
    let carried = carried(&mut world, 10);
    assert_eq!(carried.iter().map(|one| one.from).collect::<Vec<_>>(), [Some(path(7).remote)]);
    assert!(carried[0].heard_ago.is_some());
}
