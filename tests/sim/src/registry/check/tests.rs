//! Whether the judge can be believed: histories written by hand. It must accept each that one registry can have made, and
//! refuse each that none can.

use std::sync::Arc;

use festoon_cluster::{Proposal, ProposalId, Signer};
use festoon_control::registry::{
    AddClient, AddNetwork, Addresses, Bootstrap, Carried, Command, CreateToken, EndpointError, FORMAT, JoinEndpoint,
    ManagerRole, ManagerSpec, Outcome, RemoveEndpoint, State, TokenError, TokenPreset, UnixMs, UpdateManager, apply,
};
use festoon_proto::map::MapVersion;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{ClusterId, EndpointId, Fingerprint, ManagerId, NetworkId, PublicKey};

use super::super::history::{Answer, History, Said};
use super::super::log::Log;
use super::super::machine::signing_key;
use super::super::sightings::Sightings;
use super::{Verdict, judge};

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const THROUGH: ManagerId = ManagerId(1);

/// What clients and managers did, in the order in which they did it.
#[derive(Default)]
struct Story {
    history: History,
    log: Log,
    sightings: Sightings,
    /// What the log says.
    state: Arc<State>,
    /// The last place in the log.
    place: u64,
}

impl Story {
    /// A cluster with a network, and clients that were told so.
    fn begin() -> Self {
        let mut story = Self::default();
        let manager = ManagerSpec {
            name: "m1".to_owned(),
            role: ManagerRole::Full,
            public_key: PublicKey::from_bytes([9; 32]),
            seal_key: None,
            signing_key: signing_key(THROUGH).verifying_key(),
            tls_key: Fingerprint([0; 32]),
            underlay: vec![([192, 0, 2, 1], 51820).into()],
            https: vec![([192, 0, 2, 1], 8443).into()],
            priority: 1,
            format: FORMAT,
        };
        story.change(0, &Command::Bootstrap(Bootstrap { cluster: ClusterId([1; 16]), manager }));
        let prefixes = vec!["10.0.0.0/24".parse().unwrap()];
        story.change(0, &Command::AddNetwork(AddNetwork { name: "net".to_owned(), prefixes, mtu: 1360 }));
        story
    }

    /// A client asks, and waits.
    fn ask(&self, client: u64, command: &Command) -> usize {
        self.history.invoke(client, THROUGH, command.clone())
    }

    /// The log gets a command, and a manager publishes what becomes of it. Gives the true answer.
    fn carry_out(&mut self, command: &Command) -> Said {
        self.place += 1;
        self.enter(self.place, command);
        let proposal = self.signed(self.place, self.place.into(), command);
        let result = proposal.carry_out(&self.state, self.place).map(|Carried { state, outcome, .. }| {
            let before = std::mem::replace(&mut self.state, Arc::new(state)).version();
            self.publish(before);
            outcome
        });
        let addresses = match result {
            Ok(Outcome::Endpoint(id)) => self.state.endpoint(id).map(|endpoint| endpoint.addresses),
            _ => None,
        };
        Said { result, addresses, place: self.place }
    }

    /// A manager carries out what stands at this place.
    fn enter(&self, place: u64, command: &Command) {
        let proposal = self.signed(place, place.into(), command);
        self.log.carry_out(THROUGH, place, Some(&proposal), self.history.moment());
    }

    fn signed(&self, place: u64, id: u128, command: &Command) -> Proposal {
        let signer = Signer::new(THROUGH, signing_key(THROUGH));
        let seen = MapVersion(place.saturating_sub(1));
        signer.propose(&self.state, seen, ProposalId(id), command.clone().into())
    }

    fn publish(&self, before: MapVersion) {
        self.sightings.see(THROUGH, before, &self.state, self.history.moment());
    }

    fn tell(&self, call: usize, said: Said) {
        self.history.answer(call, Answer::Said(said));
    }

    /// A client never learns what came of its call.
    fn give_up(&self, call: usize) {
        self.history.answer(call, Answer::Unknown);
    }

    /// Asked, carried out, told.
    fn change(&mut self, client: u64, command: &Command) -> Said {
        let call = self.ask(client, command);
        let said = self.carry_out(command);
        self.tell(call, said.clone());
        said
    }

    /// The client is told what `said` says, though nothing was carried out.
    fn pretend(&self, client: u64, command: &Command, said: Said) {
        self.tell(self.ask(client, command), said);
    }

    /// All that the judge and the sightings find.
    fn judge(&self) -> (Verdict, Vec<String>) {
        let wrong = [self.log.wrong(), self.sightings.wrong()].concat();
        (judge(&self.history, &self.log, &self.sightings, &self.state), wrong)
    }
}

fn add(number: u8) -> Command {
    add_at(number, Addresses::NONE)
}

