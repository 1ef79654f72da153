//! Who calls, and what that may do. Pure.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, StatusCode, header};
use festoon_control::registry::{Author, LocalUser, Session, State, UnixMs, Who};
use festoon_proto::access::{Grant, Role};
use festoon_proto::{ManagerId, NetworkId, SessionId, UserId};

use super::cookie;
use super::origin::{self, Names, only};
use super::secret::{ApiTokenSecret, SessionSecret};

/// What a page sends the CSRF token of its session in.
pub const CSRF_HEADER: &str = "x-festoon-csrf";

/// Somebody who is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who, with which credential, and from where: whose changes the audit log calls this.
    pub author: Author,
    /// What it may do now.
    pub grant: Grant,
}

impl Caller {
    /// Somebody who may open the admin socket of this manager.
    pub const fn local(manager: ManagerId, user: LocalUser) -> Self {
        Self { author: Author { who: Who::Local { manager, user }, from: None }, grant: Grant::OWNER }
    }

    /// Whether it may do what needs `role` in `network`; of `None`, in no network in particular.
    pub fn may(&self, role: Role, network: Option<NetworkId>) -> bool {
        self.grant.allows(role, network)
    }

    /// Whether it has `role` in some network at least. What it may do there is for [`may`](Self::may) to say.
    pub fn has(&self, role: Role) -> bool {
        self.grant.role >= role
    }

    /// Whether it may know of `network`.
    pub fn sees(&self, network: NetworkId) -> bool {
        self.may(Role::Viewer, Some(network))
    }

    /// Whether it may give somebody this much, to a user or a token: nobody gives more than it has.
    pub fn may_give(&self, grant: &Grant) -> bool {
        grant.is_within(&self.grant)
    }

    /// The user it is or belongs to; none on the admin socket.
    pub const fn user(&self) -> Option<UserId> {
        match self.author.who {
            Who::User { user, .. } | Who::ApiToken { user, .. } => Some(user),
            _ => None,
        }
    }

    /// The same caller with what it may do now, if it may still do anything: it may have logged out, or its token expired.
    pub fn still(&self, state: &State, now: UnixMs) -> Option<Self> {
        let (grant, until) = self.standing(state)?;
        (now < until).then_some(Self { author: self.author, grant })
    }

    /// Until when it may do exactly what it may do now, if the registry stays as it is in `state`; none if that is over.
    pub fn unchanged_until(&self, state: &State) -> Option<UnixMs> {
        self.standing(state).filter(|(grant, _)| *grant == self.grant).map(|(_, until)| until)
    }

    /// What it may do as the registry has it, and until when.
    fn standing(&self, state: &State) -> Option<(Grant, UnixMs)> {
        match self.author.who {
            Who::User { session, .. } => {
                let session = state.session(session)?;
                let user = state.user(session.user).filter(|user| user.is_enabled)?;
                Some((user.grant.clone(), session.expires))
            }
            Who::ApiToken { token, .. } => {
                let token = state.api_token(token)?;
                Some((state.grant_of(token)?, token.expires))
            }
            _ => Some((self.grant.clone(), UnixMs(u64::MAX))),
        }
    }

    /// Its session; none of a program.
    pub const fn session(&self) -> Option<SessionId> {
        match self.author.who {
            Who::User { session, .. } => Some(session),
            _ => None,
        }
    }
}

/// A request is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It shows nothing.
    #[error("this needs a login: log in, or send an API token as `Authorization: Bearer`")]
    NoCredential,
    /// What it shows is none, or nobody's any more.
    #[error("this API token is wrong, or was removed: make a new one")]
    BadToken,
    /// Its token expired.
    #[error("this API token has expired: make a new one")]
    TokenExpired,
    /// Its session is over.
    #[error("this session has ended: log in again")]
    NoSession,
    /// Its user may do nothing for now.
    #[error("this account is disabled: ask an owner")]
    Disabled,
    /// Its `Host` is not ours.
    #[error(
        "this manager does not go by that name: use its address, or add the name to `names` under [https] in its configuration"
    )]
    Host,
    /// A page elsewhere made it.
    #[error("a page of another site can't use this API")]
    Origin,
    /// It lacks the token that only our own page knows.
    #[error("this request changes something and has no valid {CSRF_HEADER} header: load the page anew")]
    Csrf,
}

