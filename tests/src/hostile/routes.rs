//! The table of everything else than the API: what agents, managers and the admin socket are asked; and whether both tables have
//! every route that the program has.

use std::collections::BTreeSet;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use super::api;
use crate::overlay::Manager;

/// Where a route is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Listener {
    /// HTTPS, to everybody.
    Everybody,
    /// HTTPS, to those that ask as managers do.
    Managers,
    /// HTTPS, to those that ask as the consensus of managers does.
    Consensus,
    /// The admin socket.
    Socket,
}

impl Listener {
    /// Those that are reached over HTTPS.
    pub(super) const HTTPS: [Self; 3] = [Self::Everybody, Self::Managers, Self::Consensus];

    /// What one asks with to reach it (ALPN).
    pub(super) fn protocol(self) -> Option<String> {
        match self {
            Self::Everybody | Self::Socket => None,
            Self::Managers => Some("festoon-cluster/1".to_owned()),
            Self::Consensus => Some("festoon-consensus/1".to_owned()),
        }
    }
}

/// What one needs to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    /// Nothing: it says what anybody may know, or lets somebody in.
    Nothing,
    /// A join token that is good for it.
    Token,
    /// An endpoint that may be connected.
    Endpoint,
    /// A manager of the cluster, whatever it does.
    Member,
    /// A manager that carries endpoints.
    Full,
    /// A manager in the epoch of now.
    Voter,
    /// Any role in any network.
    Viewer,
    /// Any role in the first network.
    ViewerOfFirst,
    /// A higher role than viewer.
    More,
    /// Root on the machine of the manager.
    Root,
}

/// A route, and who may use it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) listener: Listener,
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) right: Right,
    /// That makes sense; bodies that depend on who asks are made in [`super::bodies`].
    pub(super) body: String,
}

use Listener::{Consensus, Everybody, Managers, Socket};
use Right::{Endpoint, Full, Member, Nothing, Root, Token, Voter};

