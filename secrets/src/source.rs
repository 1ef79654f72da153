//! Where a secret comes from.

use std::convert::Infallible;
use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::process::hide_argument;

/// Permissions of a file that let others than its owner read it.
const OTHERS: u32 = 0o077;

/// A secret text, wiped from memory when dropped.
pub type Secret = Zeroizing<String>;

/// Where a command line says that a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// `-`: in the first line of the standard input.
    Input,
    /// `@FILE`: in the first line of a file.
    File(PathBuf),
    /// On the command line itself, for everybody to read.
    Argument(Secret),
}

/// A secret can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is nowhere.
    #[error(
        "there is no {what}: give `-` and the {what} on the standard input, or `@FILE`, or set {variable} in the environment"
    )]
    Missing {
        /// What it is.
        what: &'static str,
        /// The variable that may have it.
        variable: &'static str,
    },
    /// It can't be read.
    #[error("cannot read the {what} from {place}")]
    Io {
        /// What it is.
        what: &'static str,
        /// Where it should be.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing.
    #[error("the first line of {place} is empty, and the {what} should be there")]
    Empty {
        /// What it is.
        what: &'static str,
        /// Where it should be.
        place: String,
    },
    /// Others can read it.
    #[error("{path} holds a secret, and others may read it: run `chmod 600 {path}`", path = .0.display())]
    Readable(PathBuf),
}

/// A text of any kind is one.
impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text, text.strip_prefix('@')) {
            ("-", _) => Self::Input,
            (_, Some(path)) => Self::File(path.into()),
            _ => Self::Argument(Zeroizing::new(text.to_owned())),
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => f.write_str("Input"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Argument(_) => f.write_str("Argument(redacted)"),
        }
    }
}

impl Source {
    /// The secret that `given` means. If the command line says nothing, it is that of the environment's `variable`; `what` is what
    /// people call it.
    pub fn read(given: Option<&Self>, what: &'static str, variable: &'static str) -> Result<Secret, SourceError> {
        match given {
            Some(source) => source.contents(what),
            None => self::variable(variable).ok_or(SourceError::Missing { what, variable }),
        }
    }

    /// What to say to a person who gave a secret as an argument; nothing to others.
    pub fn warning(given: Option<&Self>, what: &str, variable: &str) -> Option<String> {
        let text = format!(
            "warning: the {what} is on the command line, where every user of this machine can read it, and the shell keeps it in its \
             history: give `-` and the {what} on the standard input, or `@FILE`, or set {variable} in the environment"
        );
        matches!(given, Some(Self::Argument(_))).then_some(text)
    }

    /// Warns a person who gave a secret as an argument of `program`, and starts it again in the same process without that argument.
    /// Returns if there is none, or if that fails.
    pub fn hide(given: Option<&Self>, program: &str, what: &str, variable: &str) {
        if let Some(warning) = Self::warning(given, what, variable) {
            eprintln!("{program}: {warning}");
        }
        if let Some(Self::Argument(secret)) = given {
            let error = hide_argument(variable, secret);
            eprintln!(
                "{program}: warning: cannot hide the {what}, others can read it while this program runs: {error}"
            );
        }
    }

    fn contents(&self, what: &'static str) -> Result<Secret, SourceError> {
        let (place, line) = match self {
            Self::Argument(secret) => return Ok(secret.clone()),
            Self::Input => ("the standard input".to_owned(), first_line(io::stdin().lock())),
            Self::File(path) => {
                let line = File::open(path).and_then(|file| Ok((file.metadata()?, first_line(BufReader::new(file))?)));
                // Of what is no file, such as a pipe, nobody reads twice.
                if let Ok((about, _)) = &line
                    && about.is_file()
                    && about.mode() & OTHERS != 0
                {
                    return Err(SourceError::Readable(path.clone()));
                }
                (path.display().to_string(), line.map(|(_, line)| line))
            }
        };
        match line {
            Ok(line) if line.is_empty() => Err(SourceError::Empty { what, place }),
            Ok(line) => Ok(line),
            Err(source) => Err(SourceError::Io { what, place, source }),
        }
    }
}

/// The secret in a variable of the environment; nothing if that is empty.
pub fn variable(name: &str) -> Option<Secret> {
    let secret = Zeroizing::new(env::var(name).ok()?);
    let secret = Zeroizing::new(secret.trim().to_owned());
    (!secret.is_empty()).then_some(secret)
}

fn first_line(input: impl BufRead) -> io::Result<Secret> {
    // Large enough for any, so that it leaves no copies where it was before it grew.
    let mut line = Zeroizing::new(Vec::with_capacity(4096));
    for byte in input.bytes() {
        match byte? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    let text = str::from_utf8(&line).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const VARIABLE: &str = "FESTOON_TEST_NEVER_SET";

    fn read(text: &str) -> Result<Secret, String> {
        Source::read(Some(&text.parse().unwrap()), "join token", VARIABLE).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_in_the_first_line_of_a_private_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, " canary \r\nmore\n").unwrap();
        let named = format!("@{}", path.display());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&named).unwrap_err().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(**read(&named).as_ref().unwrap(), "canary");
        fs::write(&path, "\ncanary").unwrap();
        assert!(read(&named).unwrap_err().contains("is empty"));
        assert!(
            read("@/nonexistent/token").unwrap_err().contains("cannot read the join token from /nonexistent/token")
        );
    }

    #[test]
    fn an_argument_works_with_a_warning_that_names_the_other_ways_and_not_the_secret() {
        let source: Source = "canary".parse().unwrap();
        assert_eq!(**read("canary").as_ref().unwrap(), "canary");
        let warning = Source::warning(Some(&source), "join token", VARIABLE).unwrap();
        for part in ["`-`", "`@FILE`", VARIABLE] {
            assert!(warning.contains(part), "{warning}");
        }
        assert!(!warning.contains("canary") && !format!("{source:?}").contains("canary"));
        for safe in ["-", "@file"] {
            assert_eq!(Source::warning(Some(&safe.parse().unwrap()), "join token", VARIABLE), None);
        }
        let missing = Source::read(None, "join token", VARIABLE).unwrap_err().to_string();
        assert!(missing.contains(VARIABLE) && missing.contains("@FILE"), "{missing}");
    }
}
