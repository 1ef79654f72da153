//! `festoon-manager join`: another manager for a cluster.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use festoon_control::registry::FORMAT;
use festoon_proto::VerifyingKey;
use festoon_proto::address::MANAGER_TLS_NAME;
use festoon_proto::epoch::Roster;
use festoon_proto::http::{MANAGER_JOIN, ManagerJoinRequest, ManagerJoinResponse, ManagerRole, Problem};
use festoon_proto::token::{JoinToken, TokenKind};
use festoon_secrets::Source;

use super::args::{JoinArgs, ManagerArgs, WitnessArgs};
use super::output::print_people;
use crate::bounded;
use crate::cluster::{self, NO_SECRETS};
use crate::data_dir::{DataDir, Identity};
use crate::pki::{Credentials, Tied, TlsKey, certificates, client_config, fingerprints};

/// Of an answer: a few certificates and addresses.
const MAX_ANSWER: usize = 1 << 20;
/// What lets a manager in, and the variable of the environment that may have it.
const TOKEN: &str = "join token";
const TOKEN_VARIABLE: &str = "FESTOON_JOIN_TOKEN";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn full(root: &Path, args: JoinArgs) -> anyhow::Result<()> {
    let https = args.manager.https();
    let ManagerArgs { name, underlay, priority, .. } = args.manager;
    join(root, args.token.as_ref(), Newcomer { role: ManagerRole::Full, name, underlay, https, priority }).await
}

pub(super) async fn witness(root: &Path, args: WitnessArgs) -> anyhow::Result<()> {
    let WitnessArgs { token, name, https } = args;
    let newcomer = Newcomer { role: ManagerRole::Witness, name, underlay: Vec::new(), https, priority: 0 };
    join(root, token.as_ref(), newcomer).await
}

/// What a new manager says of itself.
struct Newcomer {
    role: ManagerRole,
    name: String,
    underlay: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    priority: u8,
}

async fn join(root: &Path, token: Option<&Source>, newcomer: Newcomer) -> anyhow::Result<()> {
    Source::hide(token, "festoon-manager", TOKEN, TOKEN_VARIABLE);
    let token: JoinToken = Source::read(token, TOKEN, TOKEN_VARIABLE)?.parse()?;
    if token.kind != TokenKind::Manager {
        bail!("this join token is for an endpoint: make one with `festoon-manager tokens add --manager`");
    }
    let data = DataDir::prepare(root)?;
    // On disk before any manager sees it: if the answer is lost, the token is good again only for whoever has this key.
    let new = TlsKey::generate()?;
    let tls = TlsKey::from_secret_pem(&data.joining_tls_key(|| new.to_secret_pem())?)?;
    let Newcomer { role, name, underlay, https, priority } = newcomer;
    let https_port = https.first().context("a manager has an HTTPS listener")?.port();
    let signing_key = data.signing_key_or_new()?;
    let request = ManagerJoinRequest {
        secret: token.secret.clone(),
        name,
        role,
        seal_key: match role {
            ManagerRole::Full => Some(data.seal_key_or_new()?.public_key()),
            ManagerRole::Witness => None,
        },
        public_key: data.private_key_or_new()?.public_key(),
        signing_key: signing_key.verifying_key(),
        csr_pem: tls.signing_request(&signing_key, &[])?,
        underlay,
        https,
        priority,
        format: FORMAT,
    };
    let response = ask_all(&token, &request).await?;
    if !fingerprints(&response.ca_pem)?.contains(&token.ca_fingerprint) || response.cluster != token.cluster {
        bail!("the manager that answered shows another cluster than the token: make a new token");
    }
    Credentials::create(&data, &response.ca_pem, &tls, &response.chain_pem)?;
    cluster::write_roster(&data, &believable(&response, &signing_key.verifying_key())?)?;
    let shown = certificates(&response.chain_pem)?.first().and_then(Tied::read);
    let introduced = shown
        .context("the manager that answered gave no usable certificate: run the same version of Festoon on both")?;
    cluster::write_introductions(&data, introduced.tie().introductions())?;
    // Of an interrupted `join`, or of a manager that left.
    data.put_registry_aside("before-join")?;
    data.put_records_aside("before-join")?;
    let ManagerJoinResponse { cluster, manager, epoch, .. } = response;
    data.write_identity(&Identity {
        cluster,
        manager,
        incarnation: 0,
        epoch,
        fenced_by: None,
        has_registry: false,
        https_port,
    })?;
    data.has_joined()?;
    print_people(&format!("This is manager {} of cluster {}.", response.manager, response.cluster))?;
    print_people(&format!("Next: festoon-manager serve --data-dir {}", root.display()))?;
    Ok(())
}

/// Who the managers are, as the one says that let this one in: of this cluster and epoch, and with this manager. How far its copy
/// goes it could only claim.
fn believable(response: &ManagerJoinResponse, own_key: &VerifyingKey) -> anyhow::Result<Roster> {
    let ManagerJoinResponse { cluster, epoch, manager, roster, .. } = response;
    let has_me = roster.managers.get(manager).is_some_and(|entry| entry.signing_key == *own_key);
    if (roster.cluster, roster.epoch) != (*cluster, *epoch) || !has_me {
        bail!("the manager that answered says of its cluster what can't be: ask another one, with a new token");
    }
    Ok(Roster { version: None, ..roster.clone() })
}

/// Asks the managers of the token one after the other, until one lets us in or says no.
async fn ask_all(token: &JoinToken, request: &ManagerJoinRequest) -> anyhow::Result<ManagerJoinResponse> {
    let mut failures = Vec::new();
    for &at in &token.managers {
        match ask(token, request, at).await {
            Ok(Answer::In(response)) => return Ok(response),
            Ok(Answer::Refused(problem)) if problem.kind != NO_SECRETS => bail!("{}", problem.title),
            Ok(Answer::Refused(problem)) => failures.push(format!("{at}: {}", problem.title)),
            Err(error) => failures.push(format!("{at}: {error:#}")),
        }
    }
    bail!("no manager let this one in: {}", failures.join("; "))
}

enum Answer {
    In(ManagerJoinResponse),
    Refused(Problem),
}

async fn ask(token: &JoinToken, request: &ManagerJoinRequest, at: SocketAddr) -> anyhow::Result<Answer> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(client_config(&[token.ca_fingerprint], None)?)
        .resolve(MANAGER_TLS_NAME, at)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .build()?;
    let url = format!("https://{MANAGER_TLS_NAME}:{}{MANAGER_JOIN}", at.port());
    let response = client.post(url).json(request).send().await?;
    match response.status().is_success() {
        true => {
            let answer = bounded::read(response, MAX_ANSWER).await?;
            Ok(Answer::In(serde_json::from_slice(&answer).context("run the same version of Festoon on both managers")?))
        }
        false => {
            let answer = bounded::read(response, bounded::MAX_REFUSAL).await?;
            Ok(Answer::Refused(serde_json::from_slice(&answer).context("this is no manager of Festoon")?))
        }
    }
}
