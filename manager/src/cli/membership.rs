//! This manager's own place in the cluster: `leave`, `promote`, `rejoin`.

use std::path::Path;
use std::{fs, io};

use anyhow::{Context as _, bail};
use axum::http::Method;
use festoon_proto::SigningKey;
use festoon_proto::epoch::{EpochProof, EpochSigner};
use zeroize::Zeroizing;

use super::args::PromoteArgs;
use super::client::Client;
use super::output::{confirm, print_people};
use crate::cluster::{AnewError, Promotion, Rejoined};
use crate::data_dir::DataDir;
use crate::local::{LEAVE, PROMOTE, Promoted, REJOIN, STATUS};
use crate::status::Report;
use crate::vault::RecoveryKey;

pub(super) async fn leave(root: &Path, is_sure: bool) -> anyhow::Result<()> {
    confirm("this manager is to leave its cluster and stop; only a new join token brings it back", is_sure)?;
    Client::local(root).patient().send::<()>(Method::POST, LEAVE, &()).await?;
    print_people(&format!("This manager has left the cluster and stops. {} may be deleted.", root.display()))?;
    Ok(())
}

pub(super) async fn promote(root: &Path, args: &PromoteArgs, is_sure: bool) -> anyhow::Result<()> {
    let client = Client::local(root).patient();
    // Nobody is asked about what is refused anyway.
    let promotion: Promotion = client.get(PROMOTE).await?;
    let proof = match &args.key_file {
        Some(path) => Some(sign(&promotion, path)?),
        None if promotion.needs_key => bail!("{}", AnewError::NoKey),
        None => None,
    };
    if !is_sure {
        confirm(&warning(&client.get(STATUS).await?), is_sure)?;
    }
    let Promoted { epoch }: Promoted = client.send(Method::POST, PROMOTE, &proof).await?;
    print_people(&format!("The cluster goes on from this manager's copy, in epoch {epoch}."))?;
    print_people("Managers that come back are refused until `festoon-manager rejoin` is run on them.")?;
    Ok(())
}

/// The act by which the epoch begins, signed with the recovery key or the signing key of a full manager. Neither leaves this
/// program.
fn sign(promotion: &Promotion, path: &Path) -> anyhow::Result<EpochProof> {
    let (signer, key) = read_key(path)?;
    let Promotion { cluster, epoch, from, manager, signing_key, .. } = *promotion;
    Ok(EpochProof::sign((signer, &key), cluster, epoch, from, (manager, signing_key)))
}

/// The key in a file: a recovery key, or the `signing.key` of a manager beside its `identity.toml`.
fn read_key(path: &Path) -> anyhow::Result<(EpochSigner, SigningKey)> {
    let text = match path.as_os_str() == "-" {
        true => io::read_to_string(io::stdin()).context("can't read the key from the standard input")?,
        false => fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?,
    };
    let text = Zeroizing::new(text);
    if let Some(recovery) = RecoveryKey::from_secret_text(&text) {
        return Ok((EpochSigner::Recovery, recovery.signing_key()));
    }
    let is_no_key = || {
        format!(
            "{} holds neither a recovery key (a line that begins with AGE-SECRET-KEY-1) nor the signing.key of a manager",
            path.display()
        )
    };
    let key: SigningKey = text.trim().parse().ok().with_context(is_no_key)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let owner = DataDir::open(directory).and_then(|data| data.identity()).with_context(|| {
        format!(
            "{} must lie in the --data-dir of its manager: identity.toml there says whose key it is",
            path.display()
        )
    })?;
    Ok((EpochSigner::Manager(owner.manager), key))
}

/// What only a witness has to say of it.
const WITNESS_ALONE: &str = ". This is a witness, which reads no secrets: a full manager whose copy is damaged gets it back from here, but if none has its directory any more, restore a snapshot instead";

/// What a promotion costs, for whoever has not said yet that he knows.
fn warning(report: &Report) -> String {
    let members = report.registry.members.iter().filter(|member| member.id.manager != report.manager);
    let name = |member: &crate::cluster::MemberHealth| {
        let id = member.id.manager;
        report.managers.iter().find(|row| row.id == id).map_or_else(|| id.to_string(), |row| row.name.clone())
    };
    let others: Vec<_> = members.map(name).collect();
    let is_witness = report.managers.iter().any(|row| row.id == report.manager && row.state == "witness");
    let lost = report.registry.later_epoch.map_or_else(String::new, |later| {
        format!(" The cluster has gone on in epoch {later}: all that was changed in it is left out.")
    });
    format!(
        "promoting makes this manager's copy, version {}, the cluster's. Changes that only {} have are left out, and they are refused until they rejoin.{lost} If they run somewhere and only this one is cut off, repair that instead{}",
        report.version,
        if others.is_empty() { "others".to_owned() } else { others.join(", ") },
        if is_witness { WITNESS_ALONE } else { "" },
    )
}

pub(super) async fn rejoin(root: &Path, is_sure: bool) -> anyhow::Result<()> {
    let cost = "this manager's copy is to be given up for the cluster's; changes that only it has are kept in a file, and count no more";
    confirm(cost, is_sure)?;
    let rejoined: Rejoined = Client::local(root).patient().send(Method::POST, REJOIN, &()).await?;
    print_people(&format!("This manager is in epoch {} of the cluster and gets its copy.", rejoined.epoch))?;
    if let Some(kept) = rejoined.kept.describe(root) {
        print_people(&kept)?;
    }
    Ok(())
}
