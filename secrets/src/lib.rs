//! How secrets get into a program, and that they stay there.
//!
//! A command line is no place for a secret: every user of the machine can read it while the program runs, and the shell keeps it in
//! its history. So both programs take a secret in the same three ways, which [`Source`] reads: from the standard input (`-`), from
//! a file (`@FILE`), and from a variable of the environment. One that is given as an argument all the same works, with a warning.

mod environment;
mod process;
mod source;

pub use environment::ignore_empty_variables;
pub use process::keep_memory_private;
pub use source::{Secret, Source, SourceError, variable};

/// What the help of both programs says about secrets.
pub const HELP: &str = "\
Secrets:
  A join token, or a URL with a password in it, is given as `-` (the first line of the standard input), as
  `@FILE` (the first line of a file that only you can read), or in the environment. As an argument it works
  too, but then others can read it: every user of this machine with `ps`, and later the shell's history.";
