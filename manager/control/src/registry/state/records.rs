//! What a state is made of, and how it is stored.

use std::sync::Arc;

use festoon_proto::map::MapVersion;
use festoon_proto::token::SecretHash;
use festoon_proto::{ClusterId, EndpointId, Fingerprint, ManagerId, NetworkId, VerifyingKey};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::super::accounts::Accounts;
use super::super::answers::Answer;
use super::super::audit::Head;
use super::super::destinations::Destinations;
use super::super::format::Format;
use super::super::record::{Endpoint, Epoch, Kept, Manager, Network, Token};
use super::super::vault::Vault;

/// The records of a state: all of it that can't be derived.
///
/// `format` comes first, so that a program that does not know it stops there and says so. A later program adds its fields
/// at the end, under a format of their own, and reads and writes without them while [`State::format`](super::State::format)
/// is the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(in crate::registry) struct Records {
    pub(in crate::registry) format: Format,
    pub(in crate::registry) version: MapVersion,
    pub(in crate::registry) cluster: Option<ClusterId>,
    pub(in crate::registry) epoch: Epoch,
    pub(in crate::registry) networks: OrdMap<NetworkId, Arc<Network>>,
    // Behind an Arc, a record is neither copied when its neighbour in the tree changes nor spaced out by half-full nodes.
    pub(in crate::registry) endpoints: OrdMap<EndpointId, Arc<Endpoint>>,
    pub(in crate::registry) managers: OrdMap<ManagerId, Manager>,
    pub(in crate::registry) managers_changed: MapVersion,
    pub(in crate::registry) tokens: OrdMap<SecretHash, Arc<Token>>,
    /// By network, numbered in the order in which the endpoints left.
    pub(in crate::registry) kept: OrdMap<NetworkId, OrdMap<u64, Kept>>,
    pub(in crate::registry) vault: Arc<Vault>,
    // Ids are never used again: a late packet or an old backup must not speak for somebody new.
    pub(in crate::registry) last_network: u32,
    pub(in crate::registry) last_endpoint: u64,
    pub(in crate::registry) last_manager: u16,
    /// By idempotency key.
    pub(in crate::registry) answers: OrdMap<[u8; 16], Answer>,
    /// The end of the audit log.
    pub(in crate::registry) audited: Head,
    pub(in crate::registry) accounts: Accounts,
    pub(in crate::registry) destinations: Destinations,
    /// The public half of the key that is derived from the recovery key.
    pub(in crate::registry) recovery_key: Option<VerifyingKey>,
    /// The SHA-256 of the change that the cluster began with. Whoever joins knows it before it has a copy.
    pub(in crate::registry) founding: Option<Fingerprint>,
}
