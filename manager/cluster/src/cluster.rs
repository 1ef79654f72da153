//! The registry as the rest of a program sees it: [`Cluster::propose`] a command, [`Cluster::watch`] the state.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::{State, UnixMs, audit};
use festoon_proto::epoch::{EpochProof, Roster};
use festoon_proto::map::MapVersion;
use festoon_proto::{EpochId, Fingerprint, Introduction, SigningKey};
use openraft::error::{InitializeError, RaftError};
use openraft::storage::RaftLogStorage as _;
use openraft::{Config, EmptyNode, Raft, RaftMetrics, SnapshotPolicy};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::clock::Clock;
use crate::compare::Comparison;
use crate::door::Door;
use crate::fence::Fence;
use crate::hand_over;
use crate::handled::Handled;
use crate::health::{Health, SILENT};
use crate::members::{self, Turn};
use crate::message::{Answer, Removal, Request};
use crate::network::{Network, Sending};
use crate::own_log::{OwnLog, Tail, UntilEnd};
use crate::reach::Reach;
use crate::read_index::Confirmed;
use crate::settings::{ProposalIds, Settings};
use crate::signer::{Signer, Trust};
use crate::silence::Silence;
use crate::storage::{AuditLog, LogStore, Machine, Seed, StorageError};
use crate::tally::{Counts, Tally};
use crate::transfer::Receiving;
use crate::transport::Transport;
use crate::types::{MemberId, TypeConfig};

/// The leader speaks about this often, in milliseconds.
const HEARTBEAT_MS: u64 = 60;
/// After twice as long a silence of the leader (openraft adds a lease of the same length) a member wants to lead itself. A
/// round trip around the world and a commit to a slow disk fit into it.
const ELECTION_MS: u64 = 400;
/// What a witness adds to that, so it waits for twice as much longer: it leads only when no full manager can. Full managers have a
/// chance before it, and one more if their votes are split.
const WITNESS_WAITS_MS: u64 = 500;
/// Members wait for different times, so that they seldom want it at once.
const STAGGER: u64 = 5;
const STAGGER_MS: u64 = 30;
/// How often a member that hears no leader asks the others.
const ASK_AROUND: Duration = Duration::from_secs(1);
/// One part of a snapshot must arrive and be written within this, in milliseconds.
const SNAPSHOT_PART_MS: u64 = 3000;
const SNAPSHOT_PART_BYTES: u64 = 1 << 20;

/// The registry can't be taken up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The disk fails, or the settings make no sense.
    #[error("the registry can't be started: {0}")]
    Raft(String),
    /// A new cluster was to be founded where one is.
    #[error("this manager belongs to a cluster already: use another --data-dir")]
    HasCluster,
}

/// Who this manager is to the registry.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its id and incarnation.
    pub me: MemberId,
    /// The epoch of its log.
    pub epoch: EpochId,
    /// The later epoch that it was fenced off by, if it knows of one.
    pub later: Option<EpochProof>,
    /// Signs what it proposes.
    pub signing_key: SigningKey,
    /// How it came into the cluster.
    pub introductions: Vec<Introduction>,
    /// Whom it believes until it has a copy of the registry, as it was told when it joined.
    pub roster: Option<Roster>,
}

/// The registry of a cluster, as this manager holds it. A clone is the same registry.
#[derive(Clone)]
pub struct Cluster<T> {
    pub(crate) raft: Raft<TypeConfig>,
    pub(crate) ids: ProposalIds,
    pub(crate) signer: Signer,
    pub(crate) state: watch::Receiver<Arc<State>>,
    pub(crate) network: Network<T>,
    pub(crate) turn: Turn,
    pub(crate) silence: Silence,
    pub(crate) handled: Handled,
    pub(crate) door: Door,
    /// Where consensus runs, also what is asked from elsewhere.
    pub(crate) tasks: Handle,
    pub(crate) receiving: Receiving,
    pub(crate) confirmed: Confirmed,
    pub(crate) comparison: Comparison,
    pub(crate) clock: Clock,
    log: UntilEnd,
    begun_with: Arc<State>,
    follow: Arc<Task>,
}

impl<T> fmt::Debug for Cluster<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.network.me).finish()
    }
}

