//! Events and entries of the audit log in a few words.

use serde_json::Value;

use super::events::Event;
use super::record::Names;

/// What happened, beside its kind.
pub(super) fn told(event: &Event, names: &Names) -> String {
    let here = event.manager.map_or_else(|| "-".to_owned(), |manager| names.manager(manager));
    let text = |name: &str| event.details.get(name).map(|value| plain(value, names)).unwrap_or_default();
    let gap = event.details.get("gap_ms").map_or_else(String::new, |gap| format!(", {gap} ms without"));
    match event.kind.as_str() {
        "endpoint.up" => format!("{} on {here}", endpoint(event, names)),
        "endpoint.moved" => {
            format!("{} from {} to {here} ({}{gap})", endpoint(event, names), text("from"), text("why"))
        }
        "endpoint.down" => format!("{} on {here} ({})", endpoint(event, names), text("why")),
        "endpoint.suspicious" => {
            let what = match text("why").as_str() {
                "generation" => format!("says that it is at generation {}, which is refused", text("generation")),
                "changes" => "attaches or leaves too often, which is refused".to_owned(),
                other => other.to_owned(),
            };
            format!("{} on {here} {what}", endpoint(event, names))
        }
        "endpoint.copied" => {
            format!("{}: a former credential of it was used from {} at {here}", endpoint(event, names), text("from"))
        }
        "link.up" | "link.down" => format!("{here} to {}", text("to")),
        "manager.lost" | "manager.returned" => format!("{here} (seen by {})", text("seen_by")),
        "events.suppressed" => {
            format!("{} of {} left out, the last {}", text("count"), endpoint(event, names), text("last"))
        }
        "audit.head" => format!("entry {} on {here}, {}", text("number"), text("hash")),
        "audit.differs" => format!("entry {} on {here} differs from that on {}", text("number"), text("seen_by")),
        "events.lost" => format!("{} on {here}", text("count")),
        _ => {
            let subject = event.details.get("subject").map_or_else(String::new, subject);
            let by = event.details.get("by").map_or_else(String::new, |by| format!(" by {}", who(by)));
            format!("{} {subject}", text("action")).trim().to_owned() + &by
        }
    }
}

fn endpoint(event: &Event, names: &Names) -> String {
    let id = event.endpoint.clone().unwrap_or_default();
    names.endpoints.get(&id).cloned().unwrap_or(id)
}

/// What an entry of the audit log is about: its name and its id.
pub(super) fn subject(subject: &Value) -> String {
    match (subject["name"].as_str(), subject["id"].as_str()) {
        (Some(name), Some(id)) if name != id => format!("{name} ({id})"),
        (Some(name), _) => name.to_owned(),
        (None, Some(id)) => id.to_owned(),
        (None, None) => subject["kind"].as_str().unwrap_or_default().to_owned(),
    }
}

/// Who did it.
pub(super) fn who(by: &Value) -> String {
    let kind = by["kind"].as_str().unwrap_or("-");
    let person = by["person"].as_str().unwrap_or("root");
    match (kind, by["name"].as_str().or(by["id"].as_str())) {
        ("local", Some(name)) => format!("{person} on {name}"),
        ("user", Some(name)) => name.to_owned(),
        (_, Some(name)) => format!("{kind} {name}"),
        (_, None) => kind.to_owned(),
    }
}

fn plain(value: &Value, names: &Names) -> String {
    match value {
        Value::String(text) => manager(text, names),
        other => other.to_string(),
    }
}

/// A manager's name, if that is what `id` calls.
fn manager(id: &str, names: &Names) -> String {
    id.parse().map_or_else(|_| id.to_owned(), |id| names.manager(id))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_told_with_the_names_of_things() {
        let manager = |number| festoon_proto::ManagerId(number).into();
        let names = Names {
            managers: BTreeMap::from([(manager(1), "fra".to_owned()), (manager(2), "ams".to_owned())]),
            endpoints: BTreeMap::from([("e1".to_owned(), "web".to_owned())]),
            ..Names::default()
        };
        for (event, expected) in [
            (json!({"kind": "endpoint.up", "endpoint": "e1", "manager": "m1"}), "web on fra"),
            (
                json!({"kind": "endpoint.moved", "endpoint": "e1", "manager": "m2",
                    "details": {"from": "m1", "to": "m2", "why": "down", "gap_ms": 120}}),
                "web from fra to ams (down, 120 ms without)",
            ),
            (
                json!({"kind": "endpoint.down", "endpoint": "e9", "manager": "m1", "details": {"why": "left"}}),
                "e9 on fra (left)",
            ),
            (
                json!({"kind": "endpoint.suspicious", "endpoint": "e1", "manager": "m1",
                    "details": {"why": "generation", "generation": "7.4"}}),
                "web on fra says that it is at generation 7.4, which is refused",
            ),
            (json!({"kind": "link.down", "manager": "m1", "details": {"to": "m2"}}), "fra to ams"),
            (json!({"kind": "manager.lost", "manager": "m2", "details": {"seen_by": "m1"}}), "ams (seen by fra)"),
            (
                json!({"kind": "admin.changed", "details": {"action": "network.add", "by": {"kind": "local", "id": "m1", "name": "fra", "person": "ann (as root)"},
                    "subject": {"kind": "network", "id": "n2", "name": "lab"}}}),
                "network.add lab (n2) by ann (as root) on fra",
            ),
            (json!({"kind": "manager.upgraded"}), ""),
        ] {
            let mut event = event;
            event["id"] = "x".into();
            event["at"] = "2026-11-21T06:22:38Z".into();
            let event: Event = serde_json::from_value(event).unwrap();
            assert_eq!(told(&event, &names), expected);
        }
    }
}
