//! Accounts in the state.

use std::sync::Arc;

use festoon_proto::access::Grant;
use festoon_proto::token::SecretHash;
use festoon_proto::{ApiTokenId, SessionId, UserId};
use imbl::{OrdMap, OrdSet};

use super::super::UnixMs;
use super::super::accounts::{Accounts, ApiToken, OidcIdentity, Session, User};
use super::State;
use super::index::{REMEMBER_TOKEN_MS, Timer};

/// What finds an account. It follows from the records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct AccountIndex {
    names: OrdMap<Arc<str>, UserId>,
    identities: OrdMap<OidcIdentity, UserId>,
    sessions: OrdSet<(UserId, SessionId)>,
}

impl AccountIndex {
    /// The index of `accounts`, or what is wrong with them.
    pub(super) fn of(accounts: &Accounts) -> Result<Self, &'static str> {
        let mut index = Self::default();
        accounts.users.values().for_each(|user| index.add(user));
        index.sessions.extend(accounts.sessions.values().map(|session| (session.user, session.id)));
        if index.names.len() != accounts.users.len() {
            return Err("two users have the same name");
        }
        if index.identities.len() != accounts.users.values().filter(|user| user.identity.is_some()).count() {
            return Err("two users have the same identity");
        }
        let of_sessions = accounts.sessions.values().map(|session| session.user);
        let of_tokens = accounts.api_tokens.values().map(|token| token.user);
        match of_sessions.chain(of_tokens).all(|user| accounts.users.contains_key(&user)) {
            true => Ok(index),
            false => Err("a session or an API token is nobody's"),
        }
    }

    fn add(&mut self, user: &User) {
        self.names.insert(Arc::clone(&user.name), user.id);
        self.identities.extend(user.identity.clone().map(|identity| (identity, user.id)));
    }

    fn remove(&mut self, user: &User) {
        self.names.remove(&user.name);
        if let Some(identity) = &user.identity {
            self.identities.remove(identity);
        }
    }
}

/// When accounts are to be forgotten.
pub(super) fn timers(accounts: &Accounts) -> impl Iterator<Item = (UnixMs, Timer)> {
    let of_sessions = accounts.sessions.values().map(|session| of_session(session));
    of_sessions.chain(accounts.api_tokens.values().map(|token| of_token(token)))
}

fn of_session(session: &Session) -> (UnixMs, Timer) {
    (session.expires, Timer::Session(session.id))
}

/// A while after it expired, so that whoever still has it learns that it did.
fn of_token(token: &ApiToken) -> (UnixMs, Timer) {
    (token.expires.after(REMEMBER_TOKEN_MS), Timer::ApiToken(token.id))
}

