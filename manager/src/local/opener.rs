//! Who is at the other end of the admin socket.

use std::fs;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::serve::IncomingStream;
use festoon_control::registry::LocalUser;
use tokio::net::UnixListener;
use tokio::net::unix::UCred;

use crate::https::Refused;

/// Where the users of the machine are named.
const USERS: &str = "/etc/passwd";
/// A user id that is none (setresuid(2), audit_getloginuid(3)).
const NOBODY: u32 = u32::MAX;

/// Somebody who opened the admin socket, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opener(pub LocalUser);

impl Connected<IncomingStream<'_, UnixListener>> for Opener {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().map_or(LocalUser::new(NOBODY, ""), of_process))
    }
}

impl<S: Sync> FromRequestParts<S> for Opener {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        // Every connection of the socket has one.
        parts.extensions.get().map(|ConnectInfo(opener)| *opener).ok_or_else(Refused::internal)
    }
}

fn of_process(process: UCred) -> LocalUser {
    let uid = process.uid();
    let login = process.pid().and_then(|pid| login_of(&fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?));
    let users = fs::read_to_string(USERS).unwrap_or_default();
    LocalUser::new(uid, name_of(&users, login.unwrap_or(uid)).unwrap_or_default())
}

/// The user that a login began with, whoever it became since.
fn login_of(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|uid| *uid != NOBODY)
}

/// The name of a user in a file of passwd(5).
fn name_of(users: &str, uid: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_that_the_machine_gives() {
        let users = "root:x:0:0:root:/root:/bin/bash\n# a comment\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!((name_of(users, 0), name_of(users, 1000), name_of(users, 7)), (Some("root"), Some("ann"), None));
        assert_eq!((login_of("1000\n"), login_of("4294967295"), login_of("")), (Some(1000), None, None));
    }
}
