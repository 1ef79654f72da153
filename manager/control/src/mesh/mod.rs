//! The mesh of managers: who is linked to whom, and which manager carries which endpoint.
//!
//! Soft state, agreed on without consensus. Each manager floods what is new over its links, and of two statements the
//! higher wins everywhere: of attachments that with the higher generation, of link states that with the higher
//! sequence. So all that can reach each other end with the same, whatever was lost, delayed or reordered on the way.

mod change;
mod flood;
mod outbox;
mod own_links;
mod presence;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
mod tests;
mod topology;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use festoon_proto::signal::{Flood, FloodAck, LinkState, ManagerState, Message};
use festoon_proto::{Attachment, EndpointId, Generation, ManagerId};

pub use change::Change;

use change::Changes;
use flood::{MAX_NEIGHBOURS, News, Topic};
use outbox::{End, Outbox};
use own_links::OwnLinks;
use presence::{Presence, PresenceTable};
use topology::Topology;

/// Where packets for an endpoint go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Into its tunnel: this manager carries it.
    Local,
    /// Over the link to this neighbour, which carries it or is nearer to who does.
    Via(ManagerId),
    /// Nowhere: the manager that carries it cannot be reached.
    Unreachable,
    /// Nowhere: no manager carries it.
    Unattached,
}

/// One manager's part in the mesh.
///
/// - Getters: [`attachment`](Self::attachment), [`route_to`](Self::route_to), [`next_hop`](Self::next_hop), ...
/// - Input, `handle_*`: links that come and go, floods of neighbours, time.
/// - Mutators: [`set_managers`](Self::set_managers), [`attach`](Self::attach), ...
/// - Output, `poll_*`: messages to send, changes to act on, the next timeout.
///
/// After any call with a `now`, poll the messages and changes until there are none, and ask for the timeout anew. Whether
/// a link is up is decided outside.
#[derive(Debug)]
pub struct Mesh {
    me: ManagerId,
    /// The latest time anyone told.
    now: Option<Instant>,
    own_links: OwnLinks,
    topology: Topology,
    presence: PresenceTable,
    /// One for each link that is up.
    outboxes: BTreeMap<ManagerId, Outbox>,
    /// The last flood of each neighbour that asked for everything, so that its repetition does not ask again.
    asked: BTreeMap<ManagerId, u64>,
    next_sequence: u64,
    changes: Changes,
}

impl Mesh {
    /// A manager that has just started, alone. `first_sequence` must differ from start to start and should grow, as
    /// milliseconds since 1970 do. If it does not, the manager outbids what the others remember of it.
    pub fn new(me: ManagerId, first_sequence: u64) -> Self {
        let own_links = OwnLinks::new(me, first_sequence);
        Self {
            me,
            now: None,
            topology: Topology::new(own_links.statement().clone()),
            own_links,
            presence: PresenceTable::default(),
            outboxes: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_sequence: first_sequence,
            changes: Changes::default(),
        }
    }

    /// The attachment with the highest generation known of an endpoint; none once it left.
    pub fn attachment(&self, endpoint: EndpointId) -> Option<Attachment> {
        self.presence.attachment(endpoint)
    }

