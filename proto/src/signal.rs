//! Signal messages: what nodes tell each other inside their tunnels.
//!
//! A message is the payload of a UDP datagram between the link-local addresses of the two ends, port
//! [`SIGNAL_PORT`](crate::address::SIGNAL_PORT). The tunnel authenticates it. One byte of version, then
//! [postcard](https://postcard.jamesmunns.com/wire-format).

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::map::MapVersion;
use crate::{Attachment, EndpointId, Generation, ManagerId};

/// The version this package speaks.
pub const SIGNAL_VERSION: u8 = 1;

/// The largest message in bytes: fits the smallest overlay MTU (1,280) with its IPv6 and UDP headers.
pub const MAX_SIGNAL_LEN: usize = 1232;

/// Attachments that fit in one [`Flood`] beside its links, worst case.
pub const MAX_FLOOD_ATTACHMENTS: usize = 40;

/// A message between two ends of a tunnel or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Are you there?
    Probe(Probe),
    /// Yes, and here is what you should know.
    ProbeReply(ProbeReply),
    /// Endpoint to manager: carry me from now on.
    Attach(Attach),
    /// Manager to endpoint: the highest attachment I know of you.
    AttachReply(AttachReply),
    /// Endpoint to manager: I am leaving, forget my attachment of this or a lower generation.
    Detach(Detach),
    /// Manager to endpoint: I find your manager dead; look for yourself.
    Suspect(Suspect),
    /// Manager to manager: news.
    Flood(Flood),
    /// Manager to manager: news received.
    FloodAck(FloodAck),
}

/// Are you there? Sent by endpoints to managers and by managers to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Echoed in the reply. Only the sender gives it a meaning.
    pub sequence: u32,
}

/// Whether a manager takes new endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManagerState {
    /// It does.
    Serving,
    /// It is about to stop: move away.
    Draining,
}

/// The answer to a [`Probe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReply {
    /// That of the probe.
    pub sequence: u32,
    /// Whether the manager takes endpoints.
    pub state: ManagerState,
    /// The shortest interval between probes that the manager wants, in milliseconds.
    pub probe_interval_ms: u32,
    /// The newest version the manager has of the map of whoever asked.
    pub map_version: MapVersion,
    /// The attachment the manager knows of the endpoint that asked; none for a manager.
    pub attachment: Option<Attachment>,
    /// The underlay address that the manager sends this answer to: where the probe seems to come from. Behind a NAT it is not
    /// the sender's own.
    pub observed: Option<SocketAddr>,
}

/// Carry me.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The generation of the attachment that begins.
    pub generation: Generation,
    /// Why it does. Said again with every repetition.
    pub why: MoveReason,
    /// How long the manager before had been silent when the endpoint left it, in milliseconds; none if it had none. What
    /// the endpoint lost by the move is about that long.
    pub gap_ms: Option<u32>,
}

/// Forget my attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detach {
    /// The generation of the attachment that ends.
    pub generation: Generation,
}

/// Why an endpoint attached to a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveReason {
    /// It had no manager.
    Started,
    /// Its manager is dead.
    ManagerDead,
    /// Its manager drains.
    Draining,
    /// Its manager is no longer in the map.
    ManagerRemoved,
    /// A manager of higher priority is back.
    Priority,
    /// A manager of the same priority is much nearer.
    Nearer,
    /// Somebody else attached with its identity: its state is from an old backup, or its machine was cloned.
    Overtaken,
}

impl MoveReason {
    /// All there are.
    pub const ALL: &[Self] = &[
        Self::Started,
        Self::ManagerDead,
        Self::Draining,
        Self::ManagerRemoved,
        Self::Priority,
        Self::Nearer,
        Self::Overtaken,
    ];

    /// A stable word for programs: the one it is serialized as in text.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::ManagerDead => "manager_dead",
            Self::Draining => "draining",
            Self::ManagerRemoved => "manager_removed",
            Self::Priority => "priority",
            Self::Nearer => "nearer",
            Self::Overtaken => "overtaken",
        }
    }
}

impl fmt::Display for MoveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "it had no manager",
            Self::ManagerDead => "its manager is dead",
            Self::Draining => "its manager drains",
            Self::ManagerRemoved => "its manager was removed",
            Self::Priority => "a manager of higher priority is back",
            Self::Nearer => "a nearer manager was found",
            Self::Overtaken => "another runs with its identity",
        })
    }
}

/// The highest attachment the manager knows. An endpoint that finds another than its own has been overtaken (its state
/// came from an old backup, or its machine was cloned) and attaches again with a higher generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachReply {
    /// That attachment.
    pub attachment: Attachment,
}

/// A manager seems to be dead. A hint, not a verdict: the endpoint probes it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// Which one.
    pub manager: ManagerId,
}

