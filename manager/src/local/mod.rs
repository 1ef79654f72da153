//! What acts on the manager of one machine: HTTP over a Unix socket that only its owner can open. The API is served there too.

mod api;
mod ca;
mod membership;
mod opener;
mod own_key;
mod server;

pub use api::{LEAVE, OWN_KEY, PROMOTE, Promoted, REJOIN, RotationRequest, RotationResponse, STATUS};
pub use ca::{AuthorityRow, CA, CA_PROMOTE, CA_RETIRE, CA_ROTATE, CaManagerRow, CaReport, Retire};
pub(crate) use membership::see_that_others_carry;
pub use opener::Opener;
pub use server::{Admin, Leave, Server, build};
