//! The cookie of a session (RFC 6265).
//!
//! The browser sends it over TLS alone and to this host alone (`__Host-`), shows it to no script, and leaves it out of whatever
//! another site begins.

use axum::http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use super::secret::SessionSecret;

const NAME: &str = "__Host-festoon";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// `Set-Cookie` of a new session, for as long as that lasts.
pub fn set(session: &SessionSecret, lasts_s: u64) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("{NAME}={}; {ATTRIBUTES}; Max-Age={lasts_s}", *session.to_secret_text()));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `Set-Cookie` that takes it away.
pub fn clear() -> HeaderValue {
    HeaderValue::from_static("__Host-festoon=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// The CSRF token of the session in the cookie, if there is one.
pub fn csrf_token(headers: &HeaderMap) -> Option<String> {
    find(headers)?.map(|session| session.secret.csrf_token())
}

/// What our cookie holds, if there is one. Two are none: somebody put one in.
pub(super) fn find(headers: &HeaderMap) -> Option<Option<SessionSecret>> {
    let mut ours = named(headers, NAME);
    let first = ours.next()?;
    Some(if ours.next().is_none() { first.parse().ok() } else { None })
}

/// What all cookies of this name hold.
pub(super) fn named<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    pairs.filter_map(move |pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use festoon_proto::SessionId;

    use super::super::secret::Secret;
    use super::*;

    fn session() -> SessionSecret {
        SessionSecret { id: SessionId(7), secret: Secret::from_bytes([3; 32]) }
    }

    #[test]
    fn the_cookie_is_for_this_host_and_no_script() {
        let value = set(&session(), 60).unwrap();
        let text = value.to_str().unwrap();
        assert!(text.starts_with("__Host-festoon=s7."), "{text}");
        assert!(text.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=60"), "{text}");
        assert!(!text.contains("Domain") && value.is_sensitive());
        assert_eq!(clear().to_str().unwrap(), format!("{NAME}=; {ATTRIBUTES}; Max-Age=0"));
    }

    #[test]
    fn it_is_found_among_others_and_two_are_none() {
        let ours = format!("{NAME}={}", *session().to_secret_text());
        let found = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_str(line).unwrap());
            }
            find(&headers)
        };
        assert_eq!(found(&[&ours]), Some(Some(session())));
        assert_eq!(found(&[&format!("a=b; {ours};c=d")]), Some(Some(session())));
        assert_eq!(found(&["a=b", &ours]), Some(Some(session())));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&["festoon=s7.x; __Host-festoon2=x"]), None);
        assert_eq!(found(&["__Host-festoon=x"]), Some(None));
        assert_eq!(found(&[&ours, &ours]), Some(None));
    }
}
