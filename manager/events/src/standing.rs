//! Which events a manager may tell. A connection says who speaks; what it says is believed only of what that one can have seen.

use festoon_proto::ManagerId;

use crate::{Event, Kind, Position, Source};

/// Bytes of JSON that an event may have.
pub const MAX_EVENT_LEN: usize = 8_192;
/// How far the life of a source may be ahead of this manager's clock, in milliseconds.
const MAX_AHEAD_MS: u64 = 86_400_000;

/// Who tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Teller {
    /// This manager.
    pub id: ManagerId,
    /// It carries no endpoints and decides nothing, so it speaks for itself alone.
    pub is_witness: bool,
}

/// Why an event is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Unbelieved {
    /// Its place is that of another source.
    #[error("its position is one of another source")]
    Source,
    /// Its source began to count in the future.
    #[error("its source would have begun in the future")]
    Life,
    /// Only the audit log tells of this.
    #[error("only the audit log may report events of this kind")]
    Audit,
    /// It is about a manager for which its source does not speak.
    #[error("its source may not report on the manager that it is about")]
    Manager,
    /// A witness can't have seen it.
    #[error("a witness can't have seen it")]
    Witness,
    /// It is too long.
    #[error("it is longer than {MAX_EVENT_LEN} bytes")]
    Size,
}

/// Whether `teller` may tell this, when it is `now_ms` here.
pub fn check(teller: Teller, now_ms: u64, position: Position, event: &Event) -> Result<(), Unbelieved> {
    if position.source != Source::Manager(teller.id) {
        return Err(Unbelieved::Source);
    }
    if position.place.life > now_ms.saturating_add(MAX_AHEAD_MS) {
        return Err(Unbelieved::Life);
    }
    check_kind(teller, event)?;
    // Its length is looked at last: that takes longest.
    let len = serde_json::to_vec(event).map_or(usize::MAX, |json| json.len());
    if len > MAX_EVENT_LEN { Err(Unbelieved::Size) } else { Ok(()) }
}

fn check_kind(teller: Teller, event: &Event) -> Result<(), Unbelieved> {
    let is_own = event.manager == Some(teller.id);
    let said_by_itself = || event.details.get("seen_by").and_then(|by| by.as_str()) == Some(&*teller.id.to_string());
    match event.kind {
        Kind::LinkUp | Kind::LinkDown | Kind::AuditHead | Kind::EventsLost => {
            if is_own && event.endpoint.is_none() {
                Ok(())
            } else {
                Err(Unbelieved::Manager)
            }
        }
        Kind::EndpointExpired
        | Kind::ManagerUpgraded
        | Kind::RouteOffered
        | Kind::RouteApproved
        | Kind::KeyRotated
        | Kind::TokenUsed
        | Kind::AdminChanged => Err(Unbelieved::Audit),
        _ if teller.is_witness => Err(Unbelieved::Witness),
        Kind::EndpointUp
        | Kind::EndpointDown
        | Kind::EndpointMoved
        | Kind::EndpointSuspicious
        | Kind::EndpointCopied
        | Kind::EventsSuppressed => {
            if is_own {
                Ok(())
            } else {
                Err(Unbelieved::Manager)
            }
        }
        // What it saw of another is told as what it saw.
        Kind::ManagerLost | Kind::ManagerReturned | Kind::AuditDiffers => {
            if said_by_itself() {
                Ok(())
            } else {
                Err(Unbelieved::Manager)
            }
        }
        Kind::WebhookTest | Kind::DestinationFailing | Kind::DestinationRecovered | Kind::DestinationMissed => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use festoon_proto::EndpointId;

    use super::*;
    use crate::{Details, Place};

    const ME: ManagerId = ManagerId(2);
    const FULL: Teller = Teller { id: ME, is_witness: false };
    const WITNESS: Teller = Teller { id: ME, is_witness: true };

    fn place(source: Source, life: u64) -> Position {
        Position { source, place: Place { life, number: 1 } }
    }

    fn about(kind: Kind, manager: u16) -> Event {
        Event { manager: Some(ManagerId(manager)), ..Event::new(0, kind) }
    }

    fn told(teller: Teller, event: &Event) -> Result<(), Unbelieved> {
        check(teller, 1_000, place(Source::Manager(ME), 1_000), event)
    }

    #[test]
    fn a_manager_takes_no_place_among_what_others_tell() {
        let up = about(Kind::EndpointUp, 2);
        for source in [Source::Audit, Source::Manager(ManagerId(3))] {
            assert_eq!(check(FULL, 1_000, place(source, 1), &up), Err(Unbelieved::Source));
        }
        assert_eq!(check(FULL, 1_000, place(Source::Manager(ME), u64::MAX), &up), Err(Unbelieved::Life));
    }

    #[test]
    fn a_manager_speaks_for_what_it_carries_and_says_who_saw_the_rest() {
        let up = Event { endpoint: Some(EndpointId(1)), ..about(Kind::EndpointUp, 2) };
        assert_eq!(told(FULL, &up), Ok(()));
        assert_eq!(told(FULL, &Event { manager: Some(ManagerId(3)), ..up }), Err(Unbelieved::Manager));
        assert_eq!(told(FULL, &about(Kind::LinkDown, 3)), Err(Unbelieved::Manager));
        let seen_by = |by: &str| Event {
            details: Details::from_iter([("seen_by".to_owned(), by.into())]),
            ..about(Kind::ManagerLost, 3)
        };
        assert_eq!((told(FULL, &seen_by("m2")), told(FULL, &seen_by("m1"))), (Ok(()), Err(Unbelieved::Manager)));
        assert_eq!(told(FULL, &about(Kind::AdminChanged, 2)), Err(Unbelieved::Audit));
    }

    #[test]
    fn a_witness_speaks_for_itself_alone() {
        for &kind in Kind::ALL {
            let is_told = told(WITNESS, &about(kind, 2)).is_ok();
            let may_be = matches!(kind, Kind::LinkUp | Kind::LinkDown | Kind::EventsLost | Kind::AuditHead);
            assert_eq!(is_told, may_be, "{kind}");
            assert!(told(WITNESS, &about(kind, 1)).is_err(), "{kind}");
        }
    }

    #[test]
    fn an_event_has_a_greatest_length() {
        let mut event = about(Kind::EndpointUp, 2);
        event.details.insert("why".to_owned(), "x".repeat(MAX_EVENT_LEN).into());
        assert_eq!(told(FULL, &event), Err(Unbelieved::Size));
    }
}
