//! Profiles follow the CA of their cluster.
//!
//! A manager names the CAs that are trusted with every answer, over a connection that one of them vouches for. A profile that
//! trusts one of those takes the rest from there, so that it still knows whom to believe when the CA it began with is gone.

use std::path::{Path, PathBuf};

use axum::http::HeaderMap;
use festoon_proto::Fingerprint;

use super::{Profile, Profiles};
use crate::pki::KnownAuthorities;

/// What the profiles of this user are told.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    /// The CAs that the connection was checked with.
    trusted: Vec<Fingerprint>,
}

impl Follower {
    /// For connections that are checked with the CAs `trusted`; none if this user has no place for profiles.
    pub(super) fn new(trusted: &[Fingerprint]) -> Option<Self> {
        Some(Self { path: Profiles::path().ok()?, trusted: trusted.to_vec() })
    }

    /// Keeps what an answer with these headers says of the CAs.
    pub(super) fn heed(&self, headers: &HeaderMap) {
        let known = headers.get(KnownAuthorities::HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        let Some(known) = known else { return };
        if let Err(error) = self.keep(&known) {
            eprintln!(
                "festoon-manager: warning: the cluster is replacing its CA, and the new one can't be saved in your profiles: {error:#}"
            );
        }
    }

    fn keep(&self, known: &KnownAuthorities) -> anyhow::Result<()> {
        // Nothing is new to most answers, and nothing is written then.
        if known.trusted == self.trusted || !self.path.exists() {
            return Ok(());
        }
        follow(&self.path, &self.trusted, known)
    }
}

fn follow(path: &Path, trusted: &[Fingerprint], known: &KnownAuthorities) -> anyhow::Result<()> {
    let mut profiles = Profiles::load(path)?;
    let is_behind = |profile: &&mut Profile| {
        profile.ca.iter().any(|ca| trusted.contains(ca))
            && profile.ca != known.trusted
            && profile.ca_as_of < known.version
    };
    let mut is_changed = false;
    for profile in profiles.profiles.values_mut().filter(is_behind) {
        profile.ca.clone_from(&known.trusted);
        profile.ca_as_of = known.version;
        is_changed = true;
    }
    if is_changed { profiles.save(path) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_that_trust_the_manager_take_the_next_ca_and_give_up_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        let ca = |number: u8| Fingerprint([number; 32]);
        let profile = |number| Profile { ca: vec![ca(number)], ..Profile::default() };
        let mut profiles = Profiles::default();
        profiles.profiles.extend([("mine".to_owned(), profile(1)), ("other".to_owned(), profile(9))]);
        profiles.save(&path).unwrap();
        let told = |trusted: &[u8], version, known: &[u8]| {
            let numbers = |of: &[u8]| of.iter().copied().map(ca).collect::<Vec<_>>();
            let known = KnownAuthorities { version, trusted: numbers(known) };
            follow(&path, &numbers(trusted), &known).unwrap();
            let profiles = Profiles::load(&path).unwrap().profiles;
            assert_eq!(profiles["other"].ca, [ca(9)], "it is of another cluster");
            profiles["mine"].ca.clone()
        };
        assert_eq!(told(&[1], 5, &[1, 2]), [ca(1), ca(2)]);
        assert_eq!(told(&[1, 2], 4, &[1]), [ca(1), ca(2)], "a manager that lags behind");
        assert_eq!(told(&[1, 2], 8, &[2]), [ca(2)]);
        assert_eq!(told(&[1], 9, &[3]), [ca(2)], "this profile no longer trusts who says so");
    }
}
