//! Why a packet was dropped. The name is also the metric's label.

use std::fmt;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident => $label:literal,)*) => {
        /// Why a packet was dropped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// Every reason, in the order of its definition.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason as a metric's label: lower case with underscores.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// A datagram that is no message of the WireGuard protocol.
    MalformedDatagram => "malformed_datagram",
    /// A message for a session this node does not have, as after a restart.
    UnknownSession => "unknown_session",
    /// A handshake with a key that is nobody's here.
    UnknownKey => "unknown_key",
    /// A handshake that was not made for this node's key.
    InvalidMac => "invalid_mac",
    /// A handshake beyond what this node takes from its sender. It may have been answered with a cookie.
    RateLimited => "rate_limited",
    /// A handshake with a timestamp that is not later than one before, from the same key. It was answered with a cookie.
    StaleHandshake => "stale_handshake",
    /// A handshake that is repeated or does not decrypt.
    InvalidHandshake => "invalid_handshake",
    /// A message that does not decrypt.
    InvalidTag => "invalid_tag",
    /// A message received before, or too old to tell.
    Replayed => "replayed",
    /// A tunnel carried something that is no IP packet.
    MalformedPacket => "malformed_packet",
    /// An inner source address that does not belong to the tunnel it came from.
    ForeignSource => "foreign_source",
    /// An inner destination address that is not this endpoint's.
    ForeignDestination => "foreign_destination",
    /// A packet that prescribes its own route (RFC 7126 section 4.4, RFC 5095).
    SourceRouted => "source_routed",
    /// A broadcast or multicast, which a routed network does not carry.
    NotUnicast => "not_unicast",
    /// No prefix of the network covers the destination.
    NoRoute => "no_route",
    /// Addressed to the gateway, which answers nothing but echo requests.
    NotForGateway => "not_for_gateway",
    /// The hop limit ran out.
    HopLimit => "hop_limit",
    /// Larger than the network's MTU, and may not be fragmented.
    TooBig => "too_big",
    /// The endpoint has no manager now.
    EndpointDetached => "endpoint_detached",
    /// The endpoint was not heard for long by the manager that carries it.
    EndpointSilent => "endpoint_silent",
    /// There is no session with the other end, and no room for more packets that wait for one, or they waited too long.
    NoSession => "no_session",
    /// The manager that carries the endpoint cannot be reached.
    ManagerUnreachable => "manager_unreachable",
    /// This endpoint has no manager now.
    NoManager => "no_manager",
    /// A link carried a packet of a network that does not exist here.
    UnknownNetwork => "unknown_network",
    /// The packet crossed as many links as is allowed: managers disagree on the way.
    LinkHops => "link_hops",
    /// A link frame from an endpoint, or a bare packet from a manager.
    WrongFraming => "wrong_framing",
    /// The other end's underlay address is not known yet.
    NoUnderlayAddress => "no_underlay_address",
    /// A signal message that cannot be read.
    InvalidSignal => "invalid_signal",
    /// A signal message of an endpoint that sends too many of them, or too many of this kind.
    SignalLimit => "signal_limit",
    /// A frame from the local device whose offload header makes no sense.
    MalformedFrame => "malformed_frame",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// How many packets were dropped, by reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropCounters([u64; DropReason::ALL.len()]);

impl Default for DropCounters {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl DropCounters {
    /// Counts one packet.
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Counts several packets.
    pub fn count_many(&mut self, reason: DropReason, packets: u64) {
        self.0[reason as usize] += packets;
    }

    /// Packets dropped for `reason` so far.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason that occurred, with its count.
    pub fn nonzero(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.get(reason))).filter(|&(_, count)| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_counters_are_apart() {
        let mut labels: Vec<_> = DropReason::ALL.iter().map(|reason| reason.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::ALL.len());

        let mut counters = DropCounters::default();
        counters.count(DropReason::TooBig);
        counters.count(DropReason::TooBig);
        assert_eq!(counters.nonzero().collect::<Vec<_>>(), [(DropReason::TooBig, 2)]);
    }
}
