//! What an admin means by a name, an id or an address.

use std::net::IpAddr;

use festoon_api::{Endpoint, EndpointId};

use super::client::{Client, ClientError, Query, api};
use super::fault::Fault;
use super::record::Record;

/// The record of this name; if there is none, the one with this id.
pub(super) async fn find<T: Record>(client: &Client, name: &str) -> anyhow::Result<T> {
    let mut all: Vec<T> = client.list(&Query::of(T::PATH), None).await?;
    match all.iter().any(|one| one.name() == Some(name)) {
        true => all.retain(|one| one.name() == Some(name)),
        false => all.retain(|one| one.id() == name),
    }
    Ok(only(name, all)?)
}

/// The endpoint of this name, id or address, in `network` if that is named. There may be too many to look at them all.
pub(super) async fn endpoint(client: &Client, name: &str, network: Option<&str>) -> anyhow::Result<Endpoint> {
    let key = if name.parse::<IpAddr>().is_ok() { "address" } else { "name" };
    let query = Query::of(Endpoint::PATH).with(key, Some(name)).with("network", network);
    let named: Vec<Endpoint> = client.list(&query, Some(3)).await?;
    match name.parse::<EndpointId>() {
        Ok(id) if named.is_empty() => match client.get(&api(&format!("{}/{id}", Endpoint::PATH))).await {
            Err(ClientError::Refused(problem)) if problem.status == 404 => Err(unknown::<Endpoint>(name).into()),
            found => Ok(found?),
        },
        _ => Ok(only(name, named)?),
    }
}

/// The only one of `named`.
fn only<T: Record>(name: &str, named: Vec<T>) -> Result<T, Fault> {
    if named.len() > 1 {
        let ids = named.iter().map(Record::id).collect::<Vec<_>>().join(" or ");
        return Err(Fault::Ambiguous { what: T::KIND, name: name.to_owned(), ids });
    }
    named.into_iter().next().ok_or_else(|| unknown::<T>(name))
}

fn unknown<T: Record>(name: &str) -> Fault {
    Fault::Unknown { what: T::KIND, name: name.to_owned(), list: T::LIST }
}
