//! `festoon up`: the agent while it runs.
//!
//! | task | may be cancelled at any point because |
//! |---|---|
//! | [`run`], the main loop | it is not: it ends by itself and takes everything back |
//! | the driver, on its own thread | it is stopped by its handle, between two turns |
//! | [`Server::serve`] | connections hold no state |
//! | [`Watch::run`] | a change is missed only by a session that is gone |
//! | [`Refresher::run`] | a map is stored, atomically, before it is used |
//! | [`Rotator::run`] | a new key is stored before a manager hears of it |
//! | [`serve`](festoon_metrics::serve), for metrics | it holds nothing |
//! | [`Offerer::run`] | what is not as it should be in the map is said again |
//!
//! The main loop owns what changes; the other tasks hand it messages. It serves whichever is ready, one at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use festoon_dataplane::io::{DriverHandle, Priority, TunConfig, TunPort, UdpConfig, UdpPort, spawn};
use festoon_metrics::Process;
use festoon_proto::map::EndpointMap;
use festoon_proto::{Generation, ManagerId, PublicKey};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Config;
use crate::control::{AgentStatus, Ask, Facts, Server, Settings, Setup};
use crate::host::{self, Change, Host, MARK, Note, Plan, Problem, Protection, Slot, Watch, home, plan};
use crate::log::LastLines;
use crate::metrics::Metrics;
use crate::node::status::Status;
use crate::node::{Command, EndpointNode, Event, NodeConfig, NodeKeys};
use crate::offer::Offerer;
use crate::output::titled;
use crate::refresh::{Refresher, Want};
use crate::rotate::{DEFAULT_OVERLAP, Rotation, Rotator};
use crate::state::{HostRecord, Membership, StateDir};
use crate::systemd;

/// Messages that the main loop has not taken yet. A task that has more waits.
const BACKLOG: usize = 64;

/// How often everything is looked at although nobody told of a change.
const RESYNC: Duration = Duration::from_secs(60);
/// The same while overlay traffic is not kept in the tunnel.
const RETRY: Duration = Duration::from_secs(2);

/// Runs the agent until a signal or `festoon down` stops it. `log` has the last lines of what it logs.
pub async fn run(config: &Config, log: LastLines) -> anyhow::Result<()> {
    let state = StateDir::new(&config.state_dir);
    let lock = state.lock()?;
    let membership = state.membership()?;
    if config.leak_protection == Protection::Require {
        host::check_protection()?;
    }
    let signals = Signals::register().context("cannot wait for signals")?;
    let server = Server::bind(&config.socket(), lock)?;
    let (inputs, outlets) = channels();
    let record = remember(&state, config).await?;
    clean_other(&record, &config.interface).await;
    let own = Own { membership: &membership, record, generation: state.next_boot()? };
    let mut session = Session::start(config, own, (outlets.events, log)).await?;
    session.keep_interface(&state)?;

    let mut tasks = JoinSet::new();
    if let Some(address) = config.metrics {
        let (asks, counters) = (outlets.asks.clone(), Arc::clone(session.driver.counters()));
        let metrics = Metrics { asks, counters, process: Process::started_now() };
        tasks.spawn(async move { match festoon_metrics::serve(address, metrics).await {} });
    }
    tasks.spawn(server.serve(outlets.asks));
    let watch = Watch::open(session.host.index(), &session.interface).context("cannot watch the host's addresses")?;
    tasks.spawn(watch.run(outlets.changes));
    // Only now, so that no change falls between.
    session.set_host(true).await?;
    if let Some(reason) = session.unguarded.take().filter(|_| config.leak_protection == Protection::Require) {
        session.stop(true).await;
        anyhow::bail!("{reason}");
    }
    let rotator = Rotator {
        state: state.clone(),
        every: config.rotate_key_every,
        rotations: outlets.rotations,
        keys: outlets.keys,
    };
    tasks.spawn(rotator.run());
    let (routes, maps) = (config.routes.clone(), session.known.subscribe());
    tasks.spawn(Offerer { routes, state: state.clone(), maps }.run());
    tasks.spawn(session.refresher(state, outlets.maps).run());
    tracing::info!(endpoint = %session.map.endpoint, interface = session.interface, "the agent has started");
    systemd::ready("looking for a manager");

    let outcome = session.serve(inputs, signals).await;
    systemd::stopping();
    session.stop(!matches!(outcome, Ok(End::TakeBack))).await;
    // Last, because it releases the lock of the state and lets go whoever waits in `festoon down`.
    tasks.shutdown().await;
    outcome.map(drop)
}