/// Ends with its last owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Of no change.
const NO_BEGINNING: Fingerprint = Fingerprint([0; 32]);
/// How long the end of a member's part waits for its audit log.
const AUDIT_LIMIT: Duration = Duration::from_secs(5);

fn config(me: MemberId, is_witness: bool, settings: &Settings) -> Config {
    let patience = if is_witness { WITNESS_WAITS_MS } else { 0 };
    let election = ELECTION_MS + patience + u64::from(me.manager.0) % STAGGER * STAGGER_MS;
    Config {
        cluster_name: "festoon".to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: election - 1,
        election_timeout_max: election,
        install_snapshot_timeout: SNAPSHOT_PART_MS,
        snapshot_max_chunk_size: SNAPSHOT_PART_BYTES,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(settings.snapshot_after),
        max_in_snapshot_log_to_keep: settings.keep,
        replication_lag_threshold: settings.snapshot_after + settings.keep,
        ..Config::default()
    }
}

impl<T: Transport> Cluster<T> {
    /// Takes part in the registry with what is on disk. Must run inside tokio.
    pub async fn start(
        settings: Settings,
        identity: Identity,
        mut log: LogStore,
        mut machine: Machine,
        transport: T,
    ) -> Result<Self, StartError> {
        let Identity { me, epoch, later, signing_key, introductions, roster } = identity;
        // The log of a later epoch begins with a snapshot.
        let founding = roster.as_ref().and_then(|roster| roster.founding);
        machine.expect(if epoch.number > 1 { Some(NO_BEGINNING) } else { founding });
        let (state, comparison) = (machine.watch(), machine.comparison());
        let trust = Trust::new(me.manager, state.clone(), roster);
        let config = config(me, trust.is_witness(me.manager), &settings).validate();
        let config = config.map_err(|error| StartError::Raft(error.to_string()))?;
        let own_log = OwnLog { reader: log.get_log_reader().await, flush: log.flusher(), audit: machine.audit() };
        let fence = Fence::new(me.manager, epoch, trust.clone(), later);
        let (reach, tally) = (Reach::default(), Tally::default());
        let signer = Signer::new(me.manager, signing_key).introduced(&introductions);
        let (states, execution) = (state.clone(), machine.execution().clone());
        let sending = Sending { signer: signer.clone(), execution };
        let network = Network { me, transport, fence, reach, tally, states, sending };
        let raft = Raft::new(me, Arc::new(config), network.clone(), log, machine).await;
        let raft = raft.map_err(|error| StartError::Raft(error.to_string()))?;
        let known = State::clone(&state.borrow());
        let begun_with = own_log.carry_out(known).await.map_err(|error| StartError::Raft(error.to_string()))?.state;
        let (turn, silence) = (Turn::default(), Silence::default());
        let members = (Arc::clone(&turn), silence.clone());
        let compare = (comparison.clone(), settings.compare_every);
        let clock = Clock::new(settings.clock, settings.takes_any_date);
        let follow = follow(raft.clone(), state.clone(), members, network.clone(), (compare, clock.clone()));
        let follow = Arc::new(Task(tokio::spawn(follow)));
        let (log, begun_with) = (UntilEnd::new(own_log), Arc::new(begun_with));
        let ids = ProposalIds::new(settings.seed);
        let (handled, receiving, confirmed) = (Handled::default(), Receiving::default(), Confirmed::default());
        Ok(Self {
            raft,
            ids,
            signer,
            state,
            network,
            turn,
            silence,
            handled,
            door: Door::default(),
            tasks: Handle::current(),
            receiving,
            confirmed,
            comparison,
            clock,
            log,
            begun_with,
            follow,
        })
    }