fn add_at(number: u8, addresses: Addresses) -> Command {
    let (name, public_key) = (format!("h{number}"), PublicKey::from_bytes([number; 32]));
    Command::AddClient(AddClient {
        name,
        network: NetworkId(1),
        addresses,
        public_key,
        tags: Vec::new(),
        expires: None,
        now: NOW,
    })
}

fn remove(number: u64) -> Command {
    Command::RemoveEndpoint(RemoveEndpoint { endpoint: EndpointId(number), now: NOW })
}

fn rename(name: &str) -> Command {
    let name = Some(name.to_owned());
    Command::UpdateManager(UpdateManager { name, ..UpdateManager::of(THROUGH) })
}

fn at(last: u8) -> Addresses {
    Addresses::new([[10, 0, 0, last].into()]).unwrap()
}

/// The answer to an `add`.
fn added(id: u64, last: u8, place: u64) -> Said {
    Said { result: Ok(Outcome::Endpoint(EndpointId(id))), addresses: Some(at(last)), place }
}

fn done(place: u64) -> Said {
    Said { result: Ok(Outcome::Done), addresses: None, place }
}

fn name_taken(name: &str, place: u64) -> Said {
    let refusal = EndpointError::NameTaken(name.to_owned()).into();
    Said { result: Err(refusal), addresses: None, place }
}

fn token() -> Command {
    Command::CreateToken(CreateToken {
        hash: SecretHash([5; 32]),
        kind: TokenKind::Endpoint,
        network: Some(NetworkId(1)),
        addresses: Addresses::NONE,
        preset: TokenPreset::default(),
        now: NOW,
        expires: NOW.after(60_000),
    })
}

/// With the one token there is.
fn join(number: u8) -> Command {
    Command::JoinEndpoint(JoinEndpoint {
        token: SecretHash([5; 32]),
        public_key: PublicKey::from_bytes([number; 32]),
        credential: SecretHash([number; 32]),
        name: format!("h{number}"),
        now: NOW,
    })
}

/// What a state of this place says of a join.
fn kept_out(error: TokenError, place: u64) -> Said {
    Said { result: Err(EndpointError::Token(error).into()), addresses: None, place }
}

/// What clients and managers did in a story.
type Events = fn(&mut Story);

const POSSIBLE: &[(&str, Events)] = &[
    ("nothing happened", |_| {}),
    ("one after the other", |story| {
        assert_eq!(story.change(1, &add(1)), added(1, 2, 3), "what the hand-written answers below rest on");
        story.change(2, &add(2));
        story.change(1, &remove(1));
    }),
    ("two at the same time, and the later one came first", |story| {
        let (first, second) = (story.ask(1, &add(1)), story.ask(2, &add(2)));
        let (of_second, of_first) = (story.carry_out(&add(2)), story.carry_out(&add(1)));
        story.tell(first, of_first);
        story.tell(second, of_second);
    }),
    ("a call without an answer was carried out", |story| {
        let call = story.ask(1, &add(1));
        story.carry_out(&add(1));
        story.give_up(call);
        assert_eq!(story.change(2, &add(2)), added(2, 3, 4));
    }),
    ("a call without an answer was never carried out", |story| {
        story.give_up(story.ask(1, &add(1)));
        assert_eq!(story.change(2, &add(2)), added(1, 2, 3));
    }),
    ("a call without an answer was carried out long after its client gave up", |story| {
        story.give_up(story.ask(1, &add(1)));
        story.change(2, &add(2));
        story.carry_out(&add(1));
        assert_eq!(story.change(2, &add(3)), added(3, 4, 5));
    }),
    ("asked again without an answer, and only the last was carried out, which was told", |story| {
        story.give_up(story.ask(1, &rename("n1")));
        story.give_up(story.ask(1, &rename("n1")));
        story.change(1, &rename("n1"));
    }),
    ("asked three times, and carried out as often", |story| {
        story.give_up(story.ask(1, &rename("n1")));
        story.give_up(story.ask(1, &rename("n1")));
        story.change(1, &rename("n1"));
        story.carry_out(&rename("n1"));
        story.carry_out(&rename("n1"));
    }),
    ("sent again by a manager, it stands in the log twice", |story| {
        story.change(1, &add(1));
        story.place += 1;
        let again = story.signed(3, 3, &add(1));
        story.log.carry_out(THROUGH, story.place, Some(&again), story.history.moment());
        assert_eq!(story.change(2, &add(2)), added(2, 3, 5));
    }),
    ("a second manager carries out the same, later", |story| {
        story.change(1, &add(1));
        story.change(2, &add(2));
        story.enter(3, &add(1));
        story.enter(4, &add(2));
    }),
    ("a refusal, for a good reason", |story| {
        story.change(1, &add_at(1, at(7)));
        assert!(story.change(2, &add_at(2, at(7))).result.is_err());
    }),
    ("a join that is refused stands nowhere", |story| {
        story.pretend(1, &join(3), kept_out(TokenError::Unknown, 2));
        story.change(2, &token());
        story.change(1, &join(1));
        story.pretend(2, &join(2), kept_out(TokenError::Used, 4));
    }),
    ("a join that was refused as long as its token was being made", |story| {
        let (made, joined) = (story.ask(1, &token()), story.ask(2, &join(2)));
        let said = story.carry_out(&token());
        story.tell(joined, kept_out(TokenError::Unknown, 2));
        story.tell(made, said);
    }),
    ("a join of which another try stands in the log, refused", |story| {
        let call = story.ask(1, &join(1));
        story.carry_out(&join(1));
        story.tell(call, kept_out(TokenError::Unknown, 2));
    }),
    ("an address goes to another once its owner is removed", |story| {
        story.change(1, &add_at(1, at(7)));
        story.change(1, &remove(1));
        assert_eq!(story.change(2, &add_at(2, at(7))), added(2, 7, 5));
    }),
];

