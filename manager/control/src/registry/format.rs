//! The versions of commands and stored states, while the managers of a cluster run different programs.
//!
//! A program reads the format it is made for and the one before. A cluster uses the highest that the programs of all its
//! managers understand: so managers are upgraded one by one, each announces the new format, and with the last of them the
//! cluster begins to use it. It never goes back.

use festoon_proto::ManagerId;
use serde::{Deserialize, Serialize};

use super::AnnounceProgram;
use super::record::Manager;
use super::state::State;

/// The highest format that this program understands. It reads the one before too.
pub const FORMAT: u16 = 1;

/// Bytes of the name of a release.
const MAX_RELEASE: usize = 64;

/// The format that a state is stored in. Reading one that this program does not understand is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub(super) struct Format(u16);

impl Format {
    pub(super) const fn number(self) -> u16 {
        self.0
    }
}

impl Default for Format {
    fn default() -> Self {
        Self(1)
    }
}

impl From<Format> for u16 {
    fn from(format: Format) -> Self {
        format.0
    }
}

impl TryFrom<u16> for Format {
    type Error = FormatError;

    fn try_from(number: u16) -> Result<Self, FormatError> {
        check_readable(number).map(|()| Self(number))
    }
}

/// Whether this program can read what is stored in `format`.
pub fn check_readable(format: u16) -> Result<(), FormatError> {
    let is_readable = (1..=FORMAT).contains(&format) && format + 1 >= FORMAT;
    if is_readable { Ok(()) } else { Err(FormatError::Unreadable(format)) }
}

/// Programs do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FormatError {
    /// This program can't read it.
    #[error(
        "this is in format {0}, and this program reads {FORMAT} and the one before: install the version that wrote it"
    )]
    Unreadable(u16),
    /// A manager's program is older than what the cluster uses.
    #[error(
        "this program understands format {program} and the cluster uses {cluster}: install the version the other managers run"
    )]
    TooOld {
        /// What the program understands.
        program: u16,
        /// What the cluster uses.
        cluster: u16,
    },
    /// A manager's program is too new to read what the cluster uses.
    #[error(
        "this program reads format {program} and the one before, and the cluster uses {cluster}: upgrade all managers to the versions between first"
    )]
    TooNew {
        /// What the program understands.
        program: u16,
        /// What the cluster uses.
        cluster: u16,
    },
    /// A command is newer than what the cluster uses.
    #[error("this needs format {needed} and the cluster uses {cluster}: upgrade all managers first")]
    NotYet {
        /// What the command needs.
        needed: u16,
        /// What the cluster uses.
        cluster: u16,
    },
    /// The name of a release is none.
    #[error("a release has 1 to {MAX_RELEASE} printable ASCII characters, as in 1.4.2")]
    Release,
    /// There is no such manager.
    #[error("there is no manager {0}: see `festoon-manager status` for those there are")]
    NoManager(ManagerId),
}

impl FormatError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "format-unreadable",
            Self::TooOld { .. } => "format-too-old",
            Self::TooNew { .. } => "format-too-new",
            Self::NotYet { .. } => "format-not-yet",
            Self::Release => "bad-release",
            Self::NoManager(_) => "manager-unknown",
        }
    }
}

/// Whether a manager whose program understands `program` can be in the cluster.
pub(super) fn check(state: &State, program: u16) -> Result<(), FormatError> {
    let cluster = state.format();
    if program < cluster {
        return Err(FormatError::TooOld { program, cluster });
    }
    if program > cluster.saturating_add(1) {
        return Err(FormatError::TooNew { program, cluster });
    }
    Ok(())
}

pub(super) fn announce(state: &mut State, command: &AnnounceProgram) -> Result<(), FormatError> {
    let AnnounceProgram { manager: id, format, release } = command.clone();
    let manager = state.manager(id).cloned().ok_or(FormatError::NoManager(id))?;
    check(state, format)?;
    let is_release = (1..=MAX_RELEASE).contains(&release.len()) && release.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_release {
        return Err(FormatError::Release);
    }
    state.note_manager(Manager { format, release: Some(release), ..manager });
    settle(state);
    Ok(())
}

/// Uses the highest format that all managers understand, after they or their programs changed.
pub(super) fn settle(state: &mut State) {
    if let Some(lowest) = state.managers().map(|manager| manager.format).min() {
        state.records.format = state.records.format.max(Format(lowest));
    }
}