impl Denied {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoCredential => "not-logged-in",
            Self::BadToken => "bad-api-token",
            Self::TokenExpired => "api-token-expired",
            Self::NoSession => "session-ended",
            Self::Disabled => "account-disabled",
            Self::Host => "wrong-host",
            Self::Origin => "wrong-origin",
            Self::Csrf => "csrf",
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NoCredential | Self::BadToken | Self::TokenExpired | Self::NoSession => StatusCode::UNAUTHORIZED,
            Self::Disabled | Self::Origin | Self::Csrf => StatusCode::FORBIDDEN,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

/// What is known of a request over the network before its body is read.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// From which address.
    pub from: IpAddr,
}

/// Who makes this call.
///
/// A token counts before a cookie. With a cookie, what is not safe (RFC 9110 section 9.2.1) needs the CSRF token too.
pub fn authenticate(state: &State, names: &Names, call: Call<'_>, now: UnixMs) -> Result<Caller, Denied> {
    origin::check(state, names, call.headers)?;
    let (who, grant) = if call.headers.contains_key(header::AUTHORIZATION) {
        by_token(state, call.headers, now)?
    } else {
        by_cookie(state, call, now)?
    };
    Ok(Caller { author: Author { who, from: Some(call.from) }, grant })
}

fn by_token(state: &State, headers: &HeaderMap, now: UnixMs) -> Result<(Who, Grant), Denied> {
    let text = only(headers, header::AUTHORIZATION).and_then(bearer).ok_or(Denied::BadToken)?;
    let shown: ApiTokenSecret = text.parse().map_err(|_| Denied::BadToken)?;
    let token = state.api_token(shown.id).filter(|token| token.hash == shown.secret.hash()).ok_or(Denied::BadToken)?;
    if now >= token.expires {
        return Err(Denied::TokenExpired);
    }
    let grant = state.grant_of(token).ok_or(Denied::Disabled)?;
    Ok((Who::ApiToken { token: token.id, user: token.user }, grant))
}

/// The scheme is written in any case (RFC 9110 section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
}

fn by_cookie(state: &State, call: Call<'_>, now: UnixMs) -> Result<(Who, Grant), Denied> {
    let shown = cookie::find(call.headers).ok_or(Denied::NoCredential)?.ok_or(Denied::NoSession)?;
    let session = session_of(state, &shown, now).ok_or(Denied::NoSession)?;
    let user = state.user(session.user).ok_or(Denied::NoSession)?;
    if !user.is_enabled {
        return Err(Denied::Disabled);
    }
    if !call.method.is_safe() && !has_csrf_token(call.headers, &shown) {
        return Err(Denied::Csrf);
    }
    Ok((Who::User { user: user.id, session: session.id }, user.grant.clone()))
}

fn session_of<'a>(state: &'a State, shown: &SessionSecret, now: UnixMs) -> Option<&'a Session> {
    state.session(shown.id).filter(|session| session.hash == shown.secret.hash() && now < session.expires)
}

