//! Clocks that are wrong: one alone moves nothing, and a majority does.

use std::time::Duration;

use festoon_cluster::ProposeError;
use festoon_control::registry::{ClockError, Command, Outcome, Refusal, UnixMs};
use festoon_proto::JoinTokenId;
use festoon_proto::token::SecretHash;
use tokio::time::sleep;

use crate::world::{World, create_token, until};

/// A token is forgotten a week after it has expired.
const MONTH_MS: u64 = 30 * 86_400_000;
/// All have asked all others meanwhile.
const ROUND: Duration = Duration::from_secs(15);

async fn token(world: &World, through: u16, secret: u8) -> Result<JoinTokenId, ProposeError> {
    let cluster = world.get(through);
    match cluster.propose(create_token(SecretHash([secret; 32]), cluster.now())).await? {
        Outcome::JoinToken(id) => Ok(id),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn one_clock_ends_nothing_and_lets_nothing_in_not_even_the_leaders() {
    let world = World::of(3).await;
    let kept = token(&world, 1, 90).await.unwrap();
    for wrong in 1..=3 {
        world.net.set_clock(wrong, MONTH_MS);
        sleep(ROUND).await;
        let cluster = world.get(wrong);
        assert!(cluster.now().0 < 60_000, "{wrong} believes its own clock: {:?}", cluster.now());
        for through in 1..=3 {
            let refused = world.get(through).propose(Command::Expire(UnixMs(MONTH_MS))).await;
            let Err(ProposeError::Refused(Refusal::Clock(ClockError::Differs { ahead_ms }))) = refused else {
                panic!("{refused:?}")
            };
            assert!(ahead_ms > 29 * 86_400_000, "{ahead_ms}");
        }
        // What it makes has the time of the others.
        token(&world, wrong, wrong as u8).await.unwrap();
        assert!(world.get(1).snapshot().join_token(kept).is_some());
        let shown = world.get(world.leader().await).health();
        let ahead: Vec<_> = shown.members.iter().filter(|member| member.clock_ahead_ms > Some(300_000)).collect();
        assert_eq!(ahead.iter().map(|member| member.id.manager.0).collect::<Vec<_>>(), [wrong]);
        world.net.set_clock(wrong, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_clocks_of_a_majority_are_set_time_follows_them() {
    let world = World::of(3).await;
    let kept = token(&world, 1, 90).await.unwrap();
    world.net.set_clock(1, MONTH_MS);
    world.net.set_clock(2, MONTH_MS);
    sleep(ROUND).await;
    assert!((1..=3).all(|number| world.get(number).now().0 >= MONTH_MS));
    let leader = world.get(world.leader().await);
    leader.propose(Command::Expire(leader.now())).await.unwrap();
    until("all know that it has expired", || {
        (1..=3).all(|number| world.get(number).snapshot().join_token(kept).is_none())
    })
    .await;
}

/// A manager that was started where nobody agrees can't know what the time is.
#[tokio::test(start_paused = true)]
async fn where_no_majority_agrees_nothing_that_depends_on_time_is_changed() {
    let mut world = World::new().await;
    world.net.set_clock(2, MONTH_MS);
    world.join(2).await;
    world.settle([1, 2]).await;
    // The first goes on by the time that it knows.
    token(&world, 1, 90).await.unwrap();
    let leader = world.get(1);
    assert_eq!(leader.health().leader.map(|leader| leader.manager.0), Some(1));
    let unknown = world.get(2).propose(create_token(SecretHash([1; 32]), world.get(2).now())).await;
    assert!(matches!(unknown, Err(ProposeError::Refused(Refusal::Clock(_)))), "{unknown:?}");
    world.net.set_clock(2, 0);
    sleep(ROUND).await;
    token(&world, 2, 91).await.unwrap();
}
