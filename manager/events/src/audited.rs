//! The event that an entry of the audit log is.

use festoon_proto::NetworkId;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::{Details, Event, Kind};

/// A line is no entry of an audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of the audit log can't be read")]
pub struct AuditError;

#[derive(Deserialize)]
struct Line {
    at: String,
    index: u64,
    by: Value,
    action: String,
    subject: Option<Subject>,
    before: Option<Value>,
    after: Option<Value>,
}

#[derive(Deserialize)]
struct Subject {
    kind: String,
    id: Option<String>,
    name: Option<String>,
}

/// An entry of the audit log, as an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Where the change stands in the log of the registry.
    pub index: u64,
    /// What it tells.
    pub event: Event,
}

/// What the entry with this line tells.
pub fn of_entry(line: &str) -> Result<Audited, AuditError> {
    let line: Line = serde_json::from_str(line).map_err(|_| AuditError)?;
    let kind = kind(&line);
    let at: Timestamp = line.at.parse().map_err(|_| AuditError)?;
    let at = u64::try_from(at.as_millisecond()).unwrap_or_default();
    let mut event = Event::new(at, kind);
    let looks = line.after.as_ref().or(line.before.as_ref());
    event.network = looks.and_then(|looks| looks.get("network")?.as_str()?.parse::<NetworkId>().ok());
    if let Some(subject) = &line.subject {
        about(&mut event, subject);
    }
    for &member in members(kind) {
        if let Some(value) = line.after.as_ref().and_then(|after| after.get(member)) {
            event.details.insert(member.to_owned(), value.clone());
        }
    }
    event.details.insert("action".to_owned(), line.action.into());
    event.details.insert("by".to_owned(), line.by);
    Ok(Audited { index: line.index, event })
}

fn kind(line: &Line) -> Kind {
    let release = |looks: &Option<Value>| looks.as_ref().and_then(|looks| looks.get("release")).cloned();
    let approved = |looks: &Option<Value>| looks.as_ref().and_then(|looks| looks.get("approved_routes")).cloned();
    match line.action.as_str() {
        "endpoint.join" | "manager.join" => Kind::TokenUsed,
        "endpoint.offer-routes" => Kind::RouteOffered,
        "endpoint.update" if approved(&line.before) != approved(&line.after) => Kind::RouteApproved,
        "endpoint.rotate-key" | "manager.rotate-key" | "manager.rotate-seal-key" | "cluster.rotate-data-key" => {
            Kind::KeyRotated
        }
        "endpoint.expire" => Kind::EndpointExpired,
        "manager.announce-program"
            if release(&line.before).is_some_and(|before| release(&line.after) != Some(before)) =>
        {
            Kind::ManagerUpgraded
        }
        _ => Kind::AdminChanged,
    }
}

/// What of a record is told beside what was done to it. The whole is in the audit log.
const fn members(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::RouteOffered => &["offered_routes"],
        Kind::RouteApproved => &["approved_routes"],
        Kind::KeyRotated => &["public_key"],
        Kind::TokenUsed => &["addresses", "ephemeral"],
        Kind::ManagerUpgraded => &["release"],
        _ => &[],
    }
}

fn about(event: &mut Event, subject: &Subject) {
    let id = subject.id.as_deref().unwrap_or_default();
    match subject.kind.as_str() {
        "endpoint" => event.endpoint = id.parse().ok(),
        "manager" => event.manager = id.parse().ok(),
        "network" => event.network = id.parse().ok(),
        _ => {}
    }
    let mut told = Details::new();
    told.insert("kind".to_owned(), subject.kind.clone().into());
    for (member, value) in [("id", &subject.id), ("name", &subject.name)] {
        if let Some(value) = value {
            told.insert(member.to_owned(), value.clone().into());
        }
    }
    event.details.insert("subject".to_owned(), told.into());
}

#[cfg(test)]
mod tests {
    use festoon_proto::EndpointId;

    use super::*;

    fn line(action: &str, before: &str, after: &str) -> String {
        format!(
            r#"{{"number":4,"at":"2026-11-21T06:22:38.123Z","index":9,"by":{{"kind":"newcomer"}},"action":"{action}",
            "subject":{{"kind":"endpoint","id":"e7","name":"web"}},"before":{before},"after":{after},
            "previous":"00","hash":"11"}}"#
        )
    }

    #[test]
    fn an_entry_says_when_and_about_whom() {
        let event =
            of_entry(&line("endpoint.join", "null", r#"{"network":"n2","addresses":["10.0.0.2"]}"#)).unwrap().event;
        assert_eq!(
            (event.kind, event.endpoint, event.network),
            (Kind::TokenUsed, Some(EndpointId(7)), Some(NetworkId(2)))
        );
        assert_eq!(event.at % 1000, 123);
        assert_eq!(event.details["by"]["kind"], "newcomer");
        assert_eq!(
            (&event.details["subject"]["name"], &event.details["addresses"][0]),
            (&"web".into(), &"10.0.0.2".into())
        );
        assert_eq!(of_entry("{}"), Err(AuditError));
    }

    #[test]
    fn an_upgrade_is_another_release_than_before() {
        let told = |before, after| of_entry(&line("manager.announce-program", before, after)).unwrap().event;
        let (none, old, new) = (r#"{"format":1}"#, r#"{"release":"1.0"}"#, r#"{"release":"1.1"}"#);
        assert_eq!((told(none, old).kind, told(old, old).kind), (Kind::AdminChanged, Kind::AdminChanged));
        let upgraded = told(old, new);
        assert_eq!((upgraded.kind, &upgraded.details["release"]), (Kind::ManagerUpgraded, &"1.1".into()));
    }

    #[test]
    fn routes_that_are_approved_are_told_from_other_changes() {
        let none = r#"{"network":"n2","approved_routes":[]}"#;
        let some = r#"{"network":"n2","approved_routes":["10.9.0.0/16"]}"#;
        let kind = |before, after| of_entry(&line("endpoint.update", before, after)).unwrap().event.kind;
        assert_eq!((kind(none, some), kind(none, none)), (Kind::RouteApproved, Kind::AdminChanged));
        assert_eq!(of_entry(&line("endpoint.remove", some, "null")).unwrap().event.network, Some(NetworkId(2)));
    }
}
