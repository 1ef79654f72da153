//! Conditions, idempotency keys, batches, and what the audit log says of it all.

use super::audit::{self, Entry};
use super::*;

const DAY: u64 = 24 * HOUR;

/// A log of changes, and what was written of them.
struct Log {
    state: State,
    index: u64,
    lines: Vec<Entry>,
}

impl Log {
    fn new() -> Self {
        let mut log = Self { state: State::default(), index: 0, lines: Vec::new() };
        log.done(bootstrap());
        log.done(network("default", &["172.31.0.0/16", "fd00:1::/64"]));
        log.done(network("other", &["10.0.0.0/29"]));
        log
    }

    fn carry(&mut self, change: impl Into<Change>) -> Result<Outcome, Refusal> {
        self.index += 1;
        let carried = carry_out(&self.state, self.index, &change.into())?;
        assert!(carried.state.index_agrees());
        self.lines.extend(carried.entries);
        self.state = carried.state;
        assert_eq!(self.state.audited().count, self.lines.len() as u64);
        Ok(carried.outcome)
    }

    fn done(&mut self, change: impl Into<Change>) -> Outcome {
        self.carry(change).unwrap()
    }

    fn refused(&mut self, change: impl Into<Change>) -> &'static str {
        let before = self.state.clone();
        let refusal = self.carry(change).unwrap_err();
        assert!(self.state == before && !refusal.to_string().contains('\n'), "{refusal}");
        refusal.kind()
    }

    fn last(&self) -> &str {
        &self.lines.last().unwrap().line
    }
}

fn update(endpoint: u64) -> UpdateEndpoint {
    UpdateEndpoint::of(EndpointId(endpoint), UnixMs(5))
}

fn named(endpoint: u64, name: &str) -> Command {
    Command::UpdateEndpoint(UpdateEndpoint { name: Some(name.to_owned()), ..update(endpoint) })
}

fn keyed(key: u8, request: u8, at: u64, command: Command) -> Change {
    let key = Some(IdempotencyKey { key: [key; 16], request: [request; 16] });
    Change { key, at: UnixMs(at), ..command.into() }
}

#[test]
fn a_change_on_condition_is_refused_once_somebody_was_faster() {
    let mut log = Log::new();
    log.done(client("web", 1));
    let subject = Subject::Endpoint(EndpointId(1));
    let since = subject.changed(&log.state).unwrap();
    let on_condition = |name| Change { only_if: Some(Unchanged { subject, since }), ..named(1, name).into() };
    log.done(on_condition("first"));
    assert_eq!(log.refused(on_condition("second")), "changed-meanwhile");
    assert_eq!(&*log.state.endpoint(EndpointId(1)).unwrap().name, "first");
    log.done(remove(1));
    assert_eq!(log.refused(on_condition("third")), "changed-meanwhile", "it is gone");
}

#[test]
fn a_request_that_is_sent_again_is_carried_out_once() {
    let mut log = Log::new();
    let first = log.done(keyed(1, 1, 10, client("web", 1)));
    let (before, lines) = (log.state.clone(), log.lines.len());
    // Whoever sends it again may have read another clock, or made another key pair.
    assert_eq!(log.done(keyed(1, 1, 11, client("web", 2))), first);
    assert!(log.state == before && log.lines.len() == lines);
    assert_eq!(log.refused(keyed(1, 2, 12, client("db", 2))), "idempotency-key-reused");
    // What was refused is not remembered: it may be right another time.
    assert_eq!(log.refused(keyed(2, 1, 12, client("web", 3))), "name-taken");
    log.done(keyed(2, 1, 13, client("db", 3)));
    log.done(keyed(1, 2, 10 + DAY, client("new", 4)));
}

#[test]
fn a_batch_is_carried_out_as_a_whole_or_not_at_all() {
    let mut log = Log::new();
    let batch = |commands: &[Command]| Command::Batch(commands.to_vec());
    let made = log.done(batch(&[client("a", 1), client("b", 2)]));
    assert_eq!(made, Outcome::Batch(vec![Outcome::Endpoint(EndpointId(1)), Outcome::Endpoint(EndpointId(2))]));
    assert_eq!(log.refused(batch(&[client("c", 3), client("a", 4)])), "name-taken");
    for bad in [batch(&[]), batch(&[batch(&[client("c", 3)])]), batch(&[bootstrap()])] {
        assert_eq!(log.refused(bad), "bad-batch");
    }
    assert_eq!(log.refused(batch(&vec![client("c", 3); MAX_BATCH + 1])), "bad-batch");
    let expired = Command::Batch(vec![Command::Expire(UnixMs(1)), client("c", 3)]);
    assert!(matches!(log.done(expired), Outcome::Batch(all) if all.len() == 2));
}

