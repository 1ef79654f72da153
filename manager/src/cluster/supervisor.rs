//! Replaces this manager's part in consensus when it has to begin again.
//!
//! One task, which ends only with the program. It may be dropped between any two steps of its work and after any of them
//! the next start finds on disk what it needs to go on: see [`take_part`].

use std::convert::Infallible;
use std::time::Duration;

use festoon_control::registry::{Author, EpochError, Refusal};
use festoon_proto::EpochId;
use festoon_proto::epoch::EpochProof;
use tokio::sync::mpsc;

use super::anew::{self, AnewError};
use super::current::{Cluster, Member, Order, Rejoined};
use super::peers::Peers;
use super::take_part::take_part;
use super::{BuildError, Https};
use crate::data_dir::{DataDir, Identity};

/// How long after a failure the registry is opened again; each time twice as long.
const RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// The one who replaces.
#[derive(Debug)]
pub struct Supervisor {
    data: DataDir,
    identity: Identity,
    transport: Https,
    cluster: Cluster,
    orders: mpsc::Receiver<Order>,
    peers: Peers,
}

impl Supervisor {
    pub(super) fn new(
        data: DataDir,
        identity: Identity,
        transport: Https,
        cluster: Cluster,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let peers = Peers::new(data.clone(), identity.manager);
        Self { data, identity, transport, cluster, orders, peers }
    }

    /// Watches over the registry for as long as it is polled.
    pub async fn run(mut self) -> Infallible {
        loop {
            let member = self.cluster.member();
            tokio::select! {
                never = publish(&self.cluster, &member, &mut self.peers) => match never {},
                () = member.stopped() => self.open_again(&member).await,
                later = fenced(&member, self.identity.fenced_by) => self.note_fence(later),
                order = self.orders.recv() => match order {
                    Some(order) => self.carry_out(order).await,
                    // Cannot end: `self` holds a sender.
                    None => std::future::pending().await,
                },
            }
        }
    }

    /// Who was fenced off stays so in a restart, whoever it meets first then.
    fn note_fence(&mut self, later: EpochProof) {
        self.identity.fenced_by = Some(later);
        if let Err(error) = self.data.write_identity(&self.identity) {
            tracing::error!(%error, "a restart would forget that the cluster is in a later epoch");
        }
    }

    async fn carry_out(&mut self, order: Order) {
        // Who asked may be gone, which is no matter.
        match order {
            Order::Promote(proof, by, reply) => drop(reply.send(self.promote(proof, by).await)),
            Order::Rejoin(reply) => drop(reply.send(self.rejoin().await)),
        }
    }

    /// The disk failed, or the copy is damaged. Traffic goes on meanwhile.
    async fn open_again(&mut self, member: &Member) {
        tracing::error!("the registry has stopped: it is opened again");
        self.cluster.note_stop();
        member.shutdown().await;
        let mut pause = RETRY;
        loop {
            match self.open().await {
                Ok(member) => {
                    tracing::info!("the registry is open again");
                    return self.cluster.replace(member);
                }
                Err(error) => tracing::error!(%error, "the registry can't be opened"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_RETRY);
        }
    }

    async fn open(&mut self) -> Result<Member, BuildError> {
        open_or_repair(&self.data, &mut self.identity, &self.transport).await
    }

    async fn replace(&mut self, identity: Identity) -> Result<(), AnewError> {
        self.identity = identity;
        let member = self.open().await.map_err(Box::new)?;
        self.cluster.replace(member);
        Ok(())
    }

    async fn promote(&mut self, proof: Option<EpochProof>, by: Author) -> Result<EpochId, AnewError> {
        let lost = self.cluster.may_promote().await?;
        // Looked at before the registry is stopped: nothing is lost by a wrong key.
        let state = self.cluster.snapshot();
        match proof {
            Some(proof) => {
                let roster = state.roster().ok_or(AnewError::NoKey)?;
                roster.check(&proof).map_err(EpochError::from).map_err(Refusal::from)?;
            }
            None if state.manager(self.identity.manager).is_none_or(|me| !me.is_full()) => {
                return Err(AnewError::NoKey);
            }
            None => {}
        }
        let (seed, _) = self.cluster.member().conclude(u64::MAX).await?;
        let identity = anew::promote(&self.data, &self.identity, seed, (lost, proof, by)).await?;
        let epoch = identity.epoch;
        self.replace(identity).await?;
        tracing::warn!(%epoch, "the cluster goes on from the copy of this manager");
        Ok(epoch)
    }

    async fn rejoin(&mut self) -> Result<Rejoined, AnewError> {
        let member = self.cluster.member();
        let later = member.health().later_epoch.ok_or(AnewError::NotFenced)?;
        let renewed = anew::ask(&self.data, &self.transport, &self.identity, later).await?;
        let left = self.identity.epoch;
        let kept = anew::conclude(&self.data, &member, left, renewed.epoch, renewed.began_from).await?;
        let identity = anew::settle(&self.data, &self.identity, renewed, &format!("epoch-{}", left.number))?;
        self.replace(identity).await?;
        tracing::info!(epoch = %renewed.epoch, unreplicated = kept.changes, "this manager begins anew");
        Ok(Rejoined { epoch: renewed.epoch, kept })
    }
}

/// Waits until the member is fenced off, unless that is known.
async fn fenced(member: &Member, known: Option<EpochProof>) -> EpochProof {
    match (member.fenced().await, known) {
        (later, Some(known)) if later.epoch <= known.epoch => std::future::pending().await,
        (later, _) => later,
    }
}

/// Tells of every state. Never returns: when there are no more, the member has stopped or is about to.
async fn publish(cluster: &Cluster, member: &Member, peers: &mut Peers) -> Infallible {
    let mut states = member.watch();
    loop {
        cluster.publish();
        peers.note(&cluster.snapshot());
        if states.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Opens the registry. If what is on disk is damaged, this manager begins anew, with a copy from the others.
pub(super) async fn open_or_repair(
    data: &DataDir,
    identity: &mut Identity,
    transport: &Https,
) -> Result<Member, BuildError> {
    let damage = match take_part(data, identity, transport.clone()).await {
        Err(error) if error.is_damage() => error,
        opened => return opened,
    };
    tracing::error!(%damage, "this manager's copy of the registry is given up for one from the others");
    let least = identity.epoch.max(identity.fenced_by.map_or(identity.epoch, |later| later.epoch));
    let renewed = match anew::ask(data, transport, identity, least).await {
        Ok(renewed) => renewed,
        Err(refused) => return Err(BuildError::NoOtherCopy { damage: Box::new(damage), refused: Box::new(refused) }),
    };
    *identity = anew::settle(data, identity, renewed, "damaged")?;
    take_part(data, identity, transport.clone()).await
}
