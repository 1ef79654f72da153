//! Commands on join tokens, and what may be wrong with one.

use festoon_proto::http::ManagerRole;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{JoinTokenId, NetworkId};
use serde::{Deserialize, Serialize};

use super::allocate::{self, AddressError};
use super::name::{self, NameError};
use super::record::{Token, TokenUse};
use super::state::State;
use super::tags::{self, TagError};
use super::{CreateToken, TokenPreset, UnixMs};

/// How long a token may be good, at most: a year. One that nobody came in with is one more secret to lose.
pub const MAX_TOKEN_MS: u64 = 365 * 24 * 3600 * 1000;

/// How long whoever came in with a token may ask again for the answer it got: it may have been lost on the way. Minutes, for
/// the token may be in somebody's shell history.
pub const AGAIN_MS: u64 = 10 * 60 * 1000;

/// A token is not made, or lets nobody in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TokenError {
    /// No manager made it, or it was forgotten long after it expired.
    #[error("the cluster does not know this join token: make a new one with `festoon-manager tokens add`")]
    Unknown,
    /// It expired.
    #[error("this join token has expired: make a new one with `festoon-manager tokens add`")]
    Expired,
    /// Another node came in with it.
    #[error("this join token was used already: make a new one with `festoon-manager tokens add`")]
    Used,
    /// A manager tries to come in with the token of an endpoint.
    #[error("this join token is for an endpoint: make one with `festoon-manager tokens add --manager`")]
    ForEndpoint,
    /// An endpoint tries to come in with the token of a manager.
    #[error("this join token is for a manager: make one with `festoon-manager tokens add`")]
    ForManager,
    /// A full manager tries to come in with the token of a witness.
    #[error(
        "this join token is for a witness: use it with `festoon-manager witness`, or make one for a full manager with `festoon-manager tokens add --manager`"
    )]
    ForWitness,
    /// A witness tries to come in with the token of a full manager.
    #[error(
        "this join token is for a full manager: use it with `festoon-manager join`, or make one for a witness with `festoon-manager tokens add --witness`"
    )]
    ForFullManager,
    /// The network it would let in to does not exist.
    #[error("there is no network {0}: see `festoon-manager status` for those there are")]
    NoNetwork(NetworkId),
    /// A token of an endpoint names no network, or one of a manager names one or an address.
    #[error("a token for an endpoint names a network, and one for a manager names neither network nor addresses")]
    NetworkMismatch,
    /// The address it would promise can't be given.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its tags are none.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// What a manager can't have, or what only one endpoint can have.
    #[error(
        "a token for a manager is good for one and has no tags, and a token for many endpoints promises no address"
    )]
    Preset,
    /// There is no such token.
    #[error("there is no join token {0}: see /api/v1/join-tokens for those there are")]
    NoToken(JoinTokenId),
    /// Another has its id.
    #[error("a token with this id exists already: make another")]
    Exists,
    /// It would be good for too long.
    #[error("a join token can be good for {} days at most: make it for less, and another when that is over", MAX_TOKEN_MS / 86_400_000)]
    TooLong,
}

impl TokenError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unknown => "token-unknown",
            Self::Expired => "token-expired",
            Self::Used => "token-used",
            Self::ForEndpoint | Self::ForManager | Self::ForWitness | Self::ForFullManager => "token-wrong-kind",
            Self::NoNetwork(_) => "network-unknown",
            Self::NetworkMismatch => "token-network",
            Self::Address(error) => error.kind(),
            Self::Name(_) => "bad-name",
            Self::Tag(_) => "bad-tag",
            Self::Preset => "bad-token",
            Self::NoToken(_) => "join-token-unknown",
            Self::Exists => "token-exists",
            Self::TooLong => "bad-expiry",
        }
    }
}

pub(super) fn create(state: &mut State, command: &CreateToken) -> Result<JoinTokenId, TokenError> {
    let is_for_endpoint = command.kind == TokenKind::Endpoint;
    if command.network.is_some() != is_for_endpoint || !(is_for_endpoint || command.addresses.is_empty()) {
        return Err(TokenError::NetworkMismatch);
    }
    if let Some(network) = command.network.filter(|network| state.network(*network).is_none()) {
        return Err(TokenError::NoNetwork(network));
    }
    if command.expires > command.now.after(MAX_TOKEN_MS) {
        return Err(TokenError::TooLong);
    }
    if state.join_token(JoinTokenId::of(&command.hash)).is_some() {
        return Err(TokenError::Exists);
    }
    let preset = check_preset(command)?;
    if let Some(network) = command.network {
        allocate::claim(state, network, command.addresses)?;
    }
    let token = Token {
        kind: command.kind,
        preset: (preset != TokenPreset::default()).then(|| Box::new(preset)),
        network: command.network,
        promised: command.addresses,
        created: command.now,
        expires: command.expires,
        used: None,
        uses: 0,
        changed: state.version(),
    };
    state.put_token(command.hash, token);
    Ok(JoinTokenId::of(&command.hash))
}

/// With the tags in order.
fn check_preset(command: &CreateToken) -> Result<TokenPreset, TokenError> {
    let preset = &command.preset;
    preset.name.as_deref().map_or(Ok(()), name::check)?;
    let is_for_manager = command.kind == TokenKind::Manager;
    if is_for_manager && (preset.is_reusable || preset.is_ephemeral || !preset.tags.is_empty())
        || preset.is_reusable && !command.addresses.is_empty()
        || preset.is_for_witness && !is_for_manager
    {
        return Err(TokenError::Preset);
    }
    let tags = tags::parse(&preset.tags)?.iter().map(ToString::to_string).collect();
    Ok(TokenPreset { tags, ..preset.clone() })
}

pub(super) fn remove(state: &mut State, id: JoinTokenId) -> Result<(), TokenError> {
    let (hash, _) = state.join_token(id).ok_or(TokenError::NoToken(id))?;
    state.remove_token(hash);
    Ok(())
}

/// What a good token leads to.
pub(super) enum Admission {
    /// To somebody new.
    New(Token),
    /// To whoever came in with it already, if it is the same that asks again.
    Again(TokenUse),
}

/// Whether a token that lets managers in lets in one that does this.
pub(super) fn check_role(token: &Token, role: ManagerRole) -> Result<(), TokenError> {
    match (token.preset().is_for_witness, role) {
        (true, ManagerRole::Full) => Err(TokenError::ForWitness),
        (false, ManagerRole::Witness) => Err(TokenError::ForFullManager),
        _ => Ok(()),
    }
}

/// Looks a token up. That it was used is no error yet: its user may not have got the answer, and asks again with the keys it
/// came with. For a short while only, and never once the token has expired.
pub(super) fn admit(state: &State, hash: &SecretHash, kind: TokenKind, now: UnixMs) -> Result<Admission, TokenError> {
    let token = state.token(hash).ok_or(TokenError::Unknown)?;
    match (token.kind, kind) {
        (TokenKind::Endpoint, TokenKind::Manager) => Err(TokenError::ForEndpoint),
        (TokenKind::Manager, TokenKind::Endpoint) => Err(TokenError::ForManager),
        _ if now >= token.expires => Err(TokenError::Expired),
        _ => match token.used {
            Some(by) if !token.is_reusable() && now >= by.at.after(AGAIN_MS) => Err(TokenError::Used),
            Some(by) if !token.is_reusable() => Ok(Admission::Again(by.who)),
            _ => Ok(Admission::New(token.clone())),
        },
    }
}
