//! What follows the question mark of a URL.

use std::fmt::{Display, Write as _};

/// A path with a query, part by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Query(String);

impl Query {
    /// Nothing but this path.
    pub(in crate::cli) fn of(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// With `name=value`, if there is a value.
    pub(in crate::cli) fn with(mut self, name: &str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            self.0.push(if self.0.contains('?') { '&' } else { '?' });
            self.0.push_str(name);
            self.0.push('=');
            self.0.push_str(&escaped(&value.to_string()));
        }
        self
    }

    /// Whether it asks for some of all that is there.
    pub(in crate::cli) fn is_filtered(&self) -> bool {
        self.0.contains('?')
    }

    /// As a request has it.
    pub(in crate::cli) fn as_str(&self) -> &str {
        &self.0
    }
}

/// `text` as a part of a URL: all but what is never special is escaped (RFC 3986 section 2.3).
pub(in crate::cli) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_asked_for() {
        let query =
            Query::of("/endpoints").with("name", Some("a&b ä")).with("tag", None::<&str>).with("limit", Some(7));
        assert_eq!(query.as_str(), "/endpoints?name=a%26b%20%C3%A4&limit=7");
        assert_eq!(escaped("../x?y#z"), "..%2Fx%3Fy%23z");
    }
}
