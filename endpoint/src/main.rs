//! The program `festoon`.

use std::process::ExitCode;

use festoon_endpoint::cli::{self, Cli};
use festoon_endpoint::output::{is_unread, warn};

fn main() -> ExitCode {
    if let Err(error) = festoon_secrets::keep_memory_private() {
        eprintln!(
            "festoon: warning: cannot protect the memory of this process, other programs of this user can read it: {error}"
        );
    }
    let cli = Cli::from_line();
    match cli::run(cli) {
        Ok(code) => code,
        Err(error) if is_unread(&error) => ExitCode::SUCCESS,
        Err(error) => {
            warn(&cli::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