fn has_csrf_token(headers: &HeaderMap, session: &SessionSecret) -> bool {
    let given = only(headers, header::HeaderName::from_static(CSRF_HEADER));
    // By their hashes, so that the time it takes says nothing of how much is right.
    let hash = |text: &str| festoon_proto::token::SecretHash::of(text.as_bytes());
    given.is_some_and(|given| hash(given) == hash(&session.secret.csrf_token()))
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::{Command, UpdateUser};
    use festoon_proto::ApiTokenId;

    use super::super::testing::{self, END, FROM, after, headers};
    use super::*;

    const N1: Option<NetworkId> = Some(NetworkId(1));
    const N2: Option<NetworkId> = Some(NetworkId(2));

    fn call(state: &State, method: &Method, headers: &HeaderMap, now: UnixMs) -> Result<Caller, Denied> {
        authenticate(state, &Names::default(), Call { method, headers, from: FROM }, now)
    }

    fn get(state: &State, headers: &HeaderMap) -> Result<Caller, Denied> {
        call(state, &Method::GET, headers, UnixMs(2))
    }

    fn cookie(id: u64) -> String {
        format!("__Host-festoon={}", *testing::session(id).to_secret_text())
    }

    fn bearer_of(id: u32) -> String {
        format!("Bearer {}", *testing::token(id).to_secret_text())
    }

    #[test]
    fn a_caller_may_what_its_grant_says() {
        let state = testing::state();
        let root = get(&state, &headers(&[("cookie", &cookie(1))])).unwrap();
        assert_eq!((root.user(), root.session(), root.author.from), (Some(UserId(1)), Some(SessionId(1)), Some(FROM)));
        assert!(root.may(Role::Owner, None) && root.sees(NetworkId(2)));
        let ann = get(&state, &headers(&[("cookie", &cookie(2))])).unwrap();
        assert!(ann.may(Role::Operator, N1) && !ann.may(Role::Admin, N1));
        assert!(ann.has(Role::Operator) && !ann.has(Role::Admin));
        assert!(ann.may_give(&ann.grant) && !ann.may_give(&root.grant) && root.may_give(&ann.grant));
        assert!(!ann.may(Role::Viewer, N2) && !ann.may(Role::Viewer, None) && !ann.sees(NetworkId(2)));
        let program = get(&state, &headers(&[("authorization", &bearer_of(1))])).unwrap();
        assert_eq!((program.user(), program.session()), (Some(UserId(2)), None));
        assert!(program.may(Role::Viewer, N1) && !program.may(Role::Operator, N1) && !program.may(Role::Viewer, N2));
        let local = Caller::local(ManagerId(1), LocalUser::new(0, "root"));
        assert!(local.may(Role::Owner, None) && local.user().is_none());
    }

    #[test]
    fn whoever_shows_nothing_good_is_nobody() {
        let state = testing::state();
        let (ours, bearer) = (cookie(1), bearer_of(1));
        let other = SessionSecret { secret: super::super::secret::Secret::from_bytes([6; 32]), ..testing::session(1) };
        let forged = format!("__Host-festoon={}", *other.to_secret_text());
        let token = ApiTokenSecret { secret: other.secret, id: ApiTokenId(1) };
        let forged_bearer = format!("Bearer {}", *token.to_secret_text());
        let table: &[(&[(&'static str, &str)], Denied)] = &[
            (&[], Denied::NoCredential),
            (&[("cookie", "festoon=x")], Denied::NoCredential),
            (&[("cookie", &forged)], Denied::NoSession),
            (&[("cookie", &cookie(9))], Denied::NoSession),
            (&[("cookie", "__Host-festoon=s1")], Denied::NoSession),
            (&[("cookie", &ours), ("cookie", &cookie(2))], Denied::NoSession),
            (&[("authorization", "")], Denied::BadToken),
            (&[("authorization", "Bearer ")], Denied::BadToken),
            (&[("authorization", "Basic cm9vdDpyb290")], Denied::BadToken),
            (&[("authorization", &forged_bearer)], Denied::BadToken),
            (&[("authorization", &bearer_of(9))], Denied::BadToken),
            (&[("authorization", &bearer), ("authorization", &bearer)], Denied::BadToken),
            // A wrong token is not made good by a cookie.
            (&[("authorization", &forged_bearer), ("cookie", &ours)], Denied::BadToken),
            (&[("cookie", &ours), ("origin", "https://evil.example")], Denied::Origin),
            (&[("authorization", &bearer), ("origin", "https://evil.example")], Denied::Origin),
            (&[("cookie", &ours), ("host", "evil.example")], Denied::Host),
        ];
        for (shown, denied) in table {
            assert_eq!(get(&state, &headers(shown)), Err(*denied), "{shown:?}");
        }
        let mut elsewhere = headers(&[("cookie", &ours)]);
        elsewhere.insert(header::HOST, axum::http::HeaderValue::from_static("evil.example"));
        assert_eq!(get(&state, &elsewhere), Err(Denied::Host));
        let lower = headers(&[("authorization", &bearer.replacen("Bearer", "bearer", 1))]);
        assert!(get(&state, &lower).is_ok());
    }

    #[test]
    fn what_ended_is_good_no_more() {
        let state = testing::state();
        let (session, bearer) = (headers(&[("cookie", &cookie(2))]), headers(&[("authorization", &bearer_of(1))]));
        let last = UnixMs(END.0 - 1);
        assert!(
            call(&state, &Method::GET, &session, last).is_ok() && call(&state, &Method::GET, &bearer, last).is_ok()
        );
        assert_eq!(call(&state, &Method::GET, &session, END), Err(Denied::NoSession));
        assert_eq!(call(&state, &Method::GET, &bearer, END), Err(Denied::TokenExpired));
        let out = after(&state, &Command::LogOut(SessionId(2)));
        assert_eq!(get(&out, &session), Err(Denied::NoSession));
        assert!(get(&out, &bearer).is_ok());
        let disabled = UpdateUser { is_enabled: Some(false), ..UpdateUser::of(UserId(2)) };
        let disabled = after(&state, &Command::UpdateUser(disabled));
        assert_eq!(get(&disabled, &session), Err(Denied::NoSession));
        assert_eq!(get(&disabled, &bearer), Err(Denied::Disabled));
        let gone = after(&state, &Command::RemoveUser(UserId(2)));
        assert_eq!((get(&gone, &session), get(&gone, &bearer)), (Err(Denied::NoSession), Err(Denied::BadToken)));
        let revoked = after(&state, &Command::RemoveApiToken(ApiTokenId(1)));
        assert_eq!(get(&revoked, &bearer), Err(Denied::BadToken));
        let demoted = UpdateUser { role: Some(Role::Viewer), ..UpdateUser::of(UserId(2)) };
        let demoted = after(&state, &Command::UpdateUser(demoted));
        assert!(!get(&demoted, &session).unwrap().may(Role::Operator, N1), "at once, in a session that goes on");
    }

    #[test]
    fn a_cookie_changes_nothing_without_the_token_of_its_session() {
        let state = testing::state();
        let ours = cookie(1);
        let good = testing::secret().csrf_token();
        let other = super::super::secret::Secret::from_bytes([6; 32]).csrf_token();
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(call(&state, &method, &headers(&[("cookie", &ours)]), UnixMs(2)).is_ok(), "{method}");
        }
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let with = |more: &[(&'static str, &str)]| {
                let shown = [&[("cookie", ours.as_str())], more].concat();
                call(&state, &method, &headers(&shown), UnixMs(2)).map(drop)
            };
            assert_eq!(with(&[(CSRF_HEADER, &good)]), Ok(()), "{method}");
            for bad in ["", &other, &good[1..]] {
                assert_eq!(with(&[(CSRF_HEADER, bad)]), Err(Denied::Csrf), "{method} {bad}");
            }
            assert_eq!(with(&[]), Err(Denied::Csrf), "{method}");
            assert_eq!(with(&[(CSRF_HEADER, &good), (CSRF_HEADER, &good)]), Err(Denied::Csrf), "{method}");
            // No page can make a browser send a token.
            let bearer = headers(&[("authorization", &bearer_of(1))]);
            assert!(call(&state, &method, &bearer, UnixMs(2)).is_ok(), "{method}");
        }
    }

    #[test]
    fn every_denial_has_a_word_a_status_and_one_line() {
        for denied in [
            Denied::NoCredential,
            Denied::BadToken,
            Denied::TokenExpired,
            Denied::NoSession,
            Denied::Disabled,
            Denied::Host,
            Denied::Origin,
            Denied::Csrf,
        ] {
            assert!(denied.status().is_client_error() && !denied.kind().is_empty());
            assert!(!denied.to_string().contains('\n'));
        }
    }
}
