//! Labs go away with their program, also when a signal ends it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::Site;

/// The labs of this process. Those that are gone cost nothing.
static LABS: Mutex<Vec<Weak<Site>>> = Mutex::new(Vec::new());

pub(super) fn remember(site: &Arc<Site>) {
    LABS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(site));
}

/// From now on, a signal that ends this program removes its labs first.
///
/// # Errors
/// When signals cannot be handled.
pub fn remove_on_signals() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot handle signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            eprintln!("removing the lab");
            let labs = std::mem::take(&mut *LABS.lock().unwrap_or_else(PoisonError::into_inner));
            labs.iter().filter_map(Weak::upgrade).filter(|site| !site.is_kept()).for_each(|site| site.remove());
            // Ends this process, as the signal would have.
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}
