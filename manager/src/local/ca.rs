//! The CA of the cluster, step by step: the next one is trusted, then it issues certificates, then the one before is no
//! longer trusted. The registry keeps the order; what is asked here besides is who would be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use festoon_control::registry::{AuthorityRole, Command, Endpoint, State};
use festoon_proto::map::EndpointKind;
use festoon_proto::{EndpointId, Fingerprint, ManagerId};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{Admin, Opener};
use crate::certificate::{Answer, Shown};
use crate::https::{ApiJson, Refused, route};
use crate::vault::begin_ca_rotation;

/// `GET`: a [`CaReport`].
pub const CA: &str = "/v1/ca";
/// `POST`: makes the next CA and trusts it. Gets a [`CaReport`], as the others do.
pub const CA_ROTATE: &str = "/v1/ca/rotate";
/// `POST`: the next CA issues certificates from now on.
pub const CA_PROMOTE: &str = "/v1/ca/promote";
/// `POST`: a [`Retire`]. The CA before is no longer trusted.
pub const CA_RETIRE: &str = "/v1/ca/retire";

/// For another manager to say what it shows.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// Names of agents in a report.
const MAX_NAMES: usize = 10;

/// Which CA is to go, and whether anybody may be lost by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retire {
    /// The next one, which was never used, instead of the one before.
    pub next: bool,
    /// Even if managers or agents may be locked out.
    pub force: bool,
}

/// Which CAs there are, and who knows of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaReport {
    /// The CAs that are trusted.
    pub authorities: Vec<AuthorityRow>,
    /// All managers.
    pub managers: Vec<CaManagerRow>,
    /// While the CA is replaced: agents that no manager which answers has told of the new one.
    pub agents_untold: usize,
    /// The names of the first of them.
    pub agents_untold_names: Vec<String>,
}

/// A CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityRow {
    /// SHA-256 of its certificate.
    pub fingerprint: Fingerprint,
    /// What it is for.
    pub role: AuthorityRole,
}

/// How far a manager is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaManagerRow {
    /// Its id.
    pub id: ManagerId,
    /// Its name.
    pub name: String,
    /// What it shows and trusts; nothing if it does not answer.
    pub shown: Option<Shown>,
    /// Whether it is where the next step needs it to be.
    pub is_ready: bool,
}

impl CaReport {
    /// The CA of this role.
    pub fn authority(&self, role: AuthorityRole) -> Option<Fingerprint> {
        self.authorities.iter().find(|authority| authority.role == role).map(|authority| authority.fingerprint)
    }

    /// The agents that nobody has told yet, not all of them if they are many; none if there are none.
    pub fn untold(&self) -> Option<String> {
        let more = if self.agents_untold > self.agents_untold_names.len() { ", ..." } else { "" };
        let names = self.agents_untold_names.join(", ");
        (self.agents_untold > 0)
            .then(|| format!("agents not told of the new CA: {} ({names}{more})", self.agents_untold))
    }

    /// Who could never connect again if the CA before were retired now.
    fn lost(&self) -> Vec<String> {
        let managers = self.managers.iter().filter(|row| !row.is_ready).map(|row| match row.shown {
            Some(_) => format!("manager {} has no certificate of the new CA yet", row.name),
            None => format!("manager {} does not answer", row.name),
        });
        managers.chain(self.untold()).collect()
    }
}

/// Whether a manager is where the next step needs it: it trusts the next CA before that one is used, and shows a
/// certificate of it before the one before goes.
fn is_ready(state: &State, shown: Option<&Shown>) -> bool {
    let newest = state.vault().authority(AuthorityRole::Next).map(|next| next.fingerprint);
    let newest = newest.or_else(|| state.vault().issuer());
    let issuer = state.vault().issuer();
    shown.is_some_and(|shown| shown.issuer == issuer && newest.is_none_or(|newest| shown.trusted.contains(&newest)))
}

pub(super) async fn show(Shared(admin): Shared<Admin>) -> Result<Json<CaReport>, Refused> {
    report(&admin).await.map(Json)
}

pub(super) async fn rotate(Shared(admin): Shared<Admin>, opener: Opener) -> Result<Json<CaReport>, Refused> {
    let by = admin.author(opener);
    let fingerprint = begin_ca_rotation(&admin.cluster, &admin.keeper.vault, by).await?;
    tracing::info!(%fingerprint, "an admin made the next CA");
    report(&admin).await.map(Json)
}

pub(super) async fn promote(Shared(admin): Shared<Admin>, opener: Opener) -> Result<Json<CaReport>, Refused> {
    let next = named(&admin.cluster.snapshot(), AuthorityRole::Next)?;
    admin.propose(opener, Command::PromoteAuthority(next)).await?;
    tracing::info!(fingerprint = %next, "an admin lets the next CA issue certificates");
    report(&admin).await.map(Json)
}

