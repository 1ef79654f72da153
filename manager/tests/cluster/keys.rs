//! The CA's key and other secrets: every full manager has them, and no file gives them away.

use crate::harness::{Manager, until};

#[tokio::test]
async fn any_manager_lets_another_in_when_the_first_is_lost() {
    let mut first = Manager::init("m1").started().await;
    let second = Manager::join("m2", &first).await;
    let third = Manager::join("m3", &first).await;
    until("three vote", || third.must(&["status"]).contains("one manager may be lost at no cost")).await;
    first.kill();
    until("the others go on", || second.run(&["token", "create"]).status.success()).await;
    let fourth = Manager::join("m4", &second).await;
    until("it is in", || fourth.status()["managers"].as_array().unwrap().len() == 4).await;
}