/// How a session ends in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The host is as it was without the agent.
    TakeBack,
    /// The agent is about to be started again, as far as it knows: what belongs in the tunnel still goes nowhere else.
    KeepClosed,
}

/// What the agent remembers of the host. If it never looked, now is when it joined, as far as anybody knows.
async fn remember(state: &StateDir, config: &Config) -> anyhow::Result<HostRecord> {
    let known = state.host()?;
    let mut record = match &known {
        Some(record) => record.clone(),
        None => HostRecord { home: home(&config.interface).await?, ..HostRecord::default() },
    };
    record.choose(config);
    if known.as_ref() != Some(&record) {
        state.store_host(&record)?;
    }
    Ok(record)
}

/// An agent that ended with another interface may have left what keeps overlay traffic in: nobody else would take it back.
async fn clean_other(record: &HostRecord, interface: &str) {
    let Some(before) = record.interface.as_deref().filter(|before| *before != interface) else { return };
    match host::clean_abandoned(before).await {
        Ok(true) => tracing::info!(interface = before, "removed what the agent had left with its interface of before"),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(%error, interface = before, "cannot remove what the agent left with its interface of before");
        }
    }
}

/// What the main loop waits for, beside signals.
struct Inputs {
    events: mpsc::Receiver<Event>,
    changes: mpsc::Receiver<Change>,
    maps: mpsc::Receiver<Arc<EndpointMap>>,
    keys: mpsc::Receiver<NodeKeys>,
    asks: mpsc::Receiver<Ask>,
    /// What the main loop hands on.
    rotations: mpsc::Sender<Rotation>,
}

/// The other ends of [`Inputs`].
struct Outlets {
    events: mpsc::Sender<Event>,
    changes: mpsc::Sender<Change>,
    maps: mpsc::Sender<Arc<EndpointMap>>,
    keys: mpsc::Sender<NodeKeys>,
    asks: mpsc::Sender<Ask>,
    rotations: mpsc::Receiver<Rotation>,
}

fn channels() -> (Inputs, Outlets) {
    let (events_out, events) = mpsc::channel(BACKLOG);
    let (changes_out, changes) = mpsc::channel(BACKLOG);
    let (maps_out, maps) = mpsc::channel(BACKLOG);
    let (keys_out, keys) = mpsc::channel(BACKLOG);
    let (asks_out, asks) = mpsc::channel(BACKLOG);
    let (rotations, rotations_out) = mpsc::channel(BACKLOG);
    let outlets = Outlets {
        events: events_out,
        changes: changes_out,
        maps: maps_out,
        keys: keys_out,
        asks: asks_out,
        rotations: rotations_out,
    };
    (Inputs { events, changes, maps, keys, asks, rotations }, outlets)
}

/// What a session begins with.
struct Own<'a> {
    membership: &'a Membership,
    record: HostRecord,
    generation: Generation,
}

/// What the main loop owns.
struct Session {
    interface: String,
    listen_port: u16,
    public_key: PublicKey,
    map: Arc<EndpointMap>,
    host: Host,
    /// What the host had when it joined, and what its owner chose.
    record: HostRecord,
    problems: Vec<String>,
    notes: Vec<Note>,
    /// Why overlay traffic is not kept in the tunnel.
    unguarded: Option<String>,
    driver: DriverHandle<EndpointNode>,
    settings: Settings,
    log: LastLines,
    want: watch::Sender<Want>,
    /// The map, for those who look at it.
    known: watch::Sender<Arc<EndpointMap>>,
}

impl Session {
    /// Makes the device and the socket, and starts the node between them with the last known map.
    async fn start(
        config: &Config,
        own: Own<'_>,
        (events, log): (mpsc::Sender<Event>, LastLines),
    ) -> anyhow::Result<Self> {
        let Own { membership, record, generation } = own;
        let map = Arc::new(membership.map.clone());
        let segmentation = !config.no_segmentation;
        let tun = TunConfig { name: config.interface.clone(), mtu: map.network.mtu, segmentation };
        let tun = TunPort::open(&tun)?;
        let interface = tun.name().to_owned();
        let host = Host::open(&interface, config.leak_protection).await?;
        let udp = UdpConfig { address: None, port: config.listen_port, segmentation, mark: Some(MARK) };
        let udp = UdpPort::bind(&udp).with_context(|| format!("cannot use UDP port {}", config.listen_port))?;
        let listen_port = udp.local_addr().context("cannot read the UDP port")?.port();
        let node = NodeConfig { private_key: membership.private_key.clone(), generation, only_measures: false };
        #[expect(clippy::disallowed_methods, reason = "the shell starts the clock")]
        let now = Instant::now();
        let node = EndpointNode::new(&node, Arc::clone(&map), now);
        Ok(Self {
            interface,
            listen_port,
            public_key: membership.private_key.public_key(),
            known: watch::Sender::new(Arc::clone(&map)),
            map,
            host,
            record,
            problems: Vec::new(),
            notes: Vec::new(),
            unguarded: None,
            driver: spawn(node, udp, Some(tun), events, Priority::High)?,
            settings: Settings::from(config),
            log,
            want: watch::Sender::new(Want { lost: true, ..Want::default() }),
        })
    }

