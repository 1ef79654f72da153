//! The records a registry holds.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use festoon_proto::epoch::EpochProof;
use festoon_proto::http::ManagerRole;
use festoon_proto::map::{EndpointKind, MapVersion};
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{EndpointId, EpochId, Fingerprint, ManagerId, NetworkId, PublicKey, VerifyingKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::address::{self, AddressRange, Addresses, Family};
use super::{TokenPreset, UnixMs};

/// A prefix of a network, and where the search for its next free address begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// The prefix.
    pub net: IpNet,
    /// The offset in it of the next address to try. Goes round, so that the address of an endpoint that left is used
    /// again as late as possible: others may still have it in their caches.
    pub(super) next: u128,
}

impl Prefix {
    /// `net`, with nothing given away.
    pub(super) fn new(net: IpNet) -> Self {
        Self { net, next: *address::hosts(net).start() }
    }

    /// The address in it that every manager answers for.
    pub fn gateway(&self) -> IpAddr {
        address::gateway(self.net)
    }
}

/// An isolated overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its id.
    pub id: NetworkId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its prefixes, none overlapping another.
    pub prefixes: Vec<Prefix>,
    /// Addresses in them that endpoints get only when an admin names them.
    pub reserved: Vec<AddressRange>,
    /// What endpoints have or had addresses in, in order. Rounded up, so that it seldom changes; see [`given`](super::given).
    pub given: Vec<AddressRange>,
    /// The largest overlay packet in bytes.
    pub mtu: u16,
    /// The last command that changed what its endpoints know of it.
    pub changed: MapVersion,
}

impl Network {
    /// The prefix that `address` is in.
    pub(super) fn prefix_of(&self, address: IpAddr) -> Option<IpNet> {
        self.prefixes.iter().map(|prefix| prefix.net).find(|net| net.contains(&address))
    }

    pub(super) fn is_reserved(&self, address: IpAddr) -> bool {
        self.reserved.iter().any(|range| range.contains(address))
    }

    pub(super) fn has(&self, family: Family) -> bool {
        self.prefixes.iter().any(|prefix| Family::of(prefix.net.addr()) == family)
    }
}

/// A key that is still good beside the one that took its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousKey {
    /// The key.
    pub key: PublicKey,
    /// From when on it is not.
    pub until: UnixMs,
}

/// A host in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Its name, unique in its network.
    pub name: Arc<str>,
    /// Its network.
    pub network: NetworkId,
    /// Its addresses, one of each family the network had when it came.
    pub addresses: Addresses,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// The identity it had before, while that is good too. Boxed, for hardly any endpoint has one.
    pub previous_key: Option<Box<PreviousKey>>,
    /// What runs on it.
    pub kind: EndpointKind,
    /// The hash of its credential; none for a client, which never calls.
    pub credential: Option<SecretHash>,
    /// Whether it may use the overlay.
    pub is_enabled: bool,
    /// Whether it is removed once it has been away for a while.
    pub is_ephemeral: bool,
    /// What only some have. Boxed, and none if it says nothing, for there may be 100,000 endpoints.
    pub(super) details: Option<Box<Details>>,
    /// Whether an admin asked its agent for a new key, and it has not made one yet.
    pub is_key_due: bool,
    /// When it came.
    pub created: UnixMs,
    /// The last command that changed it.
    pub changed: MapVersion,
}

/// What only some endpoints have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(super) struct Details {
    /// Words that admins find it by, sorted.
    pub(super) tags: Vec<Arc<str>>,
    /// When it is removed by itself.
    pub(super) expires: Option<UnixMs>,
    /// What it would carry for others, by prefix.
    pub(super) routes: Vec<OfferedRoute>,
    /// The hash of the credential that it had before the one of now. Nobody gets in with it; whoever shows it holds a copy of
    /// what the endpoint was.
    pub(super) former_credential: Option<SecretHash>,
}

/// A prefix outside the overlay that an endpoint would carry packets to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedRoute {
    /// The prefix.
    pub prefix: IpNet,
    /// Whether an admin lets it. Nobody uses a route before.
    pub is_approved: bool,
}

impl Endpoint {
    /// Words that admins find it by, sorted.
    pub fn tags(&self) -> &[Arc<str>] {
        self.details.as_ref().map_or(&[], |details| &details.tags)
    }

    /// When it is removed by itself.
    pub fn expires(&self) -> Option<UnixMs> {
        self.details.as_ref().and_then(|details| details.expires)
    }

    /// What it would carry for others, by prefix.
    pub fn routes(&self) -> &[OfferedRoute] {
        self.details.as_ref().map_or(&[], |details| &details.routes)
    }

