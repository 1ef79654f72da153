//! A person on the machine of a manager, as the audit log names it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How long the name of a user of an operating system can be (useradd(8)).
const MAX_NAME: usize = 32;

/// Who opened the admin socket of a manager. The manager on that machine says so, and nobody else can check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalUser {
    /// The user that the process runs as.
    pub uid: u32,
    /// The name of the user that logged in, who may have become another user since, as with `sudo`.
    pub login: LoginName,
}

impl LocalUser {
    /// The user with this id and name. What no name has is replaced, and what is too long is cut.
    pub fn new(uid: u32, login: &str) -> Self {
        Self { uid, login: LoginName::new(login) }
    }
}

/// Names who logged in, and says so if that user acts as root.
impl fmt::Display for LocalUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = self.login.as_str();
        match (self.uid, login) {
            (0, "root") => f.write_str(login),
            (0, _) => write!(f, "{login} (as root)"),
            (uid, "") => write!(f, "user {uid}"),
            _ => f.write_str(login),
        }
    }
}

/// The name of a user of an operating system: at most 32 bytes, all of them printable ASCII.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LoginName {
    bytes: [u8; MAX_NAME],
    length: u8,
}

impl LoginName {
    fn new(text: &str) -> Self {
        let mut name = Self { bytes: [0; MAX_NAME], length: 0 };
        for (place, letter) in name.bytes.iter_mut().zip(text.chars()) {
            *place = u8::try_from(letter).ok().filter(u8::is_ascii_graphic).unwrap_or(b'?');
            name.length += 1;
        }
        name
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        let name = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        str::from_utf8(name).unwrap_or_default()
    }
}

impl fmt::Debug for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for LoginName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_str().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LoginName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = Self::new(&text);
        if name.as_str() == text { Ok(name) } else { Err(de::Error::custom("this is no name of a user")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_logged_in_is_named_and_root_is_never_hidden() {
        for (uid, login, shown) in
            [(0, "root", "root"), (0, "ann", "ann (as root)"), (1000, "ann", "ann"), (998, "", "user 998")]
        {
            assert_eq!(LocalUser::new(uid, login).to_string(), shown);
        }
    }

    #[test]
    fn a_name_is_printable_and_short_also_from_another_manager() {
        assert_eq!(LocalUser::new(0, "a\u{1b}[2Jé b").login.as_str(), "a?[2J??b");
        assert_eq!(LocalUser::new(0, &"x".repeat(99)).login.as_str().len(), MAX_NAME);
        let user = LocalUser::new(7, "ann");
        let bytes = postcard::to_stdvec(&user).unwrap();
        assert_eq!(postcard::from_bytes::<LocalUser>(&bytes).unwrap(), user);
        for bad in ["a\nb".to_owned(), "x".repeat(33)] {
            assert!(postcard::from_bytes::<LocalUser>(&postcard::to_stdvec(&(7u32, bad)).unwrap()).is_err());
        }
    }
}
