//! What records look like to whoever reads the audit log: all that an admin decides, and no secret.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use festoon_proto::PublicKey;
use festoon_proto::access::{Grant, Role, Scope};
use festoon_proto::http::ManagerRole;
use festoon_proto::map::EndpointKind;
use festoon_proto::token::TokenKind;
use ipnet::IpNet;
use serde::Serialize;

use super::super::accounts::{ApiToken, OidcIdentity, User};
use super::super::address::AddressRange;
use super::super::destinations::{EventDestination, Target};
use super::super::record::{Endpoint, Manager, Network, Token};
use super::super::state::State;
use super::super::{Subject, TokenPreset, UnixMs};
use super::entry::Hash;

/// A record as JSON, if it is there.
pub(super) fn of(state: &State, subject: Subject) -> Option<String> {
    match subject {
        Subject::Cluster => None,
        Subject::Network(id) => state.network(id).and_then(|network| json(&NetworkView::of(network))),
        Subject::Endpoint(id) => state.endpoint(id).and_then(|endpoint| json(&EndpointView::of(endpoint))),
        Subject::Manager(id) => state.manager(id).and_then(|manager| json(&ManagerView::of(manager))),
        Subject::JoinToken(id) => state.join_token(id).and_then(|(_, token)| json(&TokenView::of(token))),
        Subject::User(id) => state.user(id).and_then(|user| json(&UserView::of(user))),
        Subject::ApiToken(id) => state.api_token(id).and_then(|token| json(&ApiTokenView::of(token))),
        Subject::EventDestination(id) => state.event_destination(id).and_then(|all| json(&DestinationView::of(all))),
    }
}

fn json(view: &impl Serialize) -> Option<String> {
    serde_json::to_string(view).ok()
}

#[derive(Serialize)]
struct NetworkView<'a> {
    name: &'a str,
    prefixes: Vec<IpNet>,
    reserved: &'a [AddressRange],
    mtu: u16,
}

impl<'a> NetworkView<'a> {
    fn of(network: &'a Network) -> Self {
        Self {
            name: &network.name,
            prefixes: network.prefixes.iter().map(|prefix| prefix.net).collect(),
            reserved: &network.reserved,
            mtu: network.mtu,
        }
    }
}

#[derive(Serialize)]
struct EndpointView<'a> {
    name: &'a str,
    network: String,
    kind: EndpointKind,
    addresses: Vec<IpAddr>,
    public_key: PublicKey,
    enabled: bool,
    tags: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_unix_ms: Option<UnixMs>,
    ephemeral: bool,
    offered_routes: Vec<IpNet>,
    approved_routes: Vec<IpNet>,
    key_due: bool,
}

impl<'a> EndpointView<'a> {
    fn of(endpoint: &'a Endpoint) -> Self {
        Self {
            name: &endpoint.name,
            network: endpoint.network.to_string(),
            kind: endpoint.kind,
            addresses: endpoint.addresses.to_vec(),
            public_key: endpoint.public_key,
            enabled: endpoint.is_enabled,
            tags: endpoint.tags().iter().map(|tag| &**tag).collect(),
            expires_unix_ms: endpoint.expires(),
            ephemeral: endpoint.is_ephemeral,
            offered_routes: endpoint.routes().iter().map(|route| route.prefix).collect(),
            approved_routes: endpoint.approved_routes().collect(),
            key_due: endpoint.is_key_due,
        }
    }
}

#[derive(Serialize)]
struct ManagerView<'a> {
    name: &'a str,
    role: ManagerRole,
    public_key: PublicKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    seal_key: Option<PublicKey>,
    incarnation: u32,
    underlay: &'a [SocketAddr],
    https: &'a [SocketAddr],
    priority: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    draining: bool,
    format: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<&'a str>,
}