    /// The hash of the credential that was replaced last.
    pub fn former_credential(&self) -> Option<SecretHash> {
        self.details.as_ref().and_then(|details| details.former_credential)
    }

    /// Changes what only some have.
    pub(super) fn set_details(&mut self, change: impl FnOnce(&mut Details)) {
        let mut details = self.details.take().unwrap_or_default();
        change(&mut details);
        self.details = (*details != Details::default()).then_some(details);
    }

    /// The prefixes that it carries packets to, by an admin's leave.
    pub fn approved_routes(&self) -> impl Iterator<Item = IpNet> {
        self.routes().iter().filter(|route| route.is_approved).map(|route| route.prefix)
    }

    /// Every key it may use now, its own first.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> {
        [Some(self.public_key), self.previous_key.as_ref().map(|previous| previous.key)].into_iter().flatten()
    }
}

/// A node that switches and routes, or a witness of those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// Its id.
    pub id: ManagerId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// What it does.
    pub role: ManagerRole,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// The identity it had before, while that is good too.
    pub previous_key: Option<PreviousKey>,
    /// The key that secrets are sealed to for it (X25519).
    pub seal_key: Option<PublicKey>,
    /// The key that it signs with what it vouches for (Ed25519).
    pub signing_key: VerifyingKey,
    /// The SHA-256 of the public key of its first certificate, as SubjectPublicKeyInfo in DER (RFC 5280).
    pub first_tls_key: Fingerprint,
    /// How often it has begun anew, with an empty copy of the registry. What an earlier incarnation says is refused.
    pub incarnation: u32,
    /// Where its tunnels are reached, best first.
    pub underlay: Vec<SocketAddr>,
    /// Where its HTTPS listener is reached, best first.
    pub https: Vec<SocketAddr>,
    /// Declared preference, the higher the better.
    pub priority: u8,
    /// Where it is, as admins call it.
    pub region: Option<String>,
    /// Whether it is to take no endpoints and move away those it has.
    pub is_draining: bool,
    /// The highest format its program understands.
    pub format: u16,
    /// The release of Festoon that its program is, once it has run.
    pub release: Option<String>,
    /// The last command that changed it.
    pub changed: MapVersion,
}

impl Manager {
    /// Whether it carries endpoints.
    pub fn is_full(&self) -> bool {
        self.role == ManagerRole::Full
    }

    /// Every key it may use now, its own first.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> {
        [Some(self.public_key), self.previous_key.map(|previous| previous.key)].into_iter().flatten()
    }
}

/// A join token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it lets in.
    pub kind: TokenKind,
    /// What else is said of it. Boxed, and none if it says nothing: every endpoint came with a token.
    pub(super) preset: Option<Box<TokenPreset>>,
    /// The network an endpoint gets into.
    pub network: Option<NetworkId>,
    /// The addresses that are promised to that endpoint; none any more once it came or the token expired.
    pub promised: Addresses,
    /// When it was made.
    pub created: UnixMs,
    /// From when on it is refused.
    pub expires: UnixMs,
    /// Who came in with it last, and when.
    pub used: Option<Used>,
    /// How many came in with it.
    pub uses: u32,
    /// The last command that changed it.
    pub changed: MapVersion,
}

impl Token {
    /// What else is said of it.
    pub fn preset(&self) -> TokenPreset {
        self.preset.as_deref().cloned().unwrap_or_default()
    }

    /// Whether it lets in any number of endpoints.
    pub fn is_reusable(&self) -> bool {
        self.preset.as_ref().is_some_and(|preset| preset.is_reusable)
    }
}

/// Somebody came in with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Who.
    pub who: TokenUse,
    /// When.
    pub at: UnixMs,
}

/// Who came in with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenUse {
    /// This endpoint.
    Endpoint(EndpointId),
    /// This manager.
    Manager(ManagerId),
}

/// Addresses that wait for an endpoint to come back: a host that is joined again under its name, or with its key, is the
/// same host to whoever knows its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) name: Arc<str>,
    pub(super) public_key: PublicKey,
    pub(super) addresses: Addresses,
    pub(super) until: UnixMs,
}

/// The epoch of a cluster: the managers of a later one refuse those of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Epoch {
    /// Its number. A cluster begins with 1.
    pub number: u32,
    /// The act by which it began; the first began with nothing.
    pub began: Option<EpochProof>,
}

impl Epoch {
    /// What tells it from every other.
    pub fn id(&self) -> EpochId {
        let first = EpochId { began_unix_ms: 0, number: self.number, by: None };
        self.began.map_or(first, |proof| proof.epoch)
    }

    /// The version of the copy that it began from; 0 for the first.
    pub fn began_from(&self) -> MapVersion {
        self.began.map_or_else(MapVersion::default, |proof| proof.from)
    }
}