    /// Makes this manager, with an empty disk, the only member of a new cluster.
    pub async fn found(&self) -> Result<(), StartError> {
        let me = [(self.network.me, EmptyNode {})];
        match self.raft.initialize(std::collections::BTreeMap::from(me)).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Err(StartError::HasCluster),
            Err(error) => Err(StartError::Raft(error.to_string())),
        }
    }

    /// What this manager signs.
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The state, and every later one.
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// The state now. Reading needs no quorum.
    pub fn snapshot(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// The state as it would be if all that was in this manager's log at the start counts. A manager that starts alone cannot
    /// know whether the last changes do. If they were acknowledged, they do; so it should carry traffic as they say until
    /// [`Cluster::applied`] of this version.
    pub fn begun_with(&self) -> Arc<State> {
        Arc::clone(&self.begun_with)
    }

    /// Waits until the log was carried out up to `version`: what is in it until there is certain. If the log turns out to end
    /// before that, what stood there does not count, and its end is waited for. May be cancelled at any time.
    pub async fn applied(&self, version: MapVersion) {
        let mut metrics = self.raft.metrics();
        let is_so = |metrics: &RaftMetrics<MemberId, EmptyNode>| {
            let applied = metrics.last_applied.map_or(0, |applied| applied.index);
            metrics.last_log_index.is_some_and(|last| applied >= version.0.min(last))
        };
        if metrics.wait_for(is_so).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The entries of the audit log with numbers behind `after`, at most so many, as far as this manager has them.
    pub async fn audit(&self, after: u64, limit: usize) -> Result<Vec<audit::Entry>, StorageError> {
        let log = self.audit_log().ok_or(StorageError::Closed)?;
        let last = self.snapshot().audited().count;
        let entries = log.read(after, last, limit).await?;
        let is_behind = entries.len() < limit && entries.last().map_or(after, |entry| entry.number) < last;
        if !is_behind {
            return Ok(entries);
        }
        // The last ones may be in memory still.
        log.flush().await?;
        log.read(after, last, limit).await
    }

    /// The audit log, for a short while: it keeps its file open. None once this manager's part has ended.
    pub fn audit_log(&self) -> Option<AuditLog> {
        self.log.audit()
    }

    /// How the registry is doing, as far as this manager knows.
    pub fn health(&self) -> Health {
        let (fence, reach) = (&self.network.fence, &self.network.reach);
        Health::of(&self.raft.metrics().borrow(), fence, reach, (&self.comparison, &self.clock))
    }

    /// The time of the cluster, by which everything expires: what the clocks of a majority agree on. It is that of our own
    /// clock until a majority was heard.
    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// How often members wanted to lead since this one was started, as far as it had a part in it.
    pub fn counts(&self) -> Counts {
        self.network.tally.counts()
    }

    /// How the registry is doing, as the leader knows it; as this manager does if there is no leader, or it does not
    /// answer within `limit`.
    pub async fn health_of_leader(&self, limit: Duration) -> Health {
        let own = self.health();
        match own.leader {
            Some(leader) if leader != own.me => match self.network.ask(leader, Request::Health, limit).await {
                Ok(Answer::Health(theirs)) => theirs,
                _ => own,
            },
            _ => own,
        }
    }

    /// Waits until another manager says that this one was removed from the cluster. May be cancelled at any time.
    pub async fn removed(&self) -> Removal {
        self.network.fence.removed().await
    }

    /// Waits until the cluster is known to have gone on in a later epoch, without this manager. That must not be forgotten in
    /// a restart. May be cancelled at any time.
    pub async fn fenced(&self) -> EpochProof {
        self.network.fence.closed().await
    }

    /// What the later epoch began with that this manager was fenced off by.
    pub fn later_proof(&self) -> Option<EpochProof> {
        self.network.fence.later_proof()
    }

    /// Whether some manager that this one knows answers and is in `epoch` or a later one.
    pub async fn is_anybody_in(&self, epoch: EpochProof) -> bool {
        let membership = Arc::clone(&self.raft.metrics().borrow().membership_config);
        let mut asked = JoinSet::new();
        for (&other, _) in membership.nodes().filter(|(id, _)| **id != self.network.me) {
            let network = self.network.clone();
            asked.spawn(async move { network.is_in(epoch, other).await });
        }
        while let Some(answer) = asked.join_next().await {
            // Who panicked has been reported, and has not answered.
            if answer.unwrap_or(false) {
                return true;
            }
        }
        false
    }

    /// Waits until this manager's part has ended, by its own doing: its disk fails, or it was shut down. May be cancelled
    /// at any time.
    pub async fn stopped(&self) {
        // An error says that the one who could tell is gone.
        let _ = self.raft.metrics().wait_for(|metrics| metrics.running_state.is_err()).await;
    }

    /// Ends this manager's part. What was acknowledged is on disk already; how far it was carried out is now, too, so that
    /// the next start knows it without asking anybody. The disk is let go.
    pub async fn shutdown(&self) {
        if let Some(log) = self.end().await
            && let Err(error) = log.flush().await
        {
            tracing::warn!(%error, "the end of the registry's log is not on disk");
        }
    }

    /// Ends this manager's part, and gives what the whole of its log says: the state if all of that counts, and the
    /// commands from `first` on that are still in it. The disk is let go.
    pub async fn conclude(&self, first: u64) -> Result<(Seed, Tail), StartError> {
        let log = self.end().await.ok_or_else(|| StartError::Raft("it has ended before".to_owned()))?;
        let failed = |error: openraft::StorageError<MemberId>| StartError::Raft(error.to_string());
        let known = State::clone(&self.state.borrow());
        let seed = log.carry_out(known).await.map_err(failed)?;
        // What was carried out before may be nowhere but in the log. If the file can't be had, it has to be done without.
        let _ = tokio::time::timeout(AUDIT_LIMIT, log.audit.flush()).await;
        Ok((seed, log.tail(first).await.map_err(failed)?))
    }

    async fn end(&self) -> Option<OwnLog> {
        self.follow.0.abort();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the registry did not end cleanly");
        }
        self.log.take()
    }
}

