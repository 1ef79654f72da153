//! A question whose answer nobody may read over a shoulder. However it ends, the terminal is as it was before.
//!
//! A program that dies by a signal restores nothing by itself. So from the first such question on, the signals that people and
//! terminals end programs with come to a thread of their own, which does it and then lets the program end by that signal.

use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// The modes of the terminal from before the question that is open; none if none is. A process has one terminal.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
static WATCH: OnceLock<()> = OnceLock::new();
/// No key stops the program in between: whoever sees to the terminal then might find it as it is now.
const NO_KEY: u8 = 0;

/// The time in which the terminal shows nothing of what is typed.
#[derive(Debug)]
pub(super) struct Hidden(());

impl Hidden {
    pub(super) fn begin() -> anyhow::Result<Self> {
        let modes = tcgetattr(io::stdin()).context("this can only be asked for at a terminal")?;
        watch().context("can't listen for signals")?;
        let mut before = before();
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent(modes.clone()))?;
        *before = Some(modes);
        Ok(Self(()))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        restore(&mut before());
    }
}

fn before() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn restore(before: &mut Option<Termios>) {
    if let Some(modes) = before.take() {
        // It fails where the terminal is gone, and then there is nothing to restore.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &modes);
    }
}

fn silent(mut modes: Termios) -> Termios {
    modes.local_modes.remove(LocalModes::ECHO);
    modes.special_codes[SpecialCodeIndex::VSUSP] = NO_KEY;
    modes
}

/// Sees to the signals from now on, to the end of the program.
fn watch() -> io::Result<()> {
    if WATCH.get().is_some() {
        return Ok(());
    }
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            // Held to the end, so that no other question begins meanwhile.
            let mut before = before();
            restore(&mut before);
            let _ = emulate_default_handler(signal);
        }
    })?;
    let _ = WATCH.set(());
    Ok(())
}
