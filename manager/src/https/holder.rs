//! Whose a connection is, as a request on it proved.

use festoon_control::registry::{State, UnixMs};
use festoon_proto::token::SecretHash;
use festoon_proto::{EndpointId, ManagerId};
use rustls::pki_types::CertificateDer;

use crate::accounts::Caller;
use crate::pki::manager_of;

/// A time that never comes.
const NEVER: UnixMs = UnixMs(u64::MAX);

/// Who proved on a connection who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// An endpoint, with the credential that has this hash.
    Endpoint(EndpointId, SecretHash),
    /// A user or a program, with a session or an API token, and what it was allowed then.
    Caller(Caller),
}

impl Holder {
    /// Until when it may use a connection, if the registry stays as it is in `state`; none if it may not any more.
    pub(super) fn until(&self, state: &State) -> Option<UnixMs> {
        match self {
            Self::Endpoint(id, shown) => {
                let endpoint = state.endpoint(*id).filter(|endpoint| endpoint.is_enabled)?;
                (endpoint.credential == Some(*shown)).then(|| endpoint.expires().unwrap_or(NEVER))
            }
            Self::Caller(caller) => caller.unchanged_until(state),
        }
    }
}

/// Until when the manager with this certificate may use a connection. A certificate that has expired ends nothing: whoever
/// shows it may still ask for the next one. One that `state` does not know yet has just joined.
pub(super) fn certified_until(certificate: &CertificateDer<'_>, state: &State) -> Option<UnixMs> {
    let given = (1..=u16::MAX).map(ManagerId).take_while(|id| state.was_given_to_manager(*id));
    match manager_of(certificate, given) {
        Some(id) => state.manager(id).map(|_| NEVER),
        None => Some(NEVER),
    }
}

/// Until when a connection may be used by all that proved on it who they are.
pub(super) fn until(
    certificate: Option<&CertificateDer<'_>>,
    holder: Option<&Holder>,
    state: &State,
) -> Option<UnixMs> {
    let by_certificate = certificate.map_or(Some(NEVER), |certificate| certified_until(certificate, state))?;
    let by_request = holder.map_or(Some(NEVER), |holder| holder.until(state))?;
    Some(by_certificate.min(by_request))
}
