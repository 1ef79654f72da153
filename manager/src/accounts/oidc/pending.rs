//! What a browser keeps between the two halves of a login: it shows that the second is of the first.

use std::fmt;

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// Lax, unlike that of a session: the provider's page sends the browser back to us with it.
const NAME: &str = "__Host-festoon-oidc";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";
/// For as long as one takes to log in at a provider, in seconds.
const LASTS_S: u32 = 600;

/// The state, the nonce and the PKCE verifier of a login: 256 random bits each. Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Pending([Zeroizing<String>; 3]);

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending(redacted)")
    }
}

impl Pending {
    /// A new one.
    pub fn generate() -> Self {
        Self(std::array::from_fn(|_| Zeroizing::new(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))))
    }

    /// What the provider sends back beside the code.
    pub(super) fn state(&self) -> &str {
        &self.0[0]
    }

    /// What the ID token must have in it.
    pub(super) fn nonce(&self) -> &str {
        &self.0[1]
    }

    /// What the code is of no use without.
    pub(super) fn verifier(&self) -> &str {
        &self.0[2]
    }

    /// `Set-Cookie`.
    pub fn set_cookie(&self) -> Option<HeaderValue> {
        let [state, nonce, verifier] = &self.0;
        let (state, nonce, verifier) = (state.as_str(), nonce.as_str(), verifier.as_str());
        let text = Zeroizing::new(format!("{NAME}={state}.{nonce}.{verifier}; {ATTRIBUTES}; Max-Age={LASTS_S}"));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// `Set-Cookie` that takes it away: it is good once.
    pub fn clear_cookie() -> HeaderValue {
        HeaderValue::from_static("__Host-festoon-oidc=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
    }

    /// What a browser shows, if it is the only one.
    pub fn find(headers: &axum::http::HeaderMap) -> Option<Self> {
        let mut ours = super::super::cookie::named(headers, NAME);
        let parts: Vec<_> = ours.next()?.split('.').collect();
        let is_ours = |part: &&str| URL_SAFE_NO_PAD.decode(part).is_ok_and(|bytes| bytes.len() == 32);
        let [state, nonce, verifier] = parts[..] else { return None };
        let all = [state, nonce, verifier];
        let is_good = ours.next().is_none() && all.iter().all(is_ours);
        is_good.then(|| Self(all.map(|part| Zeroizing::new(part.to_owned()))))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};

    use super::*;

    #[test]
    fn the_browser_that_began_it_is_known_again() {
        let pending = Pending::generate();
        let set = pending.set_cookie().unwrap();
        let text = set.to_str().unwrap();
        assert!(text.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"), "{text}");
        let pair = text.split(';').next().unwrap();
        let found = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (header::COOKIE, HeaderValue::from_str(line).unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value);
            }
            Pending::find(&headers)
        };
        assert_eq!(found(&[&format!("a=b; {pair}")]), Some(pending.clone()));
        assert_eq!(found(&[pair, pair]), None, "somebody put one in");
        assert_eq!(found(&[]), None);
        assert_eq!(found(&["__Host-festoon-oidc=a.b.c"]), None);
        assert_eq!(found(&[&pair[..pair.len() - 1]]), None);
        let all = [pending.state(), pending.nonce(), pending.verifier()];
        assert!(all[0] != all[1] && all[1] != all[2] && all.iter().all(|part| part.len() == 43));
        assert_eq!(format!("{pending:?}"), "Pending(redacted)");
    }
}