impl State {
    /// All users, by id.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.records.accounts.users.values().map(|user| &**user)
    }

    /// A user.
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.records.accounts.users.get(&id).map(|user| &**user)
    }

    /// The user with this name.
    pub fn user_named(&self, name: &str) -> Option<&User> {
        self.index.accounts.names.get(name).and_then(|id| self.user(*id))
    }

    /// The user whom an identity provider knows so.
    pub fn user_with(&self, identity: &OidcIdentity) -> Option<&User> {
        self.index.accounts.identities.get(identity).and_then(|id| self.user(*id))
    }

    /// Whether some owner can log in.
    pub fn has_owner(&self) -> bool {
        self.users().any(User::is_acting_owner)
    }

    /// The hash of the secret that makes the first owner, until there is one.
    pub const fn set_up_secret(&self) -> Option<SecretHash> {
        self.records.accounts.set_up
    }

    /// All API tokens that are remembered, by id.
    pub fn api_tokens(&self) -> impl Iterator<Item = &ApiToken> {
        self.records.accounts.api_tokens.values().map(|token| &**token)
    }

    /// An API token.
    pub fn api_token(&self, id: ApiTokenId) -> Option<&ApiToken> {
        self.records.accounts.api_tokens.get(&id).map(|token| &**token)
    }

    /// What `token` may do now: what it and its user both may. Nothing while its user is disabled.
    pub fn grant_of(&self, token: &ApiToken) -> Option<Grant> {
        let user = self.user(token.user).filter(|user| user.is_enabled)?;
        Some(token.grant.both(&user.grant))
    }

    /// All sessions, by id.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.records.accounts.sessions.values().map(|session| &**session)
    }

    /// A session.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.records.accounts.sessions.get(&id).map(|session| &**session)
    }

    /// The sessions of a user, the oldest first.
    pub fn sessions_of(&self, user: UserId) -> impl Iterator<Item = &Session> {
        let range = (user, SessionId(0))..=(user, SessionId(u64::MAX));
        self.index.accounts.sessions.range(range).filter_map(|(_, id)| self.session(*id))
    }

    pub(in crate::registry) fn next_user(&mut self) -> UserId {
        self.records.accounts.last_user += 1;
        UserId(self.records.accounts.last_user)
    }

    pub(in crate::registry) fn next_api_token(&mut self) -> ApiTokenId {
        self.records.accounts.last_api_token += 1;
        ApiTokenId(self.records.accounts.last_api_token)
    }

    pub(in crate::registry) fn next_session(&mut self) -> SessionId {
        self.records.accounts.last_session += 1;
        SessionId(self.records.accounts.last_session)
    }

    /// Adds a user, or replaces it. Nobody else has its name or its identity. With the first owner, the set-up secret goes.
    pub(in crate::registry) fn put_user(&mut self, user: User) {
        if let Some(before) = self.records.accounts.users.get(&user.id) {
            self.index.accounts.remove(before);
        }
        if user.is_acting_owner() {
            self.records.accounts.set_up = None;
        }
        self.index.accounts.add(&user);
        self.records.accounts.users.insert(user.id, Arc::new(user));
    }

    /// Forgets a user, its sessions and its tokens.
    pub(in crate::registry) fn remove_user(&mut self, id: UserId) {
        self.end_sessions_of(id);
        let tokens: Vec<_> = self.api_tokens().filter(|token| token.user == id).map(|token| token.id).collect();
        for token in tokens {
            self.remove_api_token(token);
        }
        if let Some(user) = self.records.accounts.users.remove(&id) {
            self.index.accounts.remove(&user);
        }
    }

    pub(in crate::registry) fn add_api_token(&mut self, token: ApiToken) {
        self.index.timers.insert(of_token(&token));
        self.records.accounts.api_tokens.insert(token.id, Arc::new(token));
    }

    pub(in crate::registry) fn remove_api_token(&mut self, id: ApiTokenId) -> Option<Arc<ApiToken>> {
        let token = self.records.accounts.api_tokens.remove(&id)?;
        self.index.timers.remove(&of_token(&token));
        Some(token)
    }

    pub(in crate::registry) fn add_session(&mut self, session: Session) {
        self.index.timers.insert(of_session(&session));
        self.index.accounts.sessions.insert((session.user, session.id));
        self.records.accounts.sessions.insert(session.id, Arc::new(session));
    }

    pub(in crate::registry) fn remove_session(&mut self, id: SessionId) -> Option<Arc<Session>> {
        let session = self.records.accounts.sessions.remove(&id)?;
        self.index.timers.remove(&of_session(&session));
        self.index.accounts.sessions.remove(&(session.user, id));
        Some(session)
    }

    /// Logs a user out everywhere.
    pub(in crate::registry) fn end_sessions_of(&mut self, user: UserId) {
        let all: Vec<_> = self.sessions_of(user).map(|session| session.id).collect();
        for id in all {
            self.remove_session(id);
        }
    }

    /// Logs everybody out: who logged out in a part of the log that is lost must not be in again.
    pub(in crate::registry) fn end_sessions(&mut self) {
        let all: Vec<_> = self.sessions().map(|session| session.id).collect();
        for id in all {
            self.remove_session(id);
        }
    }
}
