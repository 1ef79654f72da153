//! Destinations of events: what is refused, what is written of them, and what is not.

use std::collections::BTreeSet;

use festoon_proto::EventDestinationId;
use festoon_proto::access::Scope;

use super::*;

const D1: EventDestinationId = EventDestinationId(1);

/// A cluster with a data key.
fn cluster() -> State {
    let (state, _) = apply(&State::default(), 1, &bootstrap()).unwrap();
    let keyring = SetKeyring {
        based_on: state.vault().changed(),
        number: 1,
        copies: vec![(ManagerId(1), Ciphertext::new([1]))],
        secrets: Vec::new(),
    };
    apply(&state, 2, &Command::SetKeyring(keyring)).unwrap().0
}

fn encrypted(byte: u8) -> EncryptedSecret {
    EncryptedSecret { key: 1, bytes: Ciphertext::new([byte]) }
}

fn webhook(name: &str) -> AddEventDestination {
    AddEventDestination {
        name: name.to_owned(),
        target: Target::Webhook { url: "https://example.com/hook".to_owned() },
        kinds: BTreeSet::from(["endpoint.up".to_owned()]),
        networks: Scope::All,
        is_enabled: true,
        allows_private: false,
        secret: PutSecret { name: SecretName(format!("destination-{name}")), secret: encrypted(9) },
        cursor: "start".to_owned(),
        now: UnixMs(5),
    }
}

fn add(state: &State, command: AddEventDestination) -> Result<(State, Outcome), Refusal> {
    apply(state, state.version().0 + 1, &Command::AddEventDestination(command.into()))
}

fn with_one() -> State {
    add(&cluster(), webhook("one")).unwrap().0
}

fn run(state: &State, command: Command) -> Carried {
    carry_out(state, state.version().0 + 1, &command.into()).unwrap()
}

