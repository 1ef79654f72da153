//! Commands on sessions.

use festoon_proto::harmless::is_harmless;
use festoon_proto::{SessionId, UserId};

use super::super::state::State;
use super::super::{ConfirmSession, LogIn, Proof};
use super::{AccountError, Session, User};

/// How long a session may last, at most: 30 days.
pub const MAX_SESSION_MS: u64 = 30 * 24 * 3600 * 1000;
/// Sessions of one user; the oldest gives way.
pub const MAX_SESSIONS: usize = 16;
/// Characters that are kept of what a program calls itself.
const MAX_AGENT: usize = 200;

pub(in crate::registry) fn log_in(state: &mut State, command: &LogIn) -> Result<SessionId, AccountError> {
    if command.expires <= command.now || command.expires > command.now.after(MAX_SESSION_MS) {
        return Err(AccountError::SessionExpiry);
    }
    // Whoever guesses ids learns nothing.
    let mut user = state.user(command.user).cloned().ok_or(AccountError::Changed)?;
    if !user.is_enabled || user.credentials_changed != command.checked {
        return Err(AccountError::Changed);
    }
    use_up(&mut user, &command.proof)?;
    if matches!(command.proof, Proof::RecoveryCode(_)) {
        user.changed = state.version();
    }
    user.note_log_in(command.from);
    state.put_user(user);
    let all: Vec<_> = state.sessions_of(command.user).map(|session| session.id).collect();
    for oldest in all.iter().take((all.len() + 1).saturating_sub(MAX_SESSIONS)) {
        state.remove_session(*oldest);
    }
    let LogIn { user, hash, from, agent, now, confirmed, expires, .. } = command.clone();
    let (id, agent) = (state.next_session(), agent.chars().filter(|c| is_harmless(*c)).take(MAX_AGENT).collect());
    let confirmed = confirmed.min(now);
    state.add_session(Session { id, user, hash, created: now, confirmed, expires, from, agent });
    Ok(id)
}

/// The session itself proves nothing: whoever confirms it shows what a login needs.
pub(in crate::registry) fn confirm(state: &mut State, command: &ConfirmSession) -> Result<(), AccountError> {
    let id = command.session;
    let session = state.session(id).filter(|session| command.now < session.expires).cloned();
    let session = session.ok_or(AccountError::NoSession(id))?;
    let mut user = state.user(session.user).cloned().ok_or(AccountError::Changed)?;
    if !user.is_enabled || user.credentials_changed != command.checked {
        return Err(AccountError::Changed);
    }
    use_up(&mut user, &command.proof)?;
    if matches!(command.proof, Proof::RecoveryCode(_)) {
        user.changed = state.version();
    }
    state.put_user(user);
    state.add_session(Session { confirmed: command.now.max(session.confirmed), ..session });
    Ok(())
}

/// Whether this proves that it is the user. What is good once is used up.
fn use_up(user: &mut User, proof: &Proof) -> Result<(), AccountError> {
    if let Proof::Identity(identity) = proof {
        return if user.identity.as_ref() == Some(identity) { Ok(()) } else { Err(AccountError::Changed) };
    }
    if user.password.is_none() {
        return Err(AccountError::Changed);
    }
    match (proof, &mut user.totp) {
        (Proof::Password, None) => Ok(()),
        (Proof::Password, Some(_)) => Err(AccountError::CodeNeeded),
        (Proof::Code { step }, Some(totp)) if *step > totp.last_step => {
            totp.last_step = *step;
            Ok(())
        }
        (Proof::RecoveryCode(hash), Some(totp)) if totp.recovery.contains(hash) => {
            totp.recovery.retain(|code| code != hash);
            Ok(())
        }
        (Proof::Code { .. } | Proof::RecoveryCode(_), Some(_)) => Err(AccountError::CodeUsed),
        _ => Err(AccountError::Changed),
    }
}

pub(in crate::registry) fn log_out(state: &mut State, id: SessionId) -> Result<(), AccountError> {
    state.remove_session(id).map(drop).ok_or(AccountError::NoSession(id))
}

pub(in crate::registry) fn log_out_all(state: &mut State, id: UserId) -> Result<(), AccountError> {
    state.user(id).ok_or(AccountError::NoUser(id))?;
    state.end_sessions_of(id);
    Ok(())
}
