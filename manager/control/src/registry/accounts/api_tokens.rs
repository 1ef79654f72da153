//! Commands on API tokens.

use festoon_proto::ApiTokenId;

use super::super::CreateApiToken;
use super::super::name;
use super::super::state::State;
use super::users::{check_grant, check_networks};
use super::{AccountError, ApiToken};

/// How long an API token may be good, at most: a year.
pub const MAX_API_TOKEN_MS: u64 = 365 * 24 * 3600 * 1000;
/// Of one user.
const MAX_API_TOKENS: usize = 100;

pub(in crate::registry) fn create(state: &mut State, command: &CreateApiToken) -> Result<ApiTokenId, AccountError> {
    let user = state.user(command.user).ok_or(AccountError::NoUser(command.user))?;
    name::check(&command.name)?;
    check_networks(state, &command.grant.networks)?;
    check_grant(&command.grant)?;
    if !command.grant.is_within(&user.grant) {
        return Err(AccountError::GrantAbove);
    }
    if command.expires <= command.now || command.expires > command.now.after(MAX_API_TOKEN_MS) {
        return Err(AccountError::ApiTokenExpiry);
    }
    if state.api_tokens().filter(|token| token.user == command.user).count() >= MAX_API_TOKENS {
        return Err(AccountError::TooManyApiTokens(MAX_API_TOKENS));
    }
    let CreateApiToken { hash, name, user, grant, is_sensitive, now, expires } = command.clone();
    let (id, changed) = (state.next_api_token(), state.version());
    state.add_api_token(ApiToken { id, name, user, grant, is_sensitive, hash, created: now, expires, changed });
    Ok(id)
}

pub(in crate::registry) fn remove(state: &mut State, id: ApiTokenId) -> Result<(), AccountError> {
    state.remove_api_token(id).map(drop).ok_or(AccountError::NoApiToken(id))
}