pub(super) async fn retire(
    Shared(admin): Shared<Admin>,
    opener: Opener,
    ApiJson(request): ApiJson<Retire>,
) -> Result<Json<CaReport>, Refused> {
    let role = if request.next { AuthorityRole::Next } else { AuthorityRole::Previous };
    let fingerprint = named(&admin.cluster.snapshot(), role)?;
    let lost = if request.next || request.force { Vec::new() } else { report(&admin).await?.lost() };
    if !lost.is_empty() {
        let text = format!("the CA before is still needed ({}): wait, or give them up with --force", lost.join("; "));
        return Err(Refused::new(StatusCode::CONFLICT, "authority-needed", &text));
    }
    admin.propose(opener, Command::RetireAuthority(fingerprint)).await?;
    tracing::info!(%fingerprint, "an admin retired a CA");
    // No agent believes what a restore of an older one would bring back.
    if let Err(error) = admin.snapshots.keep(crate::snapshot::Reason::Asked).await {
        tracing::error!(%error, "there is no snapshot with the CA of now: run `festoon-manager snapshots create`");
    }
    report(&admin).await.map(Json)
}

/// The CA of this role, or what to do so that there is one.
fn named(state: &State, role: AuthorityRole) -> Result<Fingerprint, Refused> {
    let text = match (role, state.vault().authority(AuthorityRole::Next)) {
        (AuthorityRole::Previous, Some(_)) => {
            "nobody uses the next CA yet: run `festoon-manager ca promote` first, or give it up with `ca retire --next`"
        }
        _ => "the CA is not being replaced: begin with `festoon-manager ca rotate`",
    };
    let found = state.vault().authority(role).map(|authority| authority.fingerprint);
    found.ok_or_else(|| Refused::new(StatusCode::CONFLICT, "authority-not-next", text))
}

async fn report(admin: &Admin) -> Result<CaReport, Refused> {
    let state = admin.cluster.snapshot();
    let mut answers = ask_all(admin, &state).await;
    let told = answers.values_mut().flat_map(|answer| std::mem::take(&mut answer.told)).collect();
    let (agents_untold, agents_untold_names) = untold(&state, &told);
    let authorities = state.vault().authorities().iter();
    let managers = state.managers().map(|manager| {
        let shown = answers.remove(&manager.id).map(|answer| answer.shown);
        let is_ready = is_ready(&state, shown.as_ref());
        CaManagerRow { id: manager.id, name: manager.name.clone(), shown, is_ready }
    });
    Ok(CaReport {
        authorities: authorities.map(|one| AuthorityRow { fingerprint: one.fingerprint, role: one.role }).collect(),
        managers: managers.collect(),
        agents_untold,
        agents_untold_names,
    })
}

/// What the managers say that answer.
async fn ask_all(admin: &Admin, state: &State) -> BTreeMap<ManagerId, Answer> {
    let mut asked = JoinSet::new();
    for id in state.managers().map(|manager| manager.id).filter(|id| *id != admin.manager) {
        let managers = admin.keeper.managers.clone();
        asked.spawn(
            async move { (id, managers.post(id, route::CERTIFICATE_SHOWN.path(), Bytes::new(), ASK_LIMIT).await) },
        );
    }
    let mut answers = BTreeMap::from([(admin.manager, Answer::of(&admin.keeper))]);
    while let Some(answered) = asked.join_next().await {
        let Ok((id, Ok(answer))) = answered else { continue };
        if let Ok(answer) = serde_json::from_slice(&answer) {
            answers.insert(id, answer);
        }
    }
    answers
}

/// How many agents were not told of the CA that was added last, and the names of the first of them.
fn untold(state: &State, told: &BTreeSet<EndpointId>) -> (usize, Vec<String>) {
    if state.vault().authorities().len() < 2 {
        return (0, Vec::new());
    }
    let is_untold = |endpoint: &&Endpoint| endpoint.kind == EndpointKind::Agent && !told.contains(&endpoint.id);
    let untold = || state.endpoints().filter(is_untold);
    (untold().count(), untold().take(MAX_NAMES).map(|agent| agent.name.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Authority;
    use crate::vault::add_authority;
    use crate::vault::tests::{founded, then, vault};

    fn shown(issuer: Fingerprint, trusted: &[Fingerprint]) -> Shown {
        Shown { issuer: Some(issuer), until_unix_ms: 0, trusted: trusted.to_vec() }
    }

    #[test]
    fn every_step_waits_for_the_one_before() {
        let (state, authority) = founded();
        let next = Authority::generate(state.cluster().unwrap()).unwrap();
        let (old, new) = (authority.fingerprint(), next.fingerprint());
        let added = add_authority(&next, &vault(1).data_key(&state).unwrap()).unwrap();
        let added = then(&state, &Command::AddAuthority(added));
        let promoted = then(&added, &Command::PromoteAuthority(new));
        let of_old = shown(old, &[old]);
        assert!(is_ready(&state, Some(&of_old)) && !is_ready(&state, None));
        assert!(!is_ready(&added, Some(&of_old)) && is_ready(&added, Some(&shown(old, &[old, new]))));
        assert!(!is_ready(&promoted, Some(&shown(old, &[old, new]))));
        assert!(is_ready(&promoted, Some(&shown(new, &[old, new]))));
        let word = |state: &State, role| named(state, role).map_err(|refused| format!("{refused:?}"));
        assert!(word(&state, AuthorityRole::Next).unwrap_err().contains("ca rotate"));
        assert!(word(&added, AuthorityRole::Previous).unwrap_err().contains("ca promote"));
        assert_eq!(word(&added, AuthorityRole::Next), Ok(new));
        assert_eq!(word(&promoted, AuthorityRole::Previous), Ok(old));
    }
}
