//! One turn of the driver: every source gets a bounded share, none goes first by right, and what came of it is sent.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::counters::{IoCounters, Moved};
use super::port::{OverlayPort, Progress, Received, UnderlayPort};
use crate::{Effects, Node, tunnel};

/// Batches from the underlay in one turn.
const MAX_BATCHES: usize = 4;
/// Frames from the device in one turn. Each may stand for 45 packets.
const MAX_FRAMES: usize = 16;
/// Commands in one turn.
const MAX_COMMANDS: usize = 16;
/// Events in one turn.
const MAX_EVENTS: usize = 64;
/// Datagrams that may gather before they are sent: four full groups. Fewer cut groups apart, more leave the processor's
/// cache before the kernel reads them; both measured slower.
const MAX_GATHERED: usize = 192;

/// Whether another turn should follow at once.
pub(super) type Again = bool;

/// A node with its ports and all that a turn needs.
pub(super) struct Machine<N: Node, U, O> {
    pub(super) node: N,
    pub(super) underlay: U,
    pub(super) overlay: O,
    pub(super) commands: mpsc::Receiver<N::Command>,
    pub(super) events: mpsc::Sender<N::Event>,
    /// An event that found the channel full.
    pub(super) held: Option<N::Event>,
    effects: Effects,
    counters: Arc<IoCounters>,
    clock: Clock,
}

/// The one place of this package that reads the monotonic clock; all else is told the time. The wall clock is read where tunnels are
/// made ([`tunnel::clock`]), because boringtun reads it there.
#[derive(Debug)]
struct Clock {
    last: Instant,
}

impl Clock {
    /// Begins on the thread that drives the node.
    #[expect(clippy::disallowed_methods, reason = "the driver is the shell")]
    fn begin() -> Self {
        tunnel::clock::begin();
        Self { last: Instant::now() }
    }

    /// Now, for the node and for its tunnels.
    #[expect(clippy::disallowed_methods, reason = "the driver is the shell")]
    fn now(&mut self) -> Instant {
        let now = Instant::now();
        tunnel::clock::advance(now.saturating_duration_since(self.last));
        self.last = now;
        now
    }
}

impl<N: Node, U: UnderlayPort, O: OverlayPort> Machine<N, U, O> {
    /// On the thread that drives the node.
    pub(super) fn new(
        node: N,
        underlay: U,
        overlay: O,
        (commands, events): (mpsc::Receiver<N::Command>, mpsc::Sender<N::Event>),
        counters: Arc<IoCounters>,
    ) -> Self {
        let effects = Effects::new(underlay.max_segments(), overlay.coalesce());
        Self { node, underlay, overlay, commands, events, held: None, effects, counters, clock: Clock::begin() }
    }

    /// Serves all sources once. `first` is a command that was waited for.
    pub(super) fn turn(&mut self, first: Option<N::Command>) -> io::Result<Again> {
        let mut again = self.serve_commands(first);
        again |= self.serve_underlay()?;
        again |= self.serve_overlay()?;
        self.serve_timer();
        again |= self.pass_events();
        Ok(again || self.is_due())
    }

    /// Serves the commands that were sent before, and gives the node back.
    pub(super) fn finish(mut self) -> N {
        self.commands.close();
        while self.serve_commands(None) {}
        self.pass_events();
        self.node
    }

    /// Whether the node's time has come.
    fn is_due(&mut self) -> bool {
        let now = self.clock.now();
        self.node.poll_timeout().is_some_and(|at| at <= now)
    }

    fn serve_timer(&mut self) {
        if self.is_due() {
            let now = self.clock.now();
            self.node.handle_timeout(now, &mut self.effects);
            self.flush();
        }
    }

    fn serve_commands(&mut self, first: Option<N::Command>) -> Again {
        let mut waiting = first;
        for _ in 0..MAX_COMMANDS {
            let Some(command) = waiting.take().or_else(|| self.commands.try_recv().ok()) else { return false };
            let now = self.clock.now();
            self.node.handle_command(now, command, &mut self.effects);
            self.flush();
        }
        true
    }

    fn serve_underlay(&mut self) -> io::Result<Again> {
        for _ in 0..MAX_BATCHES {
            let now = self.clock.now();
            let Self { node, underlay, effects, counters, .. } = self;
            let mut moved = Moved::default();
            let progress = underlay.receive(|received| match received {
                Received::Datagrams { path, bytes, stride } => {
                    moved.add(bytes.len(), stride);
                    node.handle_underlay(now, path, bytes, stride, effects);
                }
                Received::Unreachable(address) => node.handle_unreachable(now, address, effects),
            })?;
            counters.received(&moved);
            self.flush();
            if progress == Progress::Drained {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn serve_overlay(&mut self) -> io::Result<Again> {
        for _ in 0..MAX_FRAMES {
            let now = self.clock.now();
            let Self { node, overlay, effects, .. } = self;
            let progress = overlay.receive(|header, frame| node.handle_overlay(now, header, frame, effects))?;
            if progress == Progress::Drained {
                self.flush();
                return Ok(false);
            }
            if self.effects.underlay.len() >= MAX_GATHERED {
                self.flush();
            }
        }
        self.flush();
        Ok(true)
    }

    /// Sends all that has gathered. What the kernel does not take is lost, as on any full link, and counted.
    fn flush(&mut self) {
        let Self { underlay, overlay, effects, counters, .. } = self;
        if !effects.underlay.is_empty() {
            let (mut moved, mut lost) = (Moved::default(), 0);
            for group in effects.underlay.groups() {
                moved.add(group.bytes.len(), group.segment_size);
                if let Err(error) = underlay.send(&group) {
                    lost += group.datagrams().count() as u64;
                    tracing::trace!(remote = %group.path.remote, %error, "datagrams lost");
                }
            }
            counters.underlay(&moved, lost);
            effects.underlay.clear();
        }
        if !effects.whole.is_empty() {
            for group in effects.whole.groups() {
                if let Err(error) = underlay.send_whole(&group) {
                    // That is what it was to find out.
                    tracing::trace!(remote = %group.path.remote, %error, "a datagram that measures the path was not sent");
                }
            }
            effects.whole.clear();
        }
        if !effects.overlay.is_empty() {
            let (mut packets, mut lost) = (0, 0);
            for packet in effects.overlay.packets() {
                packets += 1;
                if let Err(error) = overlay.send(&packet) {
                    lost += 1;
                    tracing::trace!(%error, "packet lost");
                }
            }
            counters.overlay(packets, lost);
            effects.overlay.clear();
        }
    }

    /// Passes on what the node has to tell, as far as the channel takes it.
    fn pass_events(&mut self) -> Again {
        for _ in 0..MAX_EVENTS {
            let Some(event) = self.held.take().or_else(|| self.node.poll_event()) else { return false };
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.held = Some(event);
                return false;
            }
        }
        true
    }
}
