//! What of a process others can see.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// The program that runs.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Keeps the memory of this process, with the keys in it, out of core dumps and away from other processes of the same user
/// (prctl(2), `PR_SET_DUMPABLE`). For the first line of `main`: a program that is started begins without it.
pub fn keep_memory_private() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Starts this program again in the same process, without the argument `secret`, which it finds in the environment as `variable`
/// instead: an environment can be read by root alone. Returns only if that fails.
pub(crate) fn hide_argument(variable: &str, secret: &str) -> io::Error {
    let mut arguments = env::args_os();
    let mut program = Command::new(THIS_PROGRAM);
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    program.args(arguments.filter(|argument| argument != secret)).env(variable, OsString::from(secret)).exec()
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn the_memory_of_a_process_becomes_private() {
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
        keep_memory_private().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
