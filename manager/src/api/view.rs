//! Records as the API shows them.

use festoon_api as api;
use festoon_control::registry::{Endpoint, Manager, Network, State, Token, TokenUse, UnixMs, User};
use festoon_proto::http::ManagerRole;
use festoon_proto::map::EndpointKind;
use festoon_proto::token::TokenKind;
use festoon_proto::{JoinTokenId, ManagerId};

use crate::node::{EndpointStatus, ManagerStatus, Status};

pub(super) const fn time(at: UnixMs) -> api::Time {
    api::Time(at.0)
}

pub(super) fn network(state: &State, network: &Network) -> api::Network {
    api::Network {
        id: network.id.into(),
        name: network.name.clone(),
        prefixes: network.prefixes.iter().map(|prefix| prefix.net).collect(),
        gateways: network.prefixes.iter().map(|prefix| prefix.gateway()).collect(),
        reserved: network.reserved.iter().map(ToString::to_string).collect(),
        mtu: network.mtu,
        endpoints: state.endpoint_count_of(network.id),
        version: network.changed.0,
    }
}

/// With what `status` says of it.
pub(super) fn endpoint(state: &State, endpoint: &Endpoint, status: Option<&Status>) -> api::Endpoint {
    let route = |route: &festoon_control::registry::OfferedRoute| api::Route {
        prefix: route.prefix,
        approved: route.is_approved,
    };
    let seen = |status: &Status| status.endpoints.iter().find(|seen| seen.id == endpoint.id).map(presence);
    api::Endpoint {
        id: endpoint.id.into(),
        name: endpoint.name.to_string(),
        network: endpoint.network.into(),
        network_name: state.network(endpoint.network).map(|network| network.name.clone()).unwrap_or_default(),
        kind: match endpoint.kind {
            EndpointKind::Agent => api::EndpointKind::Agent,
            EndpointKind::Client => api::EndpointKind::Client,
        },
        addresses: endpoint.addresses.to_vec(),
        public_key: endpoint.public_key,
        enabled: endpoint.is_enabled,
        tags: endpoint.tags().iter().map(ToString::to_string).collect(),
        expires: endpoint.expires().map(time),
        ephemeral: endpoint.is_ephemeral,
        routes: endpoint.routes().iter().map(route).collect(),
        key_due: endpoint.is_key_due,
        created: time(endpoint.created),
        presence: status.map(|status| seen(status).unwrap_or(ABSENT)),
        version: endpoint.changed.0,
    }
}

const ABSENT: api::Presence = api::Presence {
    state: api::EndpointState::Down,
    manager: None,
    generation: None,
    underlay: None,
    last_handshake_ms_ago: None,
    heard_ms_ago: None,
    rx_bytes: 0,
    tx_bytes: 0,
};

fn presence(seen: &EndpointStatus) -> api::Presence {
    api::Presence {
        state: if seen.attachment.is_some() { api::EndpointState::Up } else { api::EndpointState::Down },
        manager: seen.attachment.map(|attachment| attachment.manager.into()),
        generation: seen.attachment.map(|attachment| attachment.generation.0),
        underlay: seen.underlay,
        last_handshake_ms_ago: seen.last_handshake_ms_ago,
        heard_ms_ago: seen.heard_ms_ago,
        rx_bytes: seen.rx_bytes,
        tx_bytes: seen.tx_bytes,
    }
}

/// As the manager `me` sees it, whose node says `status`.
pub(super) fn manager(manager: &Manager, me: ManagerId, status: Option<&Status>) -> api::Manager {
    let seen = status.and_then(|status| status.managers.iter().find(|seen| seen.id == manager.id));
    api::Manager {
        id: manager.id.into(),
        name: manager.name.clone(),
        role: match manager.role {
            ManagerRole::Full => api::ManagerRole::Full,
            ManagerRole::Witness => api::ManagerRole::Witness,
        },
        public_key: manager.public_key,
        underlay: manager.underlay.clone(),
        https: manager.https.clone(),
        priority: manager.priority,
        region: manager.region.clone(),
        draining: manager.is_draining,
        release: manager.release.clone(),
        state: manager_state(manager, me, status, seen),
        rtt_us: seen.and_then(|seen| seen.rtt_us),
        direct: seen.is_some_and(|seen| seen.direct),
        next_hop: seen.and_then(|seen| seen.next_hop).map(Into::into),
        endpoints: seen.map_or(0, |seen| seen.endpoints as u64),
        version: manager.changed.0,
    }
}

fn manager_state(
    manager: &Manager,
    me: ManagerId,
    status: Option<&Status>,
    seen: Option<&ManagerStatus>,
) -> api::ManagerState {
    match (status, seen) {
        _ if !manager.is_full() => api::ManagerState::Witness,
        (None, _) => api::ManagerState::Unknown,
        (Some(status), None) if manager.id == me && status.draining => api::ManagerState::Draining,
        (Some(_), None) if manager.id == me => api::ManagerState::Serving,
        (Some(_), None) => api::ManagerState::Down,
        (Some(_), Some(seen)) => match seen.state {
            "serving" => api::ManagerState::Serving,
            "draining" => api::ManagerState::Draining,
            _ => api::ManagerState::Down,
        },
    }
}

pub(super) fn join_token(id: JoinTokenId, token: &Token) -> api::JoinToken {
    let preset = token.preset();
    api::JoinToken {
        id: id.into(),
        kind: match token.kind {
            TokenKind::Endpoint => api::JoinTokenKind::Endpoint,
            TokenKind::Manager if token.preset().is_for_witness => api::JoinTokenKind::Witness,
            TokenKind::Manager => api::JoinTokenKind::Manager,
        },
        name: preset.name,
        network: token.network.map(Into::into),
        reusable: preset.is_reusable,
        ephemeral: preset.is_ephemeral,
        tags: preset.tags,
        addresses: token.promised.to_vec(),
        created: time(token.created),
        expires: time(token.expires),
        uses: token.uses,
        last_used_by: token.used.map(|used| match used.who {
            TokenUse::Endpoint(id) => id.to_string(),
            TokenUse::Manager(id) => id.to_string(),
        }),
        version: token.changed.0,
    }
}

pub(super) fn user(user: &User) -> api::User {
    let api::Grant { role, networks } = (&user.grant).into();
    api::User {
        id: user.id.into(),
        name: user.name.to_string(),
        role,
        networks,
        password: user.password.is_some(),
        totp: user.totp.is_some(),
        recovery_codes: user.totp.as_ref().map(|totp| totp.recovery.len() as u64),
        identity: user
            .identity
            .clone()
            .map(|identity| api::Identity { issuer: identity.issuer, subject: identity.subject }),
        enabled: user.is_enabled,
        created: time(user.created),
        version: user.changed.0,
    }
}