    /// Keeps the name of the device on disk, for what is made for it is found again by that name.
    fn keep_interface(&mut self, state: &StateDir) -> anyhow::Result<()> {
        if self.record.interface.as_ref() != Some(&self.interface) {
            self.record.interface = Some(self.interface.clone());
            state.store_host(&self.record)?;
        }
        Ok(())
    }

    fn refresher(&self, state: StateDir, maps: mpsc::Sender<Arc<EndpointMap>>) -> Refresher {
        Refresher { state, map: Arc::clone(&self.map), want: self.want.subscribe(), maps }
    }

    /// Serves until something says stop, or breaks.
    async fn serve(&mut self, mut inputs: Inputs, mut signals: Signals) -> anyhow::Result<End> {
        self.rotate_if_due(&inputs.rotations);
        let mut resync = interval(RESYNC);
        let mut retry = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                end = signals.any() => return Ok(end),
                // News may be lost, and nobody tells of them.
                _ = resync.tick() => self.handle_change(Change { underlay: false, filter: true }).await,
                _ = retry.tick(), if self.unguarded.is_some() => {
                    self.handle_change(Change { underlay: false, filter: true }).await;
                }
                error = self.driver.failed() => return Err(error.into()),
                Some(event) = inputs.events.recv() => self.handle_event(event),
                Some(change) = inputs.changes.recv() => self.handle_change(change).await,
                Some(map) = inputs.maps.recv() => {
                    self.handle_map(map).await;
                    self.rotate_if_due(&inputs.rotations);
                }
                Some(keys) = inputs.keys.recv() => self.handle_keys(keys).await,
                Some(ask) = inputs.asks.recv() => match ask {
                    // The reply is dropped with it if too many wait.
                    Ask::RotateKey(rotation) => drop(inputs.rotations.try_send(rotation)),
                    Ask::Status(reply) => self.report(reply).await,
                    Ask::Measure(measure) => self.tell(Command::Measure(measure)).await,
                    // Whoever asked may have gone.
                    Ask::Facts(reply) => drop(reply.send(self.facts())),
                    Ask::Down => return Ok(End::TakeBack),
                },
            }
        }
    }

    fn handle_event(&self, event: Event) {
        match event {
            Event::MapOutdated(newest) => {
                self.want.send_modify(|want| want.newest = want.newest.max(newest));
            }
            Event::Moved { from, to, why } => {
                let (from, to_name) = (from.map_or_else(|| "none".into(), |id| self.manager(id)), self.manager(to));
                tracing::info!(from, to = to_name, %why, "another manager carries this endpoint now");
                systemd::status(&format!("carried by {to_name}"));
                self.want.send_modify(|want| {
                    want.active = Some(to);
                    want.lost = false;
                });
            }
            Event::NoManager => {
                tracing::warn!("no manager answers: the overlay is out of reach until one does");
                systemd::status("no manager answers");
                self.want.send_modify(|want| {
                    want.active = None;
                    want.lost = true;
                });
            }
        }
    }

    async fn handle_change(&mut self, change: Change) {
        if change.underlay {
            self.tell(Command::UnderlayChanged).await;
            if self.want.borrow().lost {
                // A way to a manager may have come back: wake the refresher from its pause.
                self.want.send_modify(|_| {});
            }
        }
        if let Err(error) = self.set_host(change.filter).await {
            self.fail("cannot bring the overlay's device back into shape", &error);
        }
    }

    async fn handle_map(&mut self, map: Arc<EndpointMap>) {
        self.map = Arc::clone(&map);
        self.known.send_replace(Arc::clone(&map));
        self.tell(Command::SetMap(map)).await;
        if let Err(error) = self.set_host(false).await {
            self.fail("cannot apply the new map to the overlay's device", &error);
        }
    }

    /// The host is not as it should be, nobody knows how far. That stays in the status until the next try.
    fn fail(&mut self, what: &str, error: &anyhow::Error) {
        let problem = format!("{what}: {error:#}");
        tracing::error!("{problem}");
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// An admin wants a new key.
    fn rotate_if_due(&self, rotations: &mpsc::Sender<Rotation>) {
        if self.map.is_key_due {
            tracing::info!("an admin asks for a new key");
            // What comes of it is in the log. If too many wait, there is one among them.
            drop(rotations.try_send(Rotation { overlap: DEFAULT_OVERLAP, reply: oneshot::channel().0 }));
        }
    }

    async fn handle_keys(&mut self, keys: NodeKeys) {
        self.public_key = keys.key.public_key();
        self.tell(Command::SetKeys(keys)).await;
    }

    /// Brings device, routes and packet filter into the state of the map. The filter is read back if `look` says so. What cannot
    /// be done is logged when it is new.
    async fn set_host(&mut self, look: bool) -> anyhow::Result<()> {
        let sight = self.host.look().await?;
        let Plan { desired, notes } = plan(&self.map, &self.record.home, &self.record.choice(), &sight.facts);
        let problems = self.host.set(&desired, &sight, look).await?;
        self.unguarded = problems.iter().find_map(|problem| match problem {
            Problem::Unguarded(error) => Some(error.to_string()),
            Problem::Refused(_) | Problem::Audible(_) | Problem::Diverted(_) => None,
        });
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::error!("{problem}");
        }
        for note in notes.iter().filter(|note| !self.notes.contains(note)) {
            tracing::warn!("{note}");
        }
        (self.problems, self.notes) = (problems, notes);
        Ok(())
    }

    /// The node's thread writes the reply: the main loop does not wait for it.
    async fn report(&self, reply: oneshot::Sender<AgentStatus>) {
        let setup = self.setup();
        let answer = move |node: Status| drop(reply.send(AgentStatus { setup, node }));
        self.tell(Command::Status(Box::new(answer))).await;
    }

    fn facts(&self) -> Facts {
        let io = self.driver.counters().counts();
        let io = [
            ("underlay_groups", io.underlay_groups),
            ("underlay_lost", io.underlay_lost),
            ("overlay_packets", io.overlay_packets),
            ("overlay_lost", io.overlay_lost),
        ];
        Facts {
            version: env!("CARGO_PKG_VERSION").into(),
            settings: self.settings.clone(),
            io: io.map(|(name, count)| (name.to_owned(), count)).into(),
            log: self.log.lines(),
        }
    }

    fn setup(&self) -> Setup {
        Setup {
            interface: self.interface.clone(),
            listen_port: self.listen_port,
            endpoint: self.map.endpoint,
            name: self.map.name.clone(),
            network: self.map.network.id,
            network_name: self.map.network.name.clone(),
            addresses: self.map.addresses.clone(),
            public_key: self.public_key,
            map_version: self.map.version,
            problems: self.problems.clone(),
            notes: self.notes.clone(),
            routing_table: Slot::of(&self.interface).table(),
            leak_protection: self.settings.leak_protection,
        }
    }

    async fn tell(&self, command: Command) {
        // A driver that has ended is noticed by the main loop.
        let _ = self.driver.commands().send(command).await;
    }

    fn manager(&self, id: ManagerId) -> String {
        let info = self.map.managers.iter().find(|manager| manager.id == id);
        info.map_or_else(|| id.to_string(), |manager| titled(&manager.name, id))
    }

    /// Ends. Takes everything back unless overlay traffic is to be kept from leaving in the clear until the next start.
    async fn stop(self, keep_closed: bool) {
        self.tell(Command::Detach).await;
        if keep_closed && self.settings.leak_protection != Protection::Off {
            tracing::info!(
                "overlay addresses stay blocked until the agent is started again; `festoon down` unblocks them"
            );
        } else if let Err(error) = self.host.restore().await {
            tracing::warn!(%error, "some addresses, routes or filters of the agent could not be removed: run `festoon down` to try again");
        }
        if let Err(error) = self.driver.shutdown().await {
            tracing::debug!(%error, "the driver had ended already");
        }
        tracing::info!("the agent has stopped");
    }
}

/// The signals that stop the agent in good order.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn register() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// A person at a terminal means the end by it; a service manager may be about to start the agent again.
    async fn any(&mut self) -> End {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return End::KeepClosed,
                _ = self.interrupt.recv() => return End::TakeBack,
                // Whoever sends it has other settings, or closed the terminal.
                _ = self.hangup.recv() => tracing::warn!("SIGHUP: settings are read at the start: restart the agent for others"),
            }
        }
    }
}