impl<'a> ManagerView<'a> {
    fn of(manager: &'a Manager) -> Self {
        Self {
            name: &manager.name,
            role: manager.role,
            public_key: manager.public_key,
            seal_key: manager.seal_key,
            incarnation: manager.incarnation,
            underlay: &manager.underlay,
            https: &manager.https,
            priority: manager.priority,
            region: manager.region.as_deref(),
            draining: manager.is_draining,
            format: manager.format,
            release: manager.release.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct TokenView {
    kind: TokenKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    reusable: bool,
    ephemeral: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    for_witness: bool,
    tags: Vec<String>,
    addresses: Vec<IpAddr>,
    expires_unix_ms: UnixMs,
    uses: u32,
}

impl TokenView {
    fn of(token: &Token) -> Self {
        let TokenPreset { name, is_reusable, tags, is_ephemeral, is_for_witness } = token.preset();
        Self {
            kind: token.kind,
            name,
            network: token.network.map(|network| network.to_string()),
            reusable: is_reusable,
            ephemeral: is_ephemeral,
            for_witness: is_for_witness,
            tags,
            addresses: token.promised.to_vec(),
            expires_unix_ms: token.expires,
            uses: token.uses,
        }
    }
}

/// All, if it names none.
fn networks(scope: &Scope) -> Option<Vec<String>> {
    match scope {
        Scope::All => None,
        Scope::Networks(networks) => Some(networks.iter().map(ToString::to_string).collect()),
    }
}

#[derive(Serialize)]
struct GrantView {
    role: Role,
    /// All, if it names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<Vec<String>>,
}

impl GrantView {
    fn of(grant: &Grant) -> Self {
        Self { role: grant.role, networks: networks(&grant.networks) }
    }
}

#[derive(Serialize)]
struct UserView<'a> {
    name: &'a str,
    #[serde(flatten)]
    grant: GrantView,
    password: bool,
    totp: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a OidcIdentity>,
    enabled: bool,
}

impl<'a> UserView<'a> {
    fn of(user: &'a User) -> Self {
        Self {
            name: &user.name,
            grant: GrantView::of(&user.grant),
            password: user.password.is_some(),
            totp: user.totp.is_some(),
            recovery_codes: user.totp.as_ref().map(|totp| totp.recovery.len()),
            identity: user.identity.as_ref(),
            enabled: user.is_enabled,
        }
    }
}

#[derive(Serialize)]
struct ApiTokenView<'a> {
    name: &'a str,
    user: String,
    #[serde(flatten)]
    grant: GrantView,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sensitive: bool,
    expires_unix_ms: UnixMs,
}

impl<'a> ApiTokenView<'a> {
    fn of(token: &'a ApiToken) -> Self {
        Self {
            name: &token.name,
            user: token.user.to_string(),
            grant: GrantView::of(&token.grant),
            sensitive: token.is_sensitive,
            expires_unix_ms: token.expires,
        }
    }
}

#[derive(Serialize)]
struct DestinationView<'a> {
    name: &'a str,
    kind: &'static str,
    /// Scheme and host of a URL, for the rest of it may be a secret, or the URI of a broker without its password.
    at: &'a str,
    /// The beginning of the URL's SHA-256: another one with every other URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    url_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key_prefix: Option<&'a str>,
    /// All, if it names none.
    events: &'a BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<Vec<String>>,
    enabled: bool,
    allow_private_addresses: bool,
    /// Another one with every new secret.
    secret_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    former_secret_until_unix_ms: Option<UnixMs>,
}

impl<'a> DestinationView<'a> {
    fn of(destination: &'a EventDestination) -> Self {
        let (at, url_hash, exchange, routing_key_prefix) = match &destination.target {
            Target::Webhook { url } => (origin(url), Some(short_hash(url)), None, None),
            Target::Amqp { uri, exchange, routing_key_prefix } => {
                (uri.as_str(), None, Some(exchange), Some(routing_key_prefix))
            }
        };
        Self {
            name: &destination.name,
            kind: destination.target.kind(),
            at,
            url_hash,
            exchange: exchange.map(String::as_str),
            routing_key_prefix: routing_key_prefix.map(String::as_str),
            events: &destination.kinds,
            networks: networks(&destination.networks),
            enabled: destination.is_enabled,
            allow_private_addresses: destination.allows_private,
            secret_version: destination.secret_changed.0,
            former_secret_until_unix_ms: destination.former_secret_until,
        }
    }
}

/// A URL as far as it is for everybody: up to its path, which some receivers have a secret in.
fn origin(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let path = url.get(authority..).and_then(|rest| rest.find(['/', '\\', '?', '#']));
    path.and_then(|path| url.get(..authority + path)).unwrap_or(url)
}

fn short_hash(text: &str) -> String {
    Hash::of(text).to_string().chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_the_log_has_no_more_than_the_host() {
        for (url, seen) in [
            ("https://hooks.example.com/services/T0/B0/secret", "https://hooks.example.com"),
            ("https://hooks.example.com:8443?token=secret", "https://hooks.example.com:8443"),
            (r"https://hooks.example.com\secret", "https://hooks.example.com"),
            ("https://[2001:db8::1]/secret", "https://[2001:db8::1]"),
            ("https://hooks.example.com", "https://hooks.example.com"),
        ] {
            assert_eq!(origin(url), seen);
        }
        assert_ne!(short_hash("https://a.example/1"), short_hash("https://a.example/2"));
    }
}
