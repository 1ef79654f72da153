//! How a flood is filled so that it always fits in a datagram.

use festoon_proto::signal::{Flood, LinkState, MAX_FLOOD_ATTACHMENTS, MAX_SIGNAL_LEN};
use festoon_proto::{EndpointId, ManagerId};

use super::presence::Presence;

/// Neighbours in one link state. Far above the size of a cluster, and a link state with so many still fits in a flood.
pub(super) const MAX_NEIGHBOURS: usize = 128;

// The longest encodings in bytes: a varint of 16, 32 or 64 bits takes at most 3, 5 or 10.
const VERSION_AND_KIND: usize = 2;
const SEQUENCE_LENGTHS_AND_FLAG: usize = 10 + 3 * 2 + 1;
const ATTACHMENT: usize = 10 + 3 + 10;
const DEPARTURE: usize = 10 + 10;
const LINK_STATE: usize = 3 + 10 + 1 + 2;
const NEIGHBOUR: usize = 3 + 5;
const ROOM: usize = MAX_SIGNAL_LEN - VERSION_AND_KIND - SEQUENCE_LENGTHS_AND_FLAG;

const _: () = assert!(MAX_FLOOD_ATTACHMENTS * ATTACHMENT <= ROOM);
const _: () = assert!(LINK_STATE + MAX_NEIGHBOURS * NEIGHBOUR <= ROOM);

/// What a piece of news is about. Link states come first: paths matter more than what travels on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// The links of a manager.
    Links(ManagerId),
    /// The presence of an endpoint.
    Endpoint(EndpointId),
}

/// What is known about a topic.
#[derive(Debug)]
pub(super) enum News<'a> {
    Links(&'a LinkState),
    Endpoint(Presence),
}

impl News<'_> {
    /// The most bytes it can take in a flood.
    fn max_len(&self) -> usize {
        match self {
            Self::Links(state) => LINK_STATE + state.neighbours.len() * NEIGHBOUR,
            Self::Endpoint(Presence::Attached(_)) => ATTACHMENT,
            Self::Endpoint(Presence::Left(..)) => DEPARTURE,
        }
    }
}

/// A flood being filled.
#[derive(Debug)]
pub(super) struct Draft {
    flood: Flood,
    room: usize,
}

impl Draft {
    pub(super) fn new(sequence: u64, wants_all: bool) -> Self {
        let (attachments, detachments, links) = (Vec::new(), Vec::new(), Vec::new());
        Self { flood: Flood { sequence, attachments, detachments, links, wants_all }, room: ROOM }
    }

    /// Adds `news`, or says that there is no room for it.
    pub(super) fn push(&mut self, news: &News<'_>) -> bool {
        let Some(room) = self.room.checked_sub(news.max_len()) else { return false };
        match *news {
            News::Links(state) => self.flood.links.push(state.clone()),
            News::Endpoint(_) if self.endpoints() == MAX_FLOOD_ATTACHMENTS => return false,
            News::Endpoint(Presence::Attached(attachment)) => self.flood.attachments.push(attachment),
            News::Endpoint(Presence::Left(endpoint, generation)) => self.flood.detachments.push((endpoint, generation)),
        }
        self.room = room;
        true
    }

    /// The flood, unless it says nothing.
    pub(super) fn finish(self) -> Option<Flood> {
        (self.flood.wants_all || self.endpoints() > 0 || !self.flood.links.is_empty()).then_some(self.flood)
    }

    fn endpoints(&self) -> usize {
        self.flood.attachments.len() + self.flood.detachments.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use festoon_proto::signal::{ManagerState, Message};
    use festoon_proto::{Attachment, Generation};

    const ENDPOINT: EndpointId = EndpointId(u64::MAX);
    const MANAGER: ManagerId = ManagerId(u16::MAX);
    const GENERATION: Generation = Generation(u64::MAX);

    /// Fills a flood with the largest pieces of news in turn until one finds no room.
    fn filled(turn: &[News<'_>]) -> Flood {
        let mut draft = Draft::new(u64::MAX, true);
        turn.iter().cycle().take_while(|news| draft.push(news)).count();
        draft.finish().unwrap()
    }

    #[test]
    fn a_full_flood_of_any_mixture_fits_in_a_datagram() {
        let link_state = |neighbours| LinkState {
            origin: MANAGER,
            sequence: u64::MAX,
            state: ManagerState::Draining,
            neighbours: vec![(MANAGER, u32::MAX); neighbours],
        };
        let (usual, largest) = (link_state(8), link_state(MAX_NEIGHBOURS));
        let attachment = Attachment { endpoint: ENDPOINT, manager: MANAGER, generation: GENERATION };
        let attached = || News::Endpoint(Presence::Attached(attachment));
        let left = || News::Endpoint(Presence::Left(ENDPOINT, GENERATION));
        let mixtures = [
            vec![attached()],
            vec![left()],
            vec![attached(), left()],
            vec![News::Links(&usual)],
            vec![News::Links(&largest)],
            vec![News::Links(&usual), attached(), left()],
            vec![News::Links(&largest), attached(), left()],
        ];
        for mixture in mixtures {
            let flood = filled(&mixture);
            assert!(flood.attachments.len() + flood.detachments.len() <= MAX_FLOOD_ATTACHMENTS);
            let mut buffer = [0; MAX_SIGNAL_LEN];
            assert!(Message::Flood(flood).encode(&mut buffer).is_ok(), "{mixture:?}");
        }
        assert_eq!(filled(&[attached()]).attachments.len(), MAX_FLOOD_ATTACHMENTS);
    }

    #[test]
    fn a_flood_that_says_nothing_is_none() {
        assert_eq!(Draft::new(1, false).finish(), None);
        assert!(Draft::new(1, true).finish().is_some());
    }
}