#[rustfmt::skip]
const INTERNAL: &[(Listener, &str, &str, Right, &str)] = &[
    (Everybody, "POST", "/agent/v1/join", Token, ""),
    (Everybody, "GET", "/agent/v1/map", Endpoint, ""),
    (Everybody, "GET", "/agent/v1/epoch", Nothing, ""),
    (Everybody, "POST", "/agent/v1/rotate-key", Endpoint, ""),
    (Everybody, "PUT", "/agent/v1/routes", Endpoint, r#"{"prefixes": []}"#),
    (Everybody, "POST", "/agent/v1/leave", Endpoint, ""),
    (Everybody, "POST", "/join/v1/manager", Token, ""),
    (Consensus, "POST", "/cluster/v1/ask", Voter, ""),
    (Managers, "POST", "/cluster/v1/renew/offer", Member, r#"{"incarnation": 0}"#),
    (Managers, "POST", "/cluster/v1/renew", Member, r#"{"incarnation": 7}"#),
    (Managers, "POST", "/cluster/v1/certificate", Member, ""),
    (Managers, "POST", "/cluster/v1/certificate/shown", Full, ""),
    (Managers, "POST", "/cluster/v1/audit", Member, r#"{"after": 0, "last": 1}"#),
    (Managers, "POST", "/cluster/v1/audit-head", Member, r#"{"number": 1}"#),
    (Managers, "POST", "/cluster/v1/events", Member, r#"{"after": "AQA", "of": 1, "waits": false}"#),
    (Managers, "POST", "/cluster/v1/deliveries", Full, ""),
    (Managers, "POST", "/cluster/v1/disconnect", Full, "e1"),
    (Socket, "GET", "/v1/status", Root, ""),
    (Socket, "POST", "/v1/leave", Root, ""),
    (Socket, "GET", "/v1/promote", Root, ""),
    (Socket, "POST", "/v1/promote", Root, ""),
    (Socket, "POST", "/v1/rejoin", Root, ""),
    (Socket, "GET", "/v1/ca", Root, ""),
    (Socket, "POST", "/v1/ca/rotate", Root, ""),
    (Socket, "POST", "/v1/ca/promote", Root, ""),
    (Socket, "POST", "/v1/ca/retire", Root, r#"{"next": true, "force": true}"#),
    (Socket, "POST", "/v1/own-key", Root, r#"{"overlap_s": 0}"#),
];

/// What a witness can't do for anybody: it has no secrets, carries no endpoints, and has no API.
const NOT_AT_A_WITNESS: [&str; 3] = ["/join/v1/manager", "/cluster/v1/certificate", "/cluster/v1/disconnect"];

impl Row {
    /// Whether `status` shows that the body is right too. What the API is asked for here does not work, so that nothing is changed;
    /// nor does what a manager would have to sign.
    pub(super) fn is_proved_by(&self, status: u16) -> bool {
        status < 300 || self.path.starts_with("/api/") || self.path == "/cluster/v1/renew"
    }

    /// Whether a manager that only votes answers this to anybody.
    pub(super) fn is_answered_by_a_witness(&self) -> bool {
        !self.path.starts_with("/api/") && !NOT_AT_A_WITNESS.contains(&self.path.as_str())
    }
}

/// All rows.
pub(super) fn rows() -> Vec<Row> {
    let row = |&(listener, method, path, right, body): &(Listener, &'static str, &str, Right, &str)| Row {
        listener,
        method,
        path: path.to_owned(),
        right,
        body: body.to_owned(),
    };
    INTERNAL.iter().map(row).chain(api::rows()).collect()
}

type Known = BTreeSet<(Listener, String, String)>;

/// Sees that the tables have every route that the program has, and no other.
pub(super) fn check(rows: &[Row], manager: &Manager) -> anyhow::Result<()> {
    let name = |row: &Row| (row.listener, row.method.to_owned(), row.path.clone());
    let is_internal = |row: &&Row| !row.path.starts_with("/api/");
    compare(&rows.iter().filter(is_internal).map(name).collect(), &internal(manager)?)?;
    compare(&rows.iter().filter(|row| api::is_documented(&row.path)).map(name).collect(), &documented(manager)?)
}

fn compare(tried: &Known, there: &Known) -> anyhow::Result<()> {
    let (new, gone): (Vec<_>, Vec<_>) = (there.difference(tried).collect(), tried.difference(there).collect());
    anyhow::ensure!(
        new.is_empty() && gone.is_empty(),
        "routes that no position tries: {new:?}; routes that are no more: {gone:?}: see tests/src/hostile"
    );
    Ok(())
}

/// What the program says of itself.
fn internal(manager: &Manager) -> anyhow::Result<Known> {
    #[derive(Deserialize)]
    struct Line {
        listener: Listener,
        method: String,
        path: String,
    }
    let line = |line: &str| {
        let Line { listener, method, path } = serde_json::from_str(line).with_context(|| line.to_owned())?;
        Ok((listener, method, path))
    };
    manager.run(&["internal-routes"])?.lines().map(line).collect()
}

/// What the program's OpenAPI document has.
fn documented(manager: &Manager) -> anyhow::Result<Known> {
    let document: Value = serde_json::from_str(&manager.run(&["api-document"])?)?;
    let paths = document["paths"].as_object().context("the document has no paths")?;
    let methods = ["get", "put", "post", "patch", "delete", "head", "options", "trace"];
    let of = |(path, item): (&String, &Value)| {
        let there = methods.iter().filter(|method| item.get(method).is_some());
        there.map(|method| (Everybody, method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    Ok(paths.iter().flat_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_no_position_tries_is_named() {
        let route = |path: &str| (Consensus, "POST".to_owned(), path.to_owned());
        let there = Known::from([route("/cluster/v1/ask"), route("/cluster/v1/new")]);
        let tried = Known::from([route("/cluster/v1/ask")]);
        let error = compare(&tried, &there).expect_err("one is new").to_string();
        assert!(error.contains("/cluster/v1/new") && !error.contains("/cluster/v1/ask"), "{error}");
        assert!(compare(&there, &Known::new()).is_err() && compare(&there, &there).is_ok());
    }

    #[test]
    fn a_row_stands_once_for_each_body() {
        let rows = rows();
        let unique: BTreeSet<_> = rows.iter().map(|row| (row.listener, row.method, &row.path, &row.body)).collect();
        assert_eq!(unique.len(), rows.len());
    }
}