/// What one manager says of its links. The highest sequence wins; its own author corrects an older echo of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// Whose links these are.
    pub origin: ManagerId,
    /// Grows with every statement of this origin.
    pub sequence: u64,
    /// Whether the origin takes endpoints.
    pub state: ManagerState,
    /// Its neighbours that are up, with the round-trip time in microseconds.
    pub neighbours: Vec<(ManagerId, u32)>,
}

/// News, acknowledged link by link with [`FloodAck`] and sent again until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flood {
    /// Echoed in the acknowledgement.
    pub sequence: u64,
    /// Attachments, each of another endpoint.
    pub attachments: Vec<Attachment>,
    /// Endpoints that left, with the generation at which they did.
    pub detachments: Vec<(EndpointId, Generation)>,
    /// Link states, each of another origin.
    pub links: Vec<LinkState>,
    /// The sender starts from nothing or has lost touch: tell it everything you know.
    pub wants_all: bool,
}

/// News received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloodAck {
    /// That of the flood.
    pub sequence: u64,
}

/// Bytes are not a signal message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("an empty signal message")]
    Empty,
    /// Made by a newer or older Festoon.
    #[error("signal version {0}, but this node speaks only version {SIGNAL_VERSION}: upgrade the older of the two")]
    Version(u8),
    /// The version is right, the rest is not.
    #[error("a malformed signal message")]
    Malformed,
}

/// A message does not fit in a datagram. A fault of the caller, which must split what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signal message does not fit in its buffer")]
pub struct EncodeError;

impl Message {
    /// Writes the message to the start of `buffer`, and says how many bytes it takes.
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let limit = buffer.len().min(MAX_SIGNAL_LEN);
        let (version, body) = buffer[..limit].split_first_mut().ok_or(EncodeError)?;
        *version = SIGNAL_VERSION;
        let used = postcard::to_slice(self, body).map_err(|_| EncodeError)?;
        Ok(1 + used.len())
    }

    /// The message that `bytes` hold, all of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
        if version != SIGNAL_VERSION {
            return Err(DecodeError::Version(version));
        }
        match postcard::take_from_bytes(body) {
            Ok((message, [])) => Ok(message),
            _ => Err(DecodeError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_largest_flood_fits_in_a_datagram() {
        let attachment = Attachment {
            endpoint: EndpointId(u64::MAX),
            manager: ManagerId(u16::MAX),
            generation: Generation(u64::MAX),
        };
        let neighbours = vec![(ManagerId(u16::MAX), u32::MAX); 8];
        let link =
            LinkState { origin: ManagerId(u16::MAX), sequence: u64::MAX, state: ManagerState::Draining, neighbours };
        let flood = Flood {
            sequence: u64::MAX,
            attachments: vec![attachment; MAX_FLOOD_ATTACHMENTS],
            detachments: Vec::new(),
            links: vec![link],
            wants_all: true,
        };
        let mut buffer = [0; 2048];
        let length = Message::Flood(flood.clone()).encode(&mut buffer).unwrap();
        assert_eq!(Message::decode(&buffer[..length]), Ok(Message::Flood(flood)));
    }

    #[test]
    fn other_versions_and_trailing_bytes_are_refused() {
        let mut buffer = [0; 64];
        let length = Message::Probe(Probe { sequence: 7 }).encode(&mut buffer).unwrap();
        assert_eq!(Message::decode(&buffer[..length + 1]), Err(DecodeError::Malformed));
        buffer[0] = 9;
        assert_eq!(Message::decode(&buffer[..length]), Err(DecodeError::Version(9)));
        assert_eq!(Message::decode(&[]), Err(DecodeError::Empty));
    }

    #[test]
    fn a_probe_reply_has_the_bytes_that_others_expect() {
        let reply = |observed: &str| {
            Message::ProbeReply(ProbeReply {
                sequence: 300,
                state: ManagerState::Draining,
                probe_interval_ms: 50,
                map_version: MapVersion(7),
                attachment: None,
                observed: observed.parse().ok(),
            })
        };
        let start = [1, 1, 0xac, 2, 1, 50, 7, 0];
        let v6 = [&[1, 1, 0x20, 1, 0xd, 0xb8][..], &[0; 11], &[5, 0xec, 0x94, 3]].concat();
        for (observed, end) in
            [("", &[0][..]), ("192.0.2.9:51820", &[1, 0, 192, 0, 2, 9, 0xec, 0x94, 3]), ("[2001:db8::5]:51820", &v6)]
        {
            let mut buffer = [0; 64];
            let length = reply(observed).encode(&mut buffer).unwrap();
            assert_eq!(buffer[..length], [&start[..], end].concat(), "{observed}");
            assert_eq!(Message::decode(&buffer[..length]), Ok(reply(observed)));
        }
    }

    proptest! {
        #[test]
        fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1400)) {
            let _ = Message::decode(&bytes);
        }
    }
}
