//! Names: DNS labels (RFC 1123 section 2.1), in lower case.

use serde::{Deserialize, Serialize};

const MAX_LEN: usize = 63;

/// A text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{name:?} is not a name: use up to {MAX_LEN} lower-case letters, digits and hyphens, no hyphen at either end")]
pub struct NameError {
    name: String,
}

/// Whether `name` is a name.
pub(super) fn check(name: &str) -> Result<(), NameError> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (1..=MAX_LEN).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    // A name of any length may arrive here; the error stays one line.
    if good { Ok(()) } else { Err(NameError { name: name.chars().take(MAX_LEN + 1).collect() }) }
}

/// The name that is most like what a host calls itself: its first label, with a hyphen for whatever a name can't hold.
pub(super) fn from_host(host: &str) -> String {
    let label = host.split('.').next().unwrap_or_default();
    let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = label.chars().take(MAX_LEN).map(fit).collect();
    match name.trim_matches('-') {
        "" => "endpoint".to_owned(),
        name => name.to_owned(),
    }
}

/// `wanted`, or the first of `wanted-2`, `wanted-3`, ... that is not taken.
pub(super) fn unique(wanted: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut name = wanted.to_owned();
    let mut number = 2_u64;
    while taken(&name) {
        let suffix = format!("-{number}");
        let stem = &wanted[..wanted.len().min(MAX_LEN - suffix.len())];
        name = format!("{}{suffix}", stem.trim_end_matches('-'));
        number += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "web-2", "0", &"x".repeat(63)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "Web", "a_b", "a.b", "ä", &"x".repeat(64)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let taken = ["web", "web-2"];
        assert_eq!(unique("web", |name| taken.contains(&name)), "web-3");
        assert_eq!(unique("db", |name| taken.contains(&name)), "db");
        let long = "x".repeat(63);
        assert_eq!(unique(&long, |name| name == long), format!("{}-2", "x".repeat(61)));
    }

    proptest! {
        #[test]
        fn whatever_a_host_calls_itself_becomes_a_name(host: String) {
            prop_assert_eq!(check(&from_host(&host)), Ok(()));
        }
    }

    #[test]
    fn a_host_keeps_its_first_label() {
        assert_eq!(from_host("Web_01.example.com"), "web-01");
        assert_eq!(from_host(""), "endpoint");
    }
}
