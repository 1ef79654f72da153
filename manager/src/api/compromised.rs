//! What follows the removal of a manager that fell into the wrong hands: whoever has its files knows the secrets of the cluster.

use axum::http::StatusCode;
use festoon_api::{CaReplacement, CompromisedRemoved};
use festoon_control::registry::{AuthorityError, AuthorityRole, Refusal, State};

use super::{Api, Caller};
use crate::cluster::ProposeError;
use crate::https::Refused;
use crate::vault::{NextAuthorityError, begin_ca_rotation};

impl From<NextAuthorityError> for Refused {
    fn from(error: NextAuthorityError) -> Self {
        match error {
            NextAuthorityError::Vault(error) => error.into(),
            NextAuthorityError::Propose(error) => error.into(),
            NextAuthorityError::NoCluster => Self::internal(),
            NextAuthorityError::Busy => {
                Self::new(StatusCode::CONFLICT, "secrets-busy", &error.to_string()).retry_after(1)
            }
        }
    }
}

/// Refuses to act on a manager that is not trusted any more at that manager itself: it would make the next CA.
pub(super) fn refuse_at_itself(api: &Api, id: festoon_proto::ManagerId) -> Result<(), Refused> {
    if id != api.manager {
        return Ok(());
    }
    let text = "this is the manager that is to be removed as compromised, and it would know the new CA too: ask another manager";
    Err(Refused::new(StatusCode::CONFLICT, "manager-is-this-one", text))
}

/// Begins to replace the CA after a manager was removed that `knew_secrets`, and says what comes next. The manager is removed in any
/// case: what fails from here on is told, and is no refusal.
pub(super) async fn after_removal(api: &Api, caller: &Caller, knew_secrets: bool) -> CompromisedRemoved {
    if !knew_secrets {
        let next = vec!["Join another witness in its place: `festoon-manager tokens add --witness`.".to_owned()];
        return CompromisedRemoved { ca: CaReplacement::NotNeeded, problem: None, next };
    }
    let state = api.cluster.snapshot();
    match begin_ca_rotation(&api.cluster, &api.vault, caller.author).await {
        Ok(fingerprint) => {
            tracing::info!(%fingerprint, "the next CA was made, for a manager that was removed is compromised");
            let first = "Run `festoon-manager ca promote` once `festoon-manager ca show` says that every manager is ready, and \
                         `festoon-manager ca retire` once it says so again.";
            told(CaReplacement::Begun, None, vec![first.to_owned()])
        }
        Err(error) => {
            tracing::warn!(%error, "a compromised manager was removed, and the CA that it knows is still used");
            told(CaReplacement::NotBegun, Some(error.to_string()), begin_anew(&state, &error))
        }
    }
}

fn told(ca: CaReplacement, problem: Option<String>, mut next: Vec<String>) -> CompromisedRemoved {
    let others = [
        "Make a new recovery key with `festoon-manager snapshots key`, and a new snapshot with `festoon-manager snapshots create`.",
        "Have every user set a new password and a new second factor: the manager had their hashes and secrets.",
        "Replace the secrets of event destinations and of the identity provider: the manager knew them.",
    ];
    next.extend(others.map(str::to_owned));
    CompromisedRemoved { ca, problem, next }
}

/// How to begin the replacement later. One that is on already does not help: the manager knows the key of that CA too.
fn begin_anew(state: &State, error: &NextAuthorityError) -> Vec<String> {
    let is_on = matches!(
        error,
        NextAuthorityError::Propose(ProposeError::Refused(Refusal::Authority(
            AuthorityError::Rotating(_) | AuthorityError::NextWaits(_)
        )))
    );
    let is_unused = state.vault().authority(AuthorityRole::Next).is_some();
    let text = match (is_on, is_unused) {
        (true, true) => {
            "The removed manager knows the next CA too: give it up with `festoon-manager ca retire --next`, then begin with \
             `festoon-manager ca rotate`."
        }
        (true, false) => {
            "The removed manager knows the new CA too: run `festoon-manager ca retire`, then begin again with \
             `festoon-manager ca rotate`."
        }
        (false, _) => "Begin to replace the CA with `festoon-manager ca rotate`.",
    };
    vec![text.to_owned()]
}