#[test]
fn an_endpoint_is_renamed_moved_and_given_other_addresses() {
    let mut log = Log::new();
    log.done(client("web", 1));
    log.done(client("db", 2));
    let web = |log: &Log| log.state.endpoint(EndpointId(1)).unwrap().clone();
    let first = web(&log).addresses;
    log.done(named(1, "www"));
    assert_eq!(log.refused(named(1, "db")), "name-taken");
    assert_eq!(log.refused(named(1, "-")), "bad-name");
    log.done(named(1, "www"));
    let at = |texts: &[&str]| Command::UpdateEndpoint(UpdateEndpoint { addresses: addresses(texts), ..update(1) });
    log.done(at(&["172.31.7.7"]));
    assert_eq!(web(&log).addresses.to_vec(), addresses(&["172.31.7.7", "fd00:1::2"]).to_vec());
    assert_eq!(log.refused(at(&["172.31.0.3"])), "address-taken");
    assert_eq!(log.refused(at(&["192.0.2.1"])), "address-outside");
    log.done(at(&["172.31.7.7"]));
    // What it had is free again.
    log.done(client_at("cache", 3, &[&first.iter().next().unwrap().to_string()]));
    let move_to = |network| Command::UpdateEndpoint(UpdateEndpoint { network: Some(NetworkId(network)), ..update(1) });
    log.done(move_to(2));
    assert_eq!((web(&log).network, web(&log).addresses.to_vec()), (NetworkId(2), addresses(&["10.0.0.2"]).to_vec()));
    assert_eq!(log.state.owner(NetworkId(1), "172.31.7.7".parse().unwrap()), None);
    assert_eq!(log.refused(move_to(9)), "network-unknown");
    assert_eq!(log.refused(Command::RemoveNetwork(NetworkId(2))), "network-in-use");
    log.done(remove(1));
    log.done(Command::RemoveNetwork(NetworkId(2)));
    assert_eq!(log.refused(Command::RemoveNetwork(NetworkId(2))), "network-unknown");
}

#[test]
fn tags_expiry_and_leave_to_use_the_overlay_are_changed() {
    let mut log = Log::new();
    log.done(client("web", 1));
    let tags = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Command::UpdateEndpoint(UpdateEndpoint { tags: Some(tags), ..update(1) })
    };
    log.done(tags(&["prod", "eu", "prod"]));
    let of = |log: &Log| log.state.endpoint(EndpointId(1)).unwrap().tags().join(" ");
    assert_eq!(of(&log), "eu prod");
    assert_eq!(log.refused(tags(&["Prod"])), "bad-tag");
    let many: Vec<_> = (0..=MAX_TAGS).map(|n| format!("t{n}")).collect();
    assert_eq!(log.refused(tags(&many.iter().map(String::as_str).collect::<Vec<_>>())), "bad-tag");
    log.done(tags(&[]));
    assert_eq!(of(&log), "");
    let key_due = Command::UpdateEndpoint(UpdateEndpoint { is_key_due: Some(true), ..update(1) });
    assert_eq!(log.refused(key_due), "endpoint-is-client");
    let expires = |at| Command::UpdateEndpoint(UpdateEndpoint { expires: Some(at), ..update(1) });
    assert_eq!(log.refused(expires(Some(UnixMs(5)))), "bad-expiry");
    log.done(expires(Some(UnixMs(HOUR))));
    log.done(expires(None));
    log.done(expires(Some(UnixMs(2 * HOUR))));
    log.done(Command::Expire(UnixMs(2 * HOUR - 1)));
    assert!(log.state.endpoint(EndpointId(1)).is_some());
    log.done(Command::Expire(UnixMs(2 * HOUR)));
    assert!(log.state.endpoint(EndpointId(1)).is_none());
    assert!(log.last().contains("\"action\":\"endpoint.expire\""), "{}", log.last());
    let disabled = Command::UpdateEndpoint(UpdateEndpoint { is_enabled: Some(false), ..update(2) });
    log.done(client("db", 2));
    log.done(disabled);
    assert!(!log.state.endpoint(EndpointId(2)).unwrap().is_enabled);
}

