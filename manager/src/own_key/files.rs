//! The key files of a manager.
//!
//! | file | key | there |
//! |---|---|---|
//! | `wireguard.key` | the manager's | always |
//! | `wireguard-next.key` | the one it is to have, and the seconds for which the one before is to be good | until the registry has it |
//! | `wireguard-former.key` | the one it had before | while that is good |

use std::time::Duration;

use festoon_control::registry::Manager;
use festoon_proto::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::data_dir::{
    DataDir, DataDirError, FORMER_WIREGUARD_KEY as FORMER, NEXT_WIREGUARD_KEY as NEXT, WIREGUARD_KEY,
};
use crate::node::NodeKeys;

/// The key files of a manager.
#[derive(Debug, Clone)]
pub struct KeyFiles {
    data: DataDir,
}

/// A key that a manager is to have.
#[derive(Debug, Clone)]
pub struct Next {
    /// The key.
    pub key: PrivateKey,
    /// For how long the one before is to be good.
    pub overlap: Duration,
}

/// All keys on disk.
#[derive(Debug)]
pub struct Stored {
    /// The one in `wireguard.key`.
    pub current: PrivateKey,
    /// The one before.
    pub former: Option<PrivateKey>,
    /// The one to come.
    pub next: Option<Next>,
}

impl Stored {
    fn find(&self, public: PublicKey) -> Option<&PrivateKey> {
        let next = self.next.as_ref().map(|next| &next.key);
        let all = [Some(&self.current), next, self.former.as_ref()];
        all.into_iter().flatten().find(|key| key.public_key() == public)
    }
}

impl KeyFiles {
    /// Those in `data`.
    pub fn new(data: DataDir) -> Self {
        Self { data }
    }

    /// Reads them.
    pub fn load(&self) -> Result<Stored, DataDirError> {
        let former = self.data.has(FORMER).then(|| self.data.read_key(FORMER)).transpose()?;
        Ok(Stored { current: self.data.read_key(WIREGUARD_KEY)?, former, next: self.next()? })
    }

    /// The key to come, if there is one.
    pub fn next(&self) -> Result<Option<Next>, DataDirError> {
        if !self.data.has(NEXT) {
            return Ok(None);
        }
        let text = Zeroizing::new(self.data.read(NEXT)?);
        let next = text.trim().split_once(' ').and_then(|(key, seconds)| {
            Some(Next { key: key.parse().ok()?, overlap: Duration::from_secs(seconds.parse().ok()?) })
        });
        next.map(Some).ok_or_else(|| self.data.damaged(NEXT))
    }

    /// Makes the key to come, unless an interrupted change left one: the cluster may know it.
    pub fn prepare(&self, overlap: Duration) -> Result<Next, DataDirError> {
        let left = self.next()?.map(|next| next.key);
        let next = Next { key: left.unwrap_or_else(|| PrivateKey::from_bytes(rand::random())), overlap };
        let secret = Zeroizing::new(next.key.to_secret_base64());
        self.data.write(NEXT, &Zeroizing::new(format!("{} {}\n", *secret, overlap.as_secs())))?;
        Ok(next)
    }

    /// Forgets the key to come. Only when it is certain that the registry does not have it and never will.
    pub fn abandon(&self) -> Result<(), DataDirError> {
        self.data.remove(NEXT)
    }

    /// Brings the files into line with the registry's record of the manager, and gives the keys for the node. Whatever a
    /// power cut leaves undone is done the next time.
    ///
    /// No key is overwritten that the record names: the record may be older than the files.
    pub fn settle(&self, record: &Manager) -> Result<NodeKeys, DataDirError> {
        let stored = self.load()?;
        let previous = record.previous_key.map(|previous| previous.key);
        let Some(key) = stored.find(record.public_key) else {
            tracing::error!(
                expected = %record.public_key,
                "the registry has another key for this manager than its files: run `festoon-manager managers rotate-key`"
            );
            return Ok(NodeKeys { key: stored.current, former: None });
        };
        let keys = NodeKeys { key: key.clone(), former: previous.and_then(|key| stored.find(key)).cloned() };
        if stored.next.is_some_and(|next| next.key.public_key() == record.public_key) {
            self.promote(&keys, stored.current.public_key() == record.public_key)?;
        }
        let is_over = |former: PublicKey| previous != Some(former) && record.public_key != former;
        if stored.former.is_some_and(|former| is_over(former.public_key())) {
            self.data.remove(FORMER)?;
        }
        Ok(keys)
    }

