//! What travels between the nodes of a Festoon overlay, and what it is called.
//!
//! Every other package imports this one and it imports none of them. It is *pure*: no sockets, no files, no clock, no
//! randomness.

pub mod access;
pub mod address;
pub mod attachment;
pub mod epoch;
mod fingerprint;
pub mod harmless;
pub mod http;
pub mod ids;
pub mod key;
pub mod link;
pub mod map;
pub mod signal;
mod signature;
mod text;
mod tie;
pub mod token;

pub use attachment::{Attachment, Generation};
pub use fingerprint::{Fingerprint, ParseFingerprintError};
pub use ids::{
    ApiTokenId, ClusterId, EndpointId, EpochId, EventDestinationId, JoinTokenId, ManagerId, NetworkId, SessionId,
    UserId,
};
pub use key::{PrivateKey, PublicKey};
pub use signature::{ParseSigningKeyError, Signature, SigningKey, VerifyingKey};
pub use tie::{Introduced, Introduction, Tie, introduced};
