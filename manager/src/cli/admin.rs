//! The commands that talk to the running manager.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use axum::http::Method;
use festoon_proto::map::EndpointMap;
use festoon_proto::{EndpointId, PrivateKey};

use super::args::{EndpointCommand, ManagerCommand, TokenCommand};
use super::render;
use crate::client_conf;
use crate::local::{
    Client, ClientRequest, DRAINING, Draining, ENDPOINTS, MANAGERS, ManagerRequest, OWN_KEY, Removed, RotationRequest,
    RotationResponse, STATUS, TOKENS, TokenRequest, TokenResponse,
};
use crate::status::{MOST_ROWS, Report};

/// The endpoints that `status` shows. `endpoint list` shows all.
const STATUS_ROWS: usize = 100;

pub(super) async fn token(root: &Path, command: TokenCommand) -> anyhow::Result<()> {
    let TokenCommand::Create { manager, network, address, expires, json } = command;
    let request = TokenRequest { manager, network, addresses: address, expires_s: expires.as_secs() };
    let token: TokenResponse = Client::new(root).send_json(Method::POST, TOKENS, &request).await?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&token)?),
        false => println!("{}", token.token),
    }
    Ok(())
}

pub(super) async fn endpoint(root: &Path, command: EndpointCommand) -> anyhow::Result<()> {
    let client = Client::new(root);
    match command {
        EndpointCommand::Add { name, client: _, network, address, manager } => {
            add_client(&client, name, network, address, manager.as_deref()).await
        }
        EndpointCommand::List { json } => {
            let report = whole_report(&client).await?;
            match json {
                true => println!("{}", serde_json::to_string_pretty(&report.endpoints)?),
                false => print!("{}", render::endpoints(&report)),
            }
            Ok(())
        }
        EndpointCommand::Remove { name } => remove(&client, ENDPOINTS, &name).await,
    }
}

async fn report(client: &Client, after: Option<EndpointId>, limit: usize) -> anyhow::Result<Report> {
    let after = after.map(|id| format!("&after={}", id.0)).unwrap_or_default();
    Ok(client.get(&format!("{STATUS}?limit={limit}{after}")).await?)
}

/// A report with every endpoint, page by page.
async fn whole_report(client: &Client) -> anyhow::Result<Report> {
    let mut whole = report(client, None, MOST_ROWS).await?;
    let mut last = whole.endpoints.last().map(|row| row.id);
    while last.is_some() {
        let next = report(client, last, MOST_ROWS).await?.endpoints;
        last = next.last().map(|row| row.id);
        whole.endpoints.extend(next);
    }
    Ok(whole)
}

/// The private key is made here and nowhere kept: not in the registry, not on this disk.
async fn add_client(
    client: &Client,
    name: String,
    network: Option<String>,
    addresses: Vec<IpAddr>,
    manager: Option<&str>,
) -> anyhow::Result<()> {
    if let Some(manager) = manager {
        let report = report(client, None, 0).await?;
        if !report.managers.iter().any(|row| client_conf::is_named(manager, row.id, &row.name)) {
            bail!("there is no manager {manager}: see `festoon-manager status` for those there are");
        }
    }
    let key = PrivateKey::from_bytes(rand::random());
    let request = ClientRequest { name, network, addresses, public_key: key.public_key() };
    let map: EndpointMap = client.send_json(Method::POST, ENDPOINTS, &request).await?;
    print!("{}", client_conf::to_conf(&map, &key.to_secret_base64(), manager)?);
    Ok(())
}

pub(super) async fn manager(root: &Path, command: ManagerCommand) -> anyhow::Result<()> {
    let client = Client::new(root);
    match command {
        ManagerCommand::Set { manager, name, underlay, https, priority } => {
            let some = |addresses: Vec<SocketAddr>| (!addresses.is_empty()).then_some(addresses);
            let request = ManagerRequest { name, underlay: some(underlay), https: some(https), priority };
            Ok(client.send_json(Method::POST, &item(MANAGERS, &manager)?, &request).await?)
        }
        ManagerCommand::RotateKey { overlap } => rotate_key(&client, overlap).await,
        ManagerCommand::Remove { manager } => {
            remove(&client, MANAGERS, &manager).await?;
            println!("If it fell into the wrong hands, replace the CA too: `festoon-manager ca rotate` begins it.");
            Ok(())
        }
    }
}

async fn rotate_key(client: &Client, overlap: Duration) -> anyhow::Result<()> {
    let request = RotationRequest { overlap_s: overlap.as_secs() };
    let rotated: RotationResponse = client.send_json(Method::POST, OWN_KEY, &request).await?;
    println!("The key of this manager is {} from now on.", rotated.public_key);
    match overlap.as_secs() {
        0 => println!("The one before is refused."),
        seconds => println!("The one before is good for {} more.", render::duration(seconds)),
    }
    if rotated.clients > 0 {
        println!("Stock clients that use this manager need the new key as PublicKey in their configuration by then.");
    }
    Ok(())
}

async fn remove(client: &Client, kind: &str, name: &str) -> anyhow::Result<()> {
    let removed: Removed = client.send_json(Method::DELETE, &item(kind, name)?, &()).await?;
    println!("{} ({}) is removed.", removed.name, removed.id);
    Ok(())
}

/// The path of one of a kind. Names and ids hold nothing that a path would have to escape.
pub(super) fn item(kind: &str, name: &str) -> anyhow::Result<String> {
    match !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        true => Ok(format!("{kind}/{name}")),
        false => bail!("{name:?} is no name or id: see `festoon-manager status` for those there are"),
    }
}

pub(super) async fn status(root: &Path, json: bool) -> anyhow::Result<()> {
    let report = report(&Client::new(root), None, STATUS_ROWS).await?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => print!("{}", render::status(&report)),
    }
    Ok(())
}

pub(super) async fn set_draining(root: &Path, draining: bool) -> anyhow::Result<()> {
    Client::new(root).send_json::<()>(Method::PUT, DRAINING, &Draining { draining }).await?;
    if draining {
        println!(
            "Draining: agents move to other managers as they hear of it. `festoon-manager status` shows who is left."
        );
    }
    Ok(())
}
