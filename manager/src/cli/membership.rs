//! This manager's own place in the cluster: `leave`, `promote`, `rejoin`.

use std::path::Path;

use axum::http::Method;

use super::client::Client;
use super::output::{confirm, print_people};
use crate::cluster::Rejoined;
use crate::local::{LEAVE, PROMOTE, Promoted, REJOIN, STATUS};
use crate::status::Report;

pub(super) async fn leave(root: &Path, is_sure: bool) -> anyhow::Result<()> {
    confirm("this manager is to leave its cluster and stop; only a new join token brings it back", is_sure)?;
    Client::local(root).patient().send::<()>(Method::POST, LEAVE, &()).await?;
    print_people(&format!("This manager has left the cluster and stops. {} may be deleted.", root.display()))?;
    Ok(())
}

pub(super) async fn promote(root: &Path, is_sure: bool) -> anyhow::Result<()> {
    let client = Client::local(root).patient();
    if !is_sure {
        // Nobody is asked about what is refused anyway.
        client.get::<()>(PROMOTE).await?;
        confirm(&warning(&client.get(STATUS).await?), is_sure)?;
    }
    let Promoted { epoch }: Promoted = client.send(Method::POST, PROMOTE, &()).await?;
    print_people(&format!("The cluster goes on from this manager's copy, in epoch {epoch}."))?;
    print_people("Managers that come back are refused until `festoon-manager rejoin` is run on them.")?;
    Ok(())
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
