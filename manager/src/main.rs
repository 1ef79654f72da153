//! The program `festoon-manager`.

use std::process::ExitCode;

use festoon_manager::cli::{Cli, exit_code, run};
use festoon_proto::harmless::{harmless, one_line};

fn main() -> ExitCode {
    if let Err(error) = festoon_secrets::keep_memory_private() {
        eprintln!(
            "festoon-manager: warning: cannot protect the memory of this process, other programs of this user can read it: {error}"
        );
    }
    let cli = Cli::from_line();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("can't start")),
    };
    let ended = runtime.block_on(run(cli));
    // What still waits for a disk must not hold up the end: all that counts is written already.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// One line, whatever lies behind it. Nothing if nobody reads the output any more.
fn fail(error: &anyhow::Error) -> ExitCode {
    let Some(code) = exit_code(error) else { return ExitCode::SUCCESS };
    let text = one_line(error.chain().map(ToString::to_string));
    eprintln!("festoon-manager: {}", harmless(&text));
    code
}
