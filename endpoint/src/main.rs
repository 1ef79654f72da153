//! The program `festoon`.

use std::process::ExitCode;

use clap::Parser as _;
use festoon_endpoint::cli::{self, Cli};
use festoon_endpoint::output::warn;

const _: () = assert!(!festoon_dataplane::VIRTUAL_CLOCK, "a program must not run on the simulation's clock");

fn main() -> ExitCode {
    if let Err(error) = festoon_secrets::keep_memory_private() {
        eprintln!(
            "festoon: warning: cannot protect the memory of this process, other programs of this user can read it: {error}"
        );
    }
    let cli = Cli::parse();
    match cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            warn(&cli::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