#[test]
fn what_was_done_without_the_registry_is_written_of_each_time_and_changes_nothing() {
    let state = with_one();
    for (deed, action) in [
        (Deed::TryOut(D1), "event-destination.test"),
        (Deed::TryOut(D1), "event-destination.test"),
        (Deed::TakeSnapshot, "snapshot.take"),
        (Deed::DownloadSnapshot, "snapshot.download"),
    ] {
        let carried = run(&state, Command::Note(deed));
        let [entry] = carried.entries.as_slice() else { panic!("{:?}", carried.entries) };
        assert!(entry.line.contains(&format!(r#""action":"{action}""#)), "{}", entry.line);
        assert_eq!(carried.state.event_destination(D1), state.event_destination(D1));
    }
}

fn given_up(event: &str) -> GivenUp {
    GivenUp {
        event: event.to_owned(),
        kind: "endpoint.up".to_owned(),
        body: "{}".to_owned(),
        attempts: 3,
        error: "503".to_owned(),
        at: UnixMs(9),
    }
}

fn note(events: impl IntoIterator<Item = GivenUp>) -> NoteDelivery {
    NoteDelivery {
        destination: D1,
        cursor: "further".to_owned(),
        missed: 2,
        failing_since: Some(UnixMs(8)),
        given_up: events.into_iter().collect(),
        delivered: Vec::new(),
        given_up_again: Vec::new(),
    }
}

#[test]
fn a_destination_and_its_secret_come_and_go_together() {
    let state = with_one();
    let name = state.event_destination(D1).unwrap().secret.clone();
    assert_eq!(state.vault().secret(&name), Some(&encrypted(9)));
    assert_eq!(state.progress(D1).unwrap().cursor, "start");
    let refused = apply(&state, 9, &Command::RemoveSecret(name.clone())).unwrap_err();
    assert_eq!(refused.kind(), "secret-in-use");
    let removed = run(&state, Command::RemoveEventDestination(D1)).state;
    assert_eq!((removed.vault().secret(&name), removed.progress(D1)), (None, None));
    assert_eq!(add(&removed, webhook("one")).unwrap().1, Outcome::EventDestination(EventDestinationId(2)));
}

#[test]
fn what_makes_no_sense_is_refused_and_leaves_no_secret() {
    let state = with_one();
    type Spoil = fn(&mut AddEventDestination);
    let cases: [(&str, Spoil); 10] = [
        ("bad-name", |add| add.name = "No".to_owned()),
        ("name-taken", |add| add.name = "one".to_owned()),
        ("bad-target", |add| add.target = Target::Webhook { url: String::new() }),
        ("bad-target", |add| add.target = Target::Webhook { url: "https://a\r\nb".to_owned() }),
        ("bad-kinds", |add| add.kinds = BTreeSet::from(["Up!".to_owned()])),
        ("bad-networks", |add| add.networks = Scope::Networks(BTreeSet::new())),
        ("network-unknown", |add| add.networks = Scope::Networks(BTreeSet::from([NetworkId(9)]))),
        ("bad-secret-name", |add| add.secret.name = SecretName("authority-0123456789abcdef".to_owned())),
        ("bad-secret-name", |add| add.secret.name = SecretName("destination-one".to_owned())),
        ("data-key-changed", |add| add.secret.secret.key = 2),
    ];
    for (kind, spoil) in cases {
        let mut command = webhook("two");
        spoil(&mut command);
        assert_eq!(add(&state, command).unwrap_err().kind(), kind);
    }
    let mut full = state;
    for number in 2..=32 {
        full = add(&full, webhook(&format!("d{number}"))).unwrap().0;
    }
    assert_eq!(add(&full, webhook("more")).unwrap_err().kind(), "too-many-event-destinations");
}

#[test]
fn the_audit_log_shows_changes_and_no_secret_and_nothing_of_deliveries() {
    let state = with_one();
    let update = UpdateEventDestination {
        secret: Some(encrypted(77)),
        former_secret_until: Some(UnixMs(99)),
        ..UpdateEventDestination::none(D1)
    };
    let rotated = run(&state, Command::UpdateEventDestination(update.into()));
    assert_eq!(rotated.entries.len(), 1);
    assert!(rotated.entries[0].line.contains("event-destination.update"), "{}", rotated.entries[0].line);
    assert!(!rotated.entries[0].line.contains("bytes") && !rotated.entries[0].line.contains("destination-one"));
    let before = rotated.state.event_destination(D1).unwrap().changed;
    let noted = run(&rotated.state, Command::NoteDelivery(note([given_up("m1.1.1")])));
    assert_eq!((noted.entries.len(), noted.state.event_destination(D1).unwrap().changed), (0, before));
    let redelivered = RedeliverDeadLetters { destination: D1, letters: Vec::new(), now: UnixMs(50) };
    assert_eq!(run(&noted.state, Command::RedeliverDeadLetters(redelivered)).entries.len(), 1);
    let same = Command::UpdateEventDestination(UpdateEventDestination::none(D1).into());
    assert_eq!(run(&noted.state, same).entries.len(), 0);
}

#[test]
fn a_webhook_becomes_no_exchange() {
    let target =
        Target::Amqp { uri: "amqps://a".to_owned(), exchange: "e".to_owned(), routing_key_prefix: String::new() };
    let update = UpdateEventDestination { target: Some(target), ..UpdateEventDestination::none(D1) };
    assert_eq!(
        apply(&with_one(), 9, &Command::UpdateEventDestination(update.into())).unwrap_err().kind(),
        "bad-target"
    );
}

#[test]
fn dead_letters_are_kept_to_a_limit_and_sent_again_when_an_admin_wants_it() {
    let mut state = with_one();
    let all: Vec<_> = (0..MAX_LETTERS + 5).map(|number| given_up(&format!("m1.1.{number}"))).collect();
    for part in all.chunks(100) {
        state = run(&state, Command::NoteDelivery(note(part.to_vec()))).state;
    }
    state = run(&state, Command::NoteDelivery(note([given_up("m1.1.9")]))).state;
    let progress = state.progress(D1).unwrap();
    assert_eq!((progress.letter_count(), progress.dropped, progress.missed), (MAX_LETTERS, 5, 2));
    assert_eq!(progress.letters().next().unwrap().given_up.event, "m1.1.5");
    let redeliver = |letters: Vec<u64>| {
        Command::RedeliverDeadLetters(RedeliverDeadLetters { destination: D1, letters, now: UnixMs(50) })
    };
    assert_eq!(apply(&state, state.version().0 + 1, &redeliver(vec![1])).unwrap_err().kind(), "dead-letter-unknown");
    let state = run(&state, redeliver(vec![6, 7])).state;
    assert_eq!(state.progress(D1).unwrap().letter(6).unwrap().wanted, Some(UnixMs(50)));
    let again = NoteDelivery {
        delivered: vec![6],
        given_up_again: vec![(7, GivenUp { error: "x".repeat(1_000), ..given_up("m1.1.6") })],
        ..note([])
    };
    let state = run(&state, Command::NoteDelivery(again)).state;
    let progress = state.progress(D1).unwrap();
    assert_eq!(progress.letter(6), None);
    let seventh = progress.letter(7).unwrap();
    assert_eq!((seventh.wanted, seventh.given_up.error.len()), (None, 300));
}

#[test]
fn a_stored_state_has_them_and_an_epoch_gives_no_id_again() {
    let state = run(&with_one(), Command::NoteDelivery(note([given_up("m1.1.1")]))).state;
    let stored = postcard::to_stdvec(&state).unwrap();
    assert_eq!(postcard::from_bytes::<State>(&stored).unwrap(), state);
    let state = run(&state, begin_epoch(2, 1, 1)).state;
    let (_, outcome) = add(&state, webhook("two")).unwrap();
    assert_eq!(outcome, Outcome::EventDestination(EventDestinationId(1_002)));
}
