//! SIGHUP: the configuration file is read again.

use std::convert::Infallible;
use std::path::PathBuf;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::telemetry::Filter;

/// The configuration that a manager runs with, and where it is from.
#[derive(Debug)]
pub struct Settings {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// What was in it.
    pub config: Config,
    /// What is logged.
    pub filter: Filter,
}

/// Reads the file again when it is asked to.
pub(super) struct Reload {
    hangup: Signal,
    settings: Settings,
}

impl Reload {
    pub(super) fn listen(settings: Settings) -> anyhow::Result<Self> {
        Ok(Self { hangup: signal(SignalKind::hangup()).context("can't listen for signals")?, settings })
    }

    /// Does so for as long as it is polled. Before that a signal waits.
    pub(super) async fn run(mut self) -> Infallible {
        loop {
            match self.hangup.recv().await {
                Some(()) => self.carry_out(),
                None => std::future::pending().await,
            }
        }
    }

    /// Applies what can be applied while the manager runs, and says what can't.
    fn carry_out(&mut self) {
        let Settings { path, config, filter } = &mut self.settings;
        let Some(path) = path else {
            return tracing::warn!(
                "SIGHUP: there is no configuration file to read again: name one with `serve --config`"
            );
        };
        let next = match Config::load(Some(path)) {
            Ok(next) => next,
            Err(error) => return tracing::error!(%error, "SIGHUP: the configuration stays as it was"),
        };
        if next.log != config.log {
            filter.set(&next.log);
            tracing::info!(filter = next.log.filter, "SIGHUP: logs are filtered anew");
        }
        let waiting = next.differences(&Config { log: next.log.clone(), ..config.clone() });
        match waiting.is_empty() {
            true => tracing::info!(path = %path.display(), "SIGHUP: the configuration was read again"),
            false => tracing::warn!(
                path = %path.display(),
                "SIGHUP: what is new in [{}] is used from the next start on: restart this manager",
                waiting.join("], [")
            ),
        }
        // The rest is compared with what this manager runs with.
        config.log = next.log;
    }
}