/// Asks all others while the leader is silent. A manager that was removed while it was away hears of it only so: it gets
/// nothing any more, and may have no vote to ask for.
async fn ask_around<T: Transport>(raft: &Raft<TypeConfig>, network: &Network<T>) {
    let mut ticks = tokio::time::interval(ASK_AROUND);
    loop {
        ticks.tick().await;
        let (leader, membership) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow();
            (metrics.current_leader, Arc::clone(&metrics.membership_config))
        };
        let silence = |leader: MemberId| network.reach.silence(leader);
        let is_heard = |leader| leader == network.me || silence(leader).is_some_and(|silence| silence < SILENT);
        if leader.is_some_and(is_heard) {
            continue;
        }
        for (&other, _) in membership.nodes().filter(|(id, _)| **id != network.me) {
            // Only a rejection says anything, and that has been taken when it returns.
            drop(network.ask(other, Request::Health, ASK_AROUND).await);
        }
    }
}

/// Tells the log who leads.
async fn report_leaders(raft: &Raft<TypeConfig>, tally: &Tally) {
    let mut metrics = raft.metrics();
    let mut known = None;
    while let Ok(leader) =
        metrics.wait_for(|metrics| metrics.current_leader != known).await.map(|now| now.current_leader)
    {
        tally.finds_leader();
        match leader {
            Some(leader) => tracing::info!(%leader, "the registry has a leader"),
            None => tracing::warn!("nobody leads the registry: changes wait, traffic and reads go on"),
        }
        known = leader;
    }
}

/// Keeps the membership and sees whether all have the same, until the cluster has gone on without us: then we ask nobody
/// for his vote any more.
async fn follow<T: Transport>(
    raft: Raft<TypeConfig>,
    states: watch::Receiver<Arc<State>>,
    (turn, silence): (Turn, Silence),
    network: Network<T>,
    ((comparison, compare_every), clock): ((Comparison, Duration), Clock),
) {
    tokio::select! {
        biased;
        () = members::follow(raft.clone(), states.clone(), (turn, silence.clone())) => {}
        () = report_leaders(&raft, &network.tally) => {}
        () = hand_over::keep(&raft, &states, &network, &silence) => {}
        () = ask_around(&raft, &network) => {}
        () = comparison.keep(&raft, &network, compare_every) => {}
        () = clock.keep(&raft, &network) => {}
        later = network.fence.closed() => {
            tracing::error!(epoch = %later.epoch, "the cluster has gone on in a later epoch: run `festoon-manager rejoin` here");
            raft.runtime_config().elect(false);
            // It may be removed yet.
            ask_around(&raft, &network).await;
        }
    }
}