    /// All attachments, by endpoint.
    pub fn attachments(&self) -> impl Iterator<Item = Attachment> + '_ {
        self.presence.attachments()
    }

    /// The highest generation known of an endpoint, whether it is attached or left.
    pub fn generation(&self, endpoint: EndpointId) -> Option<Generation> {
        self.presence.get(endpoint).map(|known| known.generation())
    }

    /// Whether an endpoint may have this generation, as far as this manager knows. Ask before [`attach`](Self::attach) and
    /// [`detach`](Self::detach) with a generation that an endpoint says.
    pub fn may_have(&self, endpoint: EndpointId, generation: Generation) -> bool {
        match self.generation(endpoint) {
            None => generation.may_be_first(),
            Some(known) => generation.may_follow(known),
        }
    }

    /// Whether [`attach`](Self::attach) would change anything.
    pub fn is_news(&self, attachment: Attachment) -> bool {
        self.presence.is_news(Presence::Attached(attachment))
    }

    /// The endpoints that a manager carries, as far as this one knows.
    pub fn carried_by(&self, manager: ManagerId) -> &BTreeSet<EndpointId> {
        self.presence.carried_by(manager)
    }

    /// Where packets for an endpoint go.
    pub fn route_to(&self, endpoint: EndpointId) -> Route {
        match self.attachment(endpoint) {
            None => Route::Unattached,
            Some(attachment) if attachment.manager == self.me => Route::Local,
            Some(attachment) => self.next_hop(attachment.manager).map_or(Route::Unreachable, Route::Via),
        }
    }

    /// The neighbour that begins the shortest path to another manager; none when it cannot be reached.
    pub fn next_hop(&self, manager: ManagerId) -> Option<ManagerId> {
        self.topology.path(manager).map(|path| path.next_hop)
    }

    /// Whether a manager can be reached, directly or through others. This one always can.
    pub fn is_reachable(&self, manager: ManagerId) -> bool {
        self.path_rtt(manager).is_some()
    }

    /// The round-trip time along the path to a manager, as far as its links were measured.
    pub fn path_rtt(&self, manager: ManagerId) -> Option<Duration> {
        if manager == self.me {
            return Some(Duration::ZERO);
        }
        self.topology.path(manager).map(|path| path.rtt)
    }

    /// What a manager last said of itself. Nobody says that it stopped: see [`Mesh::is_reachable`].
    pub fn state_of(&self, manager: ManagerId) -> Option<ManagerState> {
        self.topology.link_state(manager).map(|links| links.state)
    }

    /// The members of the cluster. Links of those that are gone are forgotten; floods and links of others are ignored.
    pub fn set_managers(&mut self, now: Instant, managers: impl IntoIterator<Item = ManagerId>) {
        self.now = Some(now);
        let mut own_links_changed = false;
        for gone in self.topology.set_members(managers) {
            self.outboxes.remove(&gone);
            self.asked.remove(&gone);
            own_links_changed |= self.own_links.set_down(gone);
        }
        if own_links_changed {
            self.state_own_links(now, 0);
        }
        self.refresh_paths();
    }

    /// Whether this manager asks endpoints to move away, because it is about to stop.
    pub fn set_draining(&mut self, now: Instant, draining: bool) {
        self.now = Some(now);
        let state = if draining { ManagerState::Draining } else { ManagerState::Serving };
        if self.own_links.set_state(state) {
            self.state_own_links(now, 0);
        }
    }

    /// An endpoint says that this manager carries it (or the manager says so for a stock client). Returns the highest
    /// attachment known: the one given if it stands, otherwise one that supersedes it. After a departure that is later
    /// than the attachment, the one returned is only there to be exceeded.
    pub fn attach(&mut self, now: Instant, attachment: Attachment) -> Attachment {
        self.now = Some(now);
        self.merge_presence(now, None, Presence::Attached(attachment));
        match self.presence.get(attachment.endpoint) {
            Some(Presence::Attached(highest)) => highest,
            Some(Presence::Left(_, generation)) => Attachment { generation: generation.next(), ..attachment },
            None => attachment,
        }
    }

    /// An endpoint leaves: ends its attachments of this or a lower generation.
    pub fn detach(&mut self, now: Instant, endpoint: EndpointId, generation: Generation) {
        self.now = Some(now);
        self.merge_presence(now, None, Presence::Left(endpoint, generation));
    }

    /// Forgets endpoints that were removed from the registry. Not flooded, every manager learns it from its own registry.
    pub fn forget_endpoints(&mut self, endpoints: impl IntoIterator<Item = EndpointId>) {
        for endpoint in endpoints {
            if self.presence.forget(endpoint) {
                self.changes.add_endpoint(endpoint);
            }
        }
    }

    /// A link came up. Both ends tell each other all they know. Called again for a link that is up, they do so again.
    pub fn handle_link_up(&mut self, now: Instant, neighbour: ManagerId, rtt: Duration) {
        self.now = Some(now);
        if neighbour == self.me || !self.topology.is_member(neighbour) {
            return;
        }
        self.own_links.set_up(neighbour, rtt);
        self.state_own_links(now, 0);
        let mut outbox = Outbox::new(rtt, if self.me < neighbour { End::First } else { End::Last });
        outbox.resync(topics(&self.topology, &self.presence));
        self.outboxes.insert(neighbour, outbox);
    }

    /// The round-trip time of a link was measured. Only a large change is told, and not often.
    pub fn handle_link_rtt(&mut self, now: Instant, neighbour: ManagerId, rtt: Duration) {
        self.now = Some(now);
        if let Some(outbox) = self.outboxes.get_mut(&neighbour) {
            outbox.set_rtt(rtt);
        }
        if self.own_links.measure(now, neighbour, rtt) {
            self.state_own_links(now, 0);
        }
    }

    /// A link went down.
    pub fn handle_link_down(&mut self, now: Instant, neighbour: ManagerId) {
        self.now = Some(now);
        self.outboxes.remove(&neighbour);
        self.asked.remove(&neighbour);
        if self.own_links.set_down(neighbour) {
            self.state_own_links(now, 0);
        }
    }

    /// A neighbour has news. It is believed even while the link is down on this side, but acknowledged only once it is
    /// up: until then the neighbour says it again.
    pub fn handle_flood(&mut self, now: Instant, from: ManagerId, flood: Flood) {
        self.now = Some(now);
        if from == self.me || !self.topology.is_member(from) {
            return;
        }
        let asks = flood.wants_all && self.asked.insert(from, flood.sequence) != Some(flood.sequence);
        if let Some(outbox) = self.outboxes.get_mut(&from) {
            outbox.acknowledge(flood.sequence);
            if asks {
                outbox.resync(topics(&self.topology, &self.presence));
            }
        }
        let attached = flood.attachments.into_iter().map(Presence::Attached);
        let left = flood.detachments.into_iter().map(|(endpoint, generation)| Presence::Left(endpoint, generation));
        // No manager that is sound says what is impossible, and whoever believed it could never be told better.
        for presence in attached.chain(left).filter(|presence| presence.generation().is_possible()) {
            self.merge_presence(now, Some(from), presence);
        }
        for links in flood.links {
            self.merge_links(now, from, links);
        }
    }

    /// A neighbour has received news.
    pub fn handle_flood_ack(&mut self, now: Instant, from: ManagerId, ack: FloodAck) {
        self.now = Some(now);
        if let Some(outbox) = self.outboxes.get_mut(&from) {
            outbox.handle_ack(ack.sequence);
        }
    }

    /// The time that [`Mesh::poll_timeout`] gave has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
        self.presence.expire(now);
        for outbox in self.outboxes.values_mut() {
            outbox.handle_timeout(now);
        }
        if self.own_links.handle_timeout(now) {
            self.state_own_links(now, 0);
        }
    }

    /// When to call [`Mesh::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = [self.presence.next_expiry(), self.own_links.poll_timeout()];
        self.outboxes.values().map(Outbox::poll_timeout).chain(own).flatten().min()
    }

    /// The next message, and the neighbour it is for.
    pub fn poll_transmit(&mut self) -> Option<(ManagerId, Message)> {
        let Self { now, topology, presence, outboxes, next_sequence, .. } = self;
        let now = (*now)?;
        let news_of = |topic| match topic {
            Topic::Links(origin) => topology.link_state(origin).map(News::Links),
            Topic::Endpoint(endpoint) => presence.get(endpoint).map(News::Endpoint),
        };
        outboxes.iter_mut().find_map(|(&neighbour, outbox)| {
            outbox.poll_transmit(now, next_sequence, news_of).map(|message| (neighbour, message))
        })
    }

    /// The next thing that changed.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop()
    }

    fn merge_presence(&mut self, now: Instant, from: Option<ManagerId>, presence: Presence) {
        let endpoint = presence.endpoint();
        let order = self.presence.merge(now, presence);
        if order == Ordering::Greater {
            self.changes.add_endpoint(endpoint);
        }
        self.spread(Topic::Endpoint(endpoint), from, order);
    }

    fn merge_links(&mut self, now: Instant, from: ManagerId, links: LinkState) {
        if links.origin == self.me {
            return self.handle_echo(now, from, &links);
        }
        if links.neighbours.len() > MAX_NEIGHBOURS {
            return; // No manager says this, and it could not be passed on.
        }
        if !self.topology.is_possible(&links) {
            return; // Its origin could not outbid it.
        }
        let topic = Topic::Links(links.origin);
        let order = self.topology.merge(links);
        self.spread(topic, Some(from), order);
        if order == Ordering::Greater {
            self.refresh_paths();
        }
    }

    /// A neighbour tells what it remembers of this manager's own links. Should that win over what they are now, then it is
    /// from an earlier life and must be outbid (as in OSPF, RFC 2328 section 13.4).
    fn handle_echo(&mut self, now: Instant, from: ManagerId, echo: &LinkState) {
        let own = self.own_links.statement();
        if echo.sequence >= own.sequence && echo != own {
            return self.state_own_links(now, echo.sequence);
        }
        let order = echo.sequence.cmp(&own.sequence);
        self.spread(Topic::Links(self.me), Some(from), order);
    }

    fn state_own_links(&mut self, now: Instant, echo: u64) {
        self.own_links.state_anew(now, echo);
        let order = self.topology.merge(self.own_links.statement().clone());
        self.spread(Topic::Links(self.me), None, order);
        self.refresh_paths();
    }

    /// Passes on what was just compared with what `from` (or none: this manager itself) said.
    fn spread(&mut self, topic: Topic, from: Option<ManagerId>, order: Ordering) {
        let source = from.and_then(|from| self.outboxes.get_mut(&from));
        match (order, source) {
            (Ordering::Less, Some(outbox)) => outbox.answer(topic),
            (Ordering::Equal, Some(outbox)) => outbox.forget(topic),
            (Ordering::Greater, _) => {
                for (&neighbour, outbox) in &mut self.outboxes {
                    if Some(neighbour) == from { outbox.forget(topic) } else { outbox.queue(topic) }
                }
            }
            _ => {}
        }
    }

    fn refresh_paths(&mut self) {
        let changes = self.topology.refresh();
        self.changes.add_paths(&changes);
    }
}

/// Everything there is to tell.
fn topics<'a>(topology: &'a Topology, presence: &'a PresenceTable) -> impl Iterator<Item = Topic> + 'a {
    topology.origins().map(Topic::Links).chain(presence.endpoints().map(Topic::Endpoint))
}
