//! `festoon-manager snapshots restore`: the first manager of a cluster that lost all of them.

use std::path::Path;

use anyhow::{Context as _, bail};
use festoon_cluster::MemberId;
use festoon_cluster::storage::{Execution, Label, Seed, seed};
use festoon_control::registry::UnixMs;
use festoon_proto::map::EndpointKind;
use festoon_proto::{PrivateKey, SigningKey};

use super::survivors::{self, Survivor};
use super::{RestoreArgs, open};
use crate::cli::output::print_people;
use crate::cluster::{self, unix_now};
use crate::data_dir::{DataDir, DataDirError, Identity};
use crate::pki::{Credentials, SigningRequest, TlsKey};
use crate::snapshot::{NewManager, Restored, readable_time, restore};
use crate::vault::{SealKey, trusted_pem};

/// The keys of the new manager.
struct Keys {
    wireguard: PrivateKey,
    seal: PrivateKey,
    signing: SigningKey,
    tls: TlsKey,
}

pub(super) async fn run(root: &Path, args: RestoreArgs) -> anyhow::Result<()> {
    if DataDir::open(root).is_ok() {
        return Err(DataDirError::Taken(root.to_owned()).into());
    }
    let (content, recovery) = open(&args.file, &args.key)?;
    let (created, cluster, before) = (content.header.created, content.header.cluster, content.state.clone());
    let [wireguard, seal] = [(); 2].map(|()| PrivateKey::from_bytes(rand::random()));
    let signing = SigningKey::from_seed(rand::random());
    let tls = TlsKey::generate()?;
    let request = tls.signing_request(&signing, &[])?;
    let new = NewManager {
        https: args.manager.https(),
        name: args.manager.name,
        public_key: wireguard.public_key(),
        seal_key: SealKey::new(seal.clone()),
        signing_key: signing.verifying_key(),
        tls_key: SigningRequest::from_pem(&request)?.key_fingerprint(),
        underlay: args.manager.underlay,
        priority: args.manager.priority,
    };
    let restored = restore(content, &new, &recovery.signing_key(), unix_now())?;
    let survivors = survivors::find(&before).await?;
    if !survivors.is_empty() && !args.force {
        bail!("{}", refusal(&survivors, created));
    }
    // Only now is anything written.
    let data = DataDir::prepare(root)?;
    let mut lines = summary(&restored, &new, created);
    if !survivors.is_empty() {
        lines.push(format!("{} of the cluster of before still serve: stop them now.", list(&survivors)));
    }
    write(&data, &Keys { wireguard, seal, signing, tls }, &new, restored).await?;
    print_people(&format!("Cluster {cluster} is restored."))?;
    lines.iter().try_for_each(|line| print_people(line))?;
    print_people(&format!("Next: festoon-manager serve --data-dir {}", root.display()))?;
    Ok(())
}

/// Writes all that a manager keeps; who it is comes last, so that an interrupted restore is none.
async fn write(data: &DataDir, keys: &Keys, new: &NewManager, restored: Restored) -> anyhow::Result<()> {
    let Restored { state, written, member, vault, .. } = restored;
    let request = SigningRequest::from_pem(&keys.tls.signing_request(&keys.signing, &[])?)?;
    let chain = vault.certify(&state, member.manager, request, unix_now())?;
    data.write_keys(&keys.wireguard, &keys.seal, &keys.signing)?;
    if let Some(roster) = state.roster() {
        cluster::write_roster(data, &roster)?;
    }
    Credentials::create(data, &trusted_pem(&state), &keys.tls, &chain)?;
    let cluster = state.cluster().context("the registry in the snapshot belongs to no cluster")?;
    let epoch = state.epoch().id();
    // Of an interrupted `restore`, or of a manager that was.
    data.put_registry_aside("before-restore")?;
    data.put_records_aside("before-restore")?;
    let (label, copy) = (Label { cluster, member, epoch }, Seed { state, written });
    seed(cluster::open(&data.registry())?, Execution::Threads, label, copy).await?;
    let https_port = new.https.first().context("a manager has an HTTPS listener")?.port();
    let MemberId { manager, incarnation } = member;
    let identity = Identity { cluster, manager, incarnation, epoch, fenced_by: None, has_registry: true, https_port };
    Ok(data.write_identity(&identity)?)
}

/// Why a cluster of which some managers live is not restored.
fn refusal(survivors: &[Survivor], created: UnixMs) -> String {
    format!(
        "this cluster is not lost: {} of it still serve, and restoring would make a second cluster beside them, with the same endpoints and without any change after {}. To replace lost managers, let new ones join (`festoon-manager tokens add --manager`); if too few are left to agree, run `festoon-manager promote` on one first. To give up those that serve and all that they know, stop them, or restore with --force",
        list(survivors),
        readable_time(created)
    )
}

fn list(survivors: &[Survivor]) -> String {
    survivors.iter().map(Survivor::to_string).collect::<Vec<_>>().join(", ")
}

/// What an admin has to know.
fn summary(restored: &Restored, new: &NewManager, created: UnixMs) -> Vec<String> {
    let Restored { state, member, lost, .. } = restored;
    let is_client = |kind| kind == EndpointKind::Client;
    let (clients, agents): (Vec<_>, Vec<_>) = state.endpoints().partition(|endpoint| is_client(endpoint.kind));
    let mut lines = vec![
        format!("This is its manager {} ({}), in epoch {}.", new.name, member.manager, state.epoch().number),
        format!(
            "Changes after {} are lost: who joined since then has to join again, and who was removed is in again.",
            readable_time(created)
        ),
    ];
    if !agents.is_empty() {
        lines.push(format!(
            "{} agents come back by themselves when they reach this manager where one of the lost ones was.",
            agents.len()
        ));
    }
    if !clients.is_empty() {
        lines.push(format!(
            "{} stock WireGuard clients need its new key and address in their configuration: PublicKey = {}",
            clients.len(),
            new.public_key
        ));
    }
    if !lost.is_empty() {
        lines.push(format!(
            "Never start the lost managers again as they were: {}. Let new ones join, under these names if you like.",
            lost.join(", ")
        ));
    }
    lines
}
