//! A member that lies: it brings in changes for which nobody stands who may, in other names, and again what was signed for
//! something else. None of it may ever take effect.

use std::sync::Arc;
use std::time::Duration;

use festoon_cluster::{Proposal, ProposalId, Signer};
use festoon_control::registry::{AddNetwork, Author, Change, Command, LocalUser, State, UnixMs, Vouch, Who};
use festoon_proto::ManagerId;
use festoon_proto::map::MapVersion;
use tokio::time::sleep;

use super::machine::signing_key;
use super::world::World;
use crate::random::Random;

/// What the networks are called that it wants.
const NAME: &str = "forged";
/// How often it tries.
const PAUSE: Duration = Duration::from_millis(150);

/// Whether a state has anything that was forged.
pub(super) fn is_deceived(state: &State) -> bool {
    state.networks().any(|network| network.name.starts_with(NAME))
}

/// Whether this is what the liar asks for.
pub(super) fn is_forged(command: &Command) -> bool {
    matches!(command, Command::AddNetwork(network) if network.name.starts_with(NAME))
}

/// Tries until the world ends.
pub(super) async fn forge(world: Arc<World>, mut random: Random) {
    while !world.is_over() {
        if let Some((machine, process)) = world.some_running(&mut random) {
            let state = process.cluster.snapshot();
            let proposal = forged(&state, machine.id, &mut random);
            let answer = process.cluster.propose_signed(proposal).await;
            if answer.is_ok() {
                world.wrong(format!("a forged change was accepted through {}", machine.id));
            }
        }
        sleep(PAUSE).await;
    }
}

fn forged(state: &State, through: ManagerId, random: &mut Random) -> Proposal {
    let id = ProposalId(u128::from(random.bits()) << 64 | u128::from(random.bits()));
    let name = format!("{NAME}-{}", random.bits() % 1000);
    let prefixes = "10.99.0.0/24".parse().into_iter().collect();
    let command = Command::AddNetwork(AddNetwork { name, prefixes, mtu: 1360 });
    let honest = Change { at: UnixMs(1), ..command.into() };
    let other = ManagerId(through.0 % 5 + 1);
    let sign = |key: ManagerId, change: &Change| {
        Signer::new(through, signing_key(key)).propose(state, state.version(), id, change.clone())
    };
    // A key that nobody has.
    let nobody = ManagerId(200);
    match random.bits() % 5 {
        // Nobody stands for it.
        0 => Proposal { id, change: honest, vouch: None },
        // Signed with a key that is not that manager's.
        1 => sign(nobody, &honest),
        // In the name of the root of another machine.
        2 => {
            let by = Author {
                who: Who::Local { manager: ManagerId(through.0 + 1), user: LocalUser::new(0, "root") },
                from: None,
            };
            sign(through, &Change { by, ..honest })
        }
        // Signed for another proposal: what was seen once is not good again.
        3 => Proposal { id: ProposalId(id.0 ^ 1), ..sign(through, &honest) },
        // In the place of another manager, from a copy that is older than memory goes or newer than anything.
        _ => {
            let proposal = sign(nobody, &honest);
            let vouch = proposal.vouch.map(|vouch| Vouch { by: other, seen: MapVersion(u64::MAX), ..vouch });
            Proposal { vouch, ..proposal }
        }
    }
}