#[test]
fn an_endpoint_changes_its_own_and_only_while_it_may_use_the_overlay() {
    let mut log = Log::new();
    log.done(token(1, 1));
    log.done(join_as(1, 1, 1));
    log.done(client("db", 2));
    let by_at =
        |who, command, at| Change { command, by: Author { who, from: None }, at: UnixMs(at), only_if: None, key: None };
    let by = |who, command| by_at(who, command, 1);
    let offer = |endpoint, prefix: &str| {
        Command::OfferRoutes(OfferRoutes { endpoint: EndpointId(endpoint), prefixes: vec![prefix.parse().unwrap()] })
    };
    let rotate = |endpoint, number| {
        let (endpoint, now) = (EndpointId(endpoint), UnixMs(1));
        Command::RotateEndpointKey(RotateEndpointKey {
            endpoint,
            shown: Some(hash(1)),
            new_key: key(number),
            credential: Some(hash(number)),
            now,
            overlap_until: now,
        })
    };
    let own = |number: u8| [offer(1, &format!("192.168.{number}.0/24")), rotate(1, 50 + number), remove(1)];
    let refusal =
        |log: &Log, change: Change| carry_out(&log.state, log.index + 1, &change).err().map(|refusal| refusal.kind());
    let (first, second) = (Who::Endpoint(EndpointId(1)), Who::Endpoint(EndpointId(2)));
    for command in own(1) {
        assert_eq!(refusal(&log, by(first, command.clone())), None);
        assert_eq!(refusal(&log, by(second, command)), Some("endpoint-not-its-own"));
    }
    let update_of = |endpoint| UpdateEndpoint::of(EndpointId(endpoint), UnixMs(1));
    let foreign =
        [client("more", 7), Command::UpdateEndpoint(update_of(1)), Command::Batch(vec![offer(1, "192.168.9.0/24")])];
    for command in foreign {
        assert_eq!(refusal(&log, by(first, command)), Some("endpoint-not-its-own"));
    }

    log.done(Command::UpdateEndpoint(UpdateEndpoint { is_enabled: Some(false), ..update_of(1) }));
    for command in own(2) {
        assert_eq!(refusal(&log, by(first, command.clone())), Some("endpoint-disabled"));
        assert_eq!(refusal(&log, by(Who::Cluster, command)), None, "others may do it for it");
    }
    log.done(Command::UpdateEndpoint(UpdateEndpoint {
        is_enabled: Some(true),
        expires: Some(Some(UnixMs(HOUR))),
        ..update_of(1)
    }));
    for command in own(3) {
        assert_eq!(refusal(&log, by_at(first, command.clone(), HOUR - 1)), None);
        assert_eq!(refusal(&log, by_at(first, command, HOUR)), Some("endpoint-unknown"), "its time is over");
    }
}

#[test]
fn a_route_is_used_once_an_admin_approves_it_and_by_one_endpoint_alone() {
    let mut log = Log::new();
    log.done(client("a", 1));
    log.done(client("b", 2));
    let prefixes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let offer = |endpoint, texts: &[&str]| {
        Command::OfferRoutes(OfferRoutes { endpoint: EndpointId(endpoint), prefixes: prefixes(texts) })
    };
    let approve = |endpoint, texts: &[&str]| {
        Command::UpdateEndpoint(UpdateEndpoint { approved_routes: Some(prefixes(texts)), ..update(endpoint) })
    };
    let used = |log: &Log| {
        let all = log.state.routes(NetworkId(1)).map(|(prefix, by)| format!("{prefix} {by}"));
        all.collect::<Vec<_>>().join(", ")
    };
    let before = log.state.network(NetworkId(1)).unwrap().changed;
    log.done(offer(1, &["192.168.7.0/24", "2001:db8:7::/48"]));
    log.done(offer(2, &["192.168.7.0/24"]));
    assert_eq!((used(&log), log.state.network(NetworkId(1)).unwrap().changed), (String::new(), before));
    log.done(approve(1, &["192.168.7.0/24"]));
    assert_eq!(used(&log), "192.168.7.0/24 e1");
    assert!(log.state.network(NetworkId(1)).unwrap().changed > before, "its endpoints are told");
    assert_eq!(log.refused(approve(2, &["192.168.7.0/24"])), "route-taken");
    assert_eq!(log.refused(approve(1, &["192.168.8.0/24"])), "route-unknown");
    // What was approved stays so, and what is offered anew is not.
    log.done(offer(1, &["192.168.7.0/24", "192.168.8.0/24"]));
    assert_eq!(used(&log), "192.168.7.0/24 e1");
    log.done(approve(1, &[]));
    log.done(approve(2, &["192.168.7.0/24"]));
    let before = log.state.network(NetworkId(1)).unwrap().changed;
    log.done(remove(2));
    assert_eq!(used(&log), "");
    assert!(log.state.network(NetworkId(1)).unwrap().changed > before);
    for (bad, kind) in [
        (&["192.168.7.1/24"][..], "bad-route"),
        (&["127.0.0.0/8"], "bad-route"),
        (&["0.0.0.0/0"], "bad-route"),
        (&["10.1.0.0/16", "10.1.0.0/16"], "bad-route"),
        (&["172.16.0.0/12"], "route-overlap"),
    ] {
        assert_eq!(log.refused(offer(1, bad)), kind, "{bad:?}");
    }
}