#[test]
fn what_one_registry_can_have_said_is_accepted() {
    for &(name, tell) in POSSIBLE {
        let mut story = Story::begin();
        tell(&mut story);
        let (verdict, wrong) = story.judge();
        assert!(verdict.is_good() && wrong.is_empty(), "{name}: {verdict:#?} {wrong:#?}");
    }
}

/// What must be found in a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Lost,
    Twice,
    Untrue,
    Unordered,
    /// In what managers published.
    Wrong,
}

impl Finding {
    fn is_in(self, verdict: &Verdict, wrong: &[String]) -> bool {
        match self {
            Self::Lost => !verdict.lost.is_empty(),
            Self::Twice => !verdict.twice.is_empty(),
            Self::Untrue => !verdict.untrue.is_empty(),
            Self::Unordered => !verdict.unordered.is_empty(),
            Self::Wrong => !wrong.is_empty(),
        }
    }
}

use Finding::{Lost, Twice, Unordered, Untrue, Wrong};

const IMPOSSIBLE: &[(&str, &[Finding], Events)] = &[
    ("an acknowledged change is gone", &[Lost, Unordered], |story| story.pretend(1, &add(1), added(1, 2, 3))),
    ("an acknowledged change is gone, and its id and address were given again", &[Lost, Twice, Unordered], |story| {
        story.pretend(1, &add(1), added(1, 2, 3));
        story.change(2, &add(2));
    }),
    ("an acknowledged removal was none", &[Lost, Unordered], |story| {
        story.change(1, &add(1));
        story.pretend(1, &remove(1), done(4));
    }),
    ("an acknowledged name went back to the one before", &[Lost, Unordered], |story| {
        story.change(1, &rename("n1"));
        story.pretend(1, &rename("n2"), done(4));
    }),
    ("an address was given twice", &[Twice, Unordered], |story| {
        story.change(1, &add(1));
        let call = story.ask(2, &add(2));
        let said = story.carry_out(&add(2));
        story.tell(call, Said { addresses: Some(at(2)), ..said });
    }),
    ("another address than the one it has", &[Lost, Unordered], |story| {
        let call = story.ask(1, &add(1));
        let said = story.carry_out(&add(1));
        story.tell(call, Said { addresses: Some(at(9)), ..said });
    }),
    ("the same id for two", &[Lost, Unordered], |story| {
        story.change(1, &add(1));
        let call = story.ask(2, &add(2));
        let said = story.carry_out(&add(2));
        story.tell(call, Said { result: Ok(Outcome::Endpoint(EndpointId(1))), ..said });
    }),
    ("the later of two calls has the earlier place", &[Unordered, Untrue], |story| {
        let (first, second) = (add_at(1, at(7)), add_at(2, at(8)));
        story.carry_out(&second);
        let of_first = story.carry_out(&first);
        story.tell(story.ask(1, &first), of_first);
        story.tell(story.ask(2, &second), added(1, 8, 3));
    }),
    ("told before it was carried out", &[Unordered], |story| {
        story.pretend(1, &add(1), added(1, 2, 3));
        story.carry_out(&add(1));
    }),
    ("told of the place of another", &[Unordered], |story| {
        let (first, second) = (story.ask(1, &rename("n1")), story.ask(2, &rename("n1")));
        let (said, _) = (story.carry_out(&rename("n1")), story.carry_out(&rename("n1")));
        story.tell(first, said.clone());
        story.tell(second, said);
    }),
    ("asked for once, and carried out as two proposals", &[Unordered], |story| {
        story.change(1, &rename("n1"));
        story.carry_out(&rename("n1"));
    }),
    ("what stands later was carried out earlier", &[Unordered], |story| {
        let (first, second) = (story.ask(1, &rename("n1")), story.ask(2, &rename("n2")));
        story.enter(4, &rename("n2"));
        story.carry_out(&rename("n1"));
        story.carry_out(&rename("n2"));
        story.give_up(first);
        story.give_up(second);
    }),
    ("a refusal without a reason", &[Untrue, Unordered], |story| {
        let call = story.ask(1, &add(1));
        story.carry_out(&add(1));
        story.tell(call, name_taken("h1", 3));
    }),
    ("a refusal that stands nowhere", &[Unordered], |story| story.pretend(1, &add(1), name_taken("h1", 3))),
    ("a join refused though its token had been made", &[Unordered], |story| {
        story.change(1, &token());
        story.pretend(2, &join(2), kept_out(TokenError::Unknown, 2));
    }),
    ("a join refused for what happened later", &[Unordered], |story| {
        story.change(1, &token());
        story.pretend(2, &join(2), kept_out(TokenError::Used, 4));
        story.change(1, &join(1));
    }),
    ("a join refused, and made nevertheless", &[Untrue, Unordered], |story| {
        story.change(1, &token());
        let call = story.ask(2, &join(2));
        story.carry_out(&join(2));
        story.tell(call, kept_out(TokenError::Unknown, 2));
    }),
    ("refused for another reason than there was", &[Unordered], |story| {
        story.change(1, &add_at(1, at(7)));
        let call = story.ask(2, &add_at(2, at(7)));
        story.carry_out(&add_at(2, at(7)));
        story.tell(call, name_taken("h2", 4));
    }),
    ("no refusal, though there was a reason", &[Lost, Twice, Unordered], |story| {
        story.change(1, &add_at(1, at(7)));
        let call = story.ask(2, &add_at(2, at(7)));
        story.carry_out(&add_at(2, at(7)));
        story.tell(call, added(2, 7, 4));
    }),
    ("certainly unchanged, and made nevertheless", &[Untrue, Unordered], |story| {
        let call = story.ask(1, &add(1));
        story.history.answer(call, Answer::Unchanged);
        story.carry_out(&add(1));
    }),
    ("certainly unchanged, and removed nevertheless", &[Untrue, Unordered], |story| {
        story.change(1, &add(1));
        let call = story.ask(1, &remove(1));
        story.history.answer(call, Answer::Unchanged);
        story.carry_out(&remove(1));
    }),
    ("nobody asked for it", &[Untrue, Unordered], |story| {
        story.carry_out(&add(1));
    }),
    ("seen before it was asked for", &[Untrue, Unordered], |story| {
        let said = story.carry_out(&add(1));
        story.tell(story.ask(1, &add(1)), said);
        story.carry_out(&add(2));
        story.give_up(story.ask(1, &add(2)));
    }),
    ("gone before anybody asked for that", &[Untrue, Unordered], |story| {
        story.change(1, &add(1));
        let said = story.carry_out(&remove(1));
        story.tell(story.ask(1, &remove(1)), said);
    }),
    ("a manager shows a state that is not that of the log", &[Unordered], |story| {
        let other = Arc::new(apply(&story.state, story.place + 1, &rename("n1")).unwrap().0);
        story.sightings.see(ManagerId(2), MapVersion(0), &other, story.history.moment());
    }),
    ("a manager shows something old after something new", &[Wrong], |story| {
        let old = Arc::clone(&story.state);
        story.change(1, &add(1));
        story.sightings.see(THROUGH, story.state.version(), &old, story.history.moment());
    }),
    ("two managers show two states of one version", &[Wrong], |story| {
        let other = Arc::new(apply(&story.state, story.place + 1, &add(2)).unwrap().0);
        story.change(1, &add(1));
        story.sightings.see(ManagerId(2), MapVersion(0), &other, story.history.moment());
    }),
    ("two managers carry out different things at one place", &[Wrong], |story| {
        story.change(1, &add(1));
        story.enter(3, &add(2));
    }),
    ("a manager carries out nothing where another carries out a change", &[Wrong], |story| {
        story.change(1, &add(1));
        story.log.carry_out(ManagerId(2), 3, None, story.history.moment());
    }),
];

#[test]
fn what_no_registry_can_have_said_is_refused() {
    for &(name, findings, tell) in IMPOSSIBLE {
        let mut story = Story::begin();
        tell(&mut story);
        let (verdict, wrong) = story.judge();
        for &finding in findings {
            assert!(finding.is_in(&verdict, &wrong), "{name}: {finding:?} is not in {verdict:#?} {wrong:#?}");
        }
    }
}