    /// Makes the key to come that of now.
    fn promote(&self, keys: &NodeKeys, is_written: bool) -> Result<(), DataDirError> {
        if !is_written {
            if let Some(former) = &keys.former {
                self.data.write_key(FORMER, former)?;
            }
            self.data.write_key(WIREGUARD_KEY, &keys.key)?;
        }
        self.data.remove(NEXT)
    }
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::{ManagerRole, PreviousKey, UnixMs};
    use festoon_proto::{Fingerprint, ManagerId, VerifyingKey};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn record(key: &PrivateKey, previous: Option<&PrivateKey>) -> Manager {
        Manager {
            id: ManagerId(1),
            name: "m1".to_owned(),
            role: ManagerRole::Full,
            public_key: key.public_key(),
            previous_key: previous.map(|key| PreviousKey { key: key.public_key(), until: UnixMs(9) }),
            seal_key: None,
            signing_key: VerifyingKey([0; 32]),
            first_tls_key: Fingerprint([0; 32]),
            incarnation: 0,
            underlay: Vec::new(),
            https: Vec::new(),
            priority: 1,
            region: None,
            is_draining: false,
            format: 1,
            release: None,
            changed: Default::default(),
        }
    }

    fn files() -> (tempfile::TempDir, KeyFiles, PrivateKey) {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::prepare(root.path()).unwrap();
        let key = data.private_key_or_new().unwrap();
        (root, KeyFiles::new(data), key)
    }

    fn public(keys: &NodeKeys) -> (PublicKey, Option<PublicKey>) {
        (keys.key.public_key(), keys.former.as_ref().map(PrivateKey::public_key))
    }

    fn names(root: &tempfile::TempDir) -> Vec<String> {
        let names =
            std::fs::read_dir(root.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_key_goes_from_next_to_current_to_former_and_away() {
        let (root, files, old) = files();
        assert_eq!(public(&files.settle(&record(&old, None)).unwrap()), (old.public_key(), None));
        let new = files.prepare(HOUR).unwrap();
        assert_eq!(public(&files.settle(&record(&old, None)).unwrap()), (old.public_key(), None), "not proposed yet");
        let again = files.prepare(2 * HOUR).unwrap();
        assert_eq!(again.key.public_key(), new.key.public_key(), "the cluster may know it");
        assert_eq!(files.next().unwrap().unwrap().overlap, 2 * HOUR);

        let during = record(&new.key, Some(&old));
        for _ in 0..2 {
            assert_eq!(public(&files.settle(&during).unwrap()), (new.key.public_key(), Some(old.public_key())));
            assert_eq!(names(&root), [FORMER, WIREGUARD_KEY]);
        }
        assert_eq!(public(&files.settle(&record(&new.key, None)).unwrap()), (new.key.public_key(), None));
        assert_eq!(names(&root), [WIREGUARD_KEY]);
        assert_eq!(files.load().unwrap().current.public_key(), new.key.public_key());
    }

    #[test]
    fn a_power_cut_at_any_step_loses_no_key() {
        for cut_after in 0..3 {
            let (root, files, old) = files();
            let new = files.prepare(HOUR).unwrap();
            let during = record(&new.key, Some(&old));
            // The steps of `promote`, as far as they came.
            if cut_after > 0 {
                files.data.write_key(FORMER, &old).unwrap();
            }
            if cut_after > 1 {
                files.data.write_key(WIREGUARD_KEY, &new.key).unwrap();
            }
            assert_eq!(public(&files.settle(&during).unwrap()), (new.key.public_key(), Some(old.public_key())));
            assert_eq!(names(&root), [FORMER, WIREGUARD_KEY], "{cut_after}");
            assert_eq!(files.load().unwrap().former.unwrap().public_key(), old.public_key());
        }
    }

    #[test]
    fn a_record_from_before_finds_the_key_from_before() {
        let (_root, files, old) = files();
        let new = files.prepare(HOUR).unwrap();
        files.settle(&record(&new.key, Some(&old))).unwrap();
        assert_eq!(public(&files.settle(&record(&old, None)).unwrap()), (old.public_key(), None));
        let keys = files.settle(&record(&new.key, Some(&old))).unwrap();
        assert_eq!(public(&keys), (new.key.public_key(), Some(old.public_key())), "and nothing was lost by it");
    }

    #[test]
    fn a_record_with_a_key_that_is_nowhere_leaves_everything_as_it_is() {
        let (root, files, old) = files();
        let stranger = PrivateKey::from_bytes([9; 32]);
        assert_eq!(public(&files.settle(&record(&stranger, None)).unwrap()), (old.public_key(), None));
        assert_eq!(names(&root), [WIREGUARD_KEY]);
        std::fs::write(root.path().join(NEXT), "nonsense").unwrap();
        assert!(matches!(files.load(), Err(DataDirError::Damaged { .. })));
        files.abandon().unwrap();
        files.abandon().unwrap();
        assert!(files.load().unwrap().next.is_none());
    }
}