#[test]
fn a_reusable_token_lets_many_in_and_each_once() {
    let mut log = Log::new();
    let Command::CreateToken(one_time) = token(1, 1) else { unreachable!() };
    let preset =
        TokenPreset { is_reusable: true, tags: vec!["web".to_owned()], is_ephemeral: true, ..TokenPreset::default() };
    let reusable =
        |addresses| Command::CreateToken(CreateToken { preset: preset.clone(), addresses, ..one_time.clone() });
    assert_eq!(log.refused(reusable(addresses(&["172.31.0.9"]))), "bad-token");
    let Outcome::JoinToken(id) = log.done(reusable(Addresses::NONE)) else { unreachable!() };
    for node in [1, 2, 1, 2, 3] {
        log.done(join_as(1, node, 5));
    }
    assert_eq!((log.state.endpoint_count(), log.state.join_token(id).unwrap().1.uses), (3, 3));
    let endpoint = log.state.endpoint(EndpointId(2)).unwrap();
    assert!(endpoint.is_ephemeral && endpoint.tags().iter().any(|tag| &**tag == "web"));
    log.done(Command::RemoveToken(id));
    assert_eq!(log.refused(join_as(1, 4, 6)), "token-unknown");
    assert_eq!(log.refused(Command::RemoveToken(id)), "join-token-unknown");
}

#[test]
fn the_audit_log_says_who_did_what_and_is_a_chain() {
    let mut log = Log::new();
    let by = Author {
        who: Who::Local { manager: ManagerId(1), user: LocalUser::new(0, "ann") },
        from: Some("192.0.2.7".parse().unwrap()),
    };
    log.done(Change { by, at: UnixMs(1_700_000_000_123), ..client("web", 1).into() });
    for part in [
        "\"at\":\"2023-11-14T22:13:20.123Z\"",
        "\"by\":{\"kind\":\"local\",\"id\":\"m1\",\"name\":\"m1\",\"person\":\"ann (as root)\",\"from\":\"192.0.2.7\"}",
        "\"action\":\"endpoint.add\",\"subject\":{\"kind\":\"endpoint\",\"id\":\"e1\",\"name\":\"web\"}",
        "\"after\":{\"name\":\"web\",\"network\":\"n1\"",
    ] {
        assert!(log.last().contains(part), "{part}: {}", log.last());
    }
    log.done(named(1, "www"));
    let line = log.last();
    assert!(line.contains("\"before\":{\"name\":\"web\"") && line.contains("\"after\":{\"name\":\"www\""), "{line}");
    let before = log.lines.len();
    log.done(Command::Expire(UnixMs(1)));
    assert_eq!(log.lines.len(), before, "nothing happened");
    log.done(Command::Batch(vec![client("a", 3), client("b", 4), remove(1)]));
    assert_eq!(log.lines.len(), before + 3);

    let lines: Vec<_> = log.lines.iter().map(|entry| entry.line.clone()).collect();
    let verify = |lines: &[String]| audit::verify(lines.iter().map(String::as_str));
    let head = log.state.audited();
    assert_eq!(verify(&lines), Ok(Some((head.count, head.hash.to_string()))));
    assert!(verify(&lines[2..5]).is_ok(), "a part of it");
    for gone in 1..lines.len() - 1 {
        let mut without = lines.clone();
        without.remove(gone);
        assert_eq!(verify(&without), Err(audit::VerifyError::Broken(gone as u64 + 2)));
    }
    for altered in 0..lines.len() {
        let mut other = lines.clone();
        other[altered] = other[altered].replacen("\"action\":\"", "\"action\":\"x", 1);
        assert_eq!(verify(&other), Err(audit::VerifyError::Altered(altered as u64 + 1)));
    }
    assert_eq!(verify(&["{}".to_owned()]), Err(audit::VerifyError::NoEntry(1)));
}
