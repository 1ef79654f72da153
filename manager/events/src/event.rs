//! An event, and where it stands.

use std::fmt;
use std::str::FromStr;

use festoon_proto::{EndpointId, Generation, ManagerId, NetworkId};
use serde::{Deserialize, Serialize};

/// Who tells of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// The audit log of the registry.
    Audit,
    /// The manager that saw it.
    Manager(ManagerId),
}

/// A place in what a source tells. Of two, the later is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Place {
    /// When the source began to count, in milliseconds since 1970: a manager that lost its record begins anew, and so does
    /// the audit log with an epoch of the registry. A later count is behind all of an earlier one.
    pub life: u64,
    /// The number in that count. It begins with 1.
    pub number: u64,
}

/// Where an event stands. Written `m3.1763737200000.17` or `audit.0.42`, and that is the event's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Who tells of it.
    pub source: Source,
    /// Where, in what that source tells.
    pub place: Place,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Audit => f.write_str("audit")?,
            Source::Manager(id) => id.fmt(f)?,
        }
        write!(f, ".{}.{}", self.place.life, self.place.number)
    }
}

/// More about an event: a JSON object.
pub type Details = serde_json::Map<String, serde_json::Value>;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since 1970, by the clock of the manager that saw it.
    pub at: u64,
    /// What.
    pub kind: Kind,
    /// To which endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointId>,
    /// At or to which manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<ManagerId>,
    /// In which network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkId>,
    /// Of the attachment that it is about. What happens to one endpoint is told in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// The generation that it follows at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<Generation>,
    /// More.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
}

impl Event {
    /// An event about nothing yet.
    pub fn new(at: u64, kind: Kind) -> Self {
        let details = Details::new();
        Self { at, kind, endpoint: None, manager: None, network: None, generation: None, follows: None, details }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What happened. The words are for good.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl Kind {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word for it.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

kinds! {
    /// An endpoint is carried, which nobody carried.
    EndpointUp = "endpoint.up",
    /// It left, is not heard any more, or was removed.
    EndpointDown = "endpoint.down",
    /// Another manager carries it.
    EndpointMoved = "endpoint.moved",
    /// Its time was over.
    EndpointExpired = "endpoint.expired",
    /// It does what only a broken, cloned or hostile endpoint does: `why` is `generation` or `changes`.
    EndpointSuspicious = "endpoint.suspicious",
    /// Somebody showed a credential of it that was replaced: there is a copy of the keys that it had.
    EndpointCopied = "endpoint.copied",
    /// A manager can't be reached.
    ManagerLost = "manager.lost",
    /// It can be again.
    ManagerReturned = "manager.returned",
    /// A manager runs another release.
    ManagerUpgraded = "manager.upgraded",
    /// The link from one manager to another is up, as the one sees it.
    LinkUp = "link.up",
    /// It is down.
    LinkDown = "link.down",
    /// An endpoint offers routes.
    RouteOffered = "route.offered",
    /// An admin changed which of them are used.
    RouteApproved = "route.approved",
    /// A key was replaced.
    KeyRotated = "key.rotated",
    /// Somebody joined with a token.
    TokenUsed = "token.used",
    /// Something else was changed: the details say what.
    AdminChanged = "admin.changed",
    /// A webhook is tried out.
    WebhookTest = "webhook.test",
    /// A manager saw more than it could keep.
    EventsLost = "events.lost",
    /// An endpoint caused more events than are told: how many, and what was the last of them.
    EventsSuppressed = "events.suppressed",
    /// The end of the audit log's chain, as a manager has it: whoever keeps it can check an export against it.
    AuditHead = "audit.head",
    /// A manager's audit log has another entry at the same place than that of the manager which tells it.
    AuditDiffers = "audit.differs",
    /// A destination of events takes none.
    DestinationFailing = "destination.failing",
    /// It takes them again.
    DestinationRecovered = "destination.recovered",
    /// Events were gone before they could be sent to a destination.
    DestinationMissed = "destination.missed",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// There is no such kind of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are no events of the kind {0:?}: see the list of kinds")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.iter().copied().find(|kind| kind.word() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for &kind in Kind::ALL {
            assert_eq!(kind.word().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert!("endpoint".parse::<Kind>().is_err());
    }

    #[test]
    fn an_id_says_where_it_stands() {
        let place = Place { life: 5, number: 17 };
        assert_eq!(Position { source: Source::Manager(ManagerId(3)), place }.to_string(), "m3.5.17");
        assert_eq!(Position { source: Source::Audit, place }.to_string(), "audit.5.17");
    }
}
