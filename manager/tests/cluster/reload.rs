//! SIGHUP.

use rustix::process::{Signal, kill_process};

use crate::harness::{Manager, until};

#[tokio::test]
async fn a_hangup_reads_the_configuration_again_and_says_what_waits_for_a_restart() {
    let mut manager = Manager::init("m1");
    manager.configure("");
    manager.start().await;
    let steps = [
        ("", "the configuration was read again"),
        ("[https]\nnames = [\"vpn.example.com\"]\n", "what is new in [https] is used from the next start on"),
        ("[https]\nnames = 7\n", "the configuration stays as it was"),
        ("[log]\nfilter = \"warn\"\n", "logs are filtered anew"),
    ];
    for (configuration, said) in steps {
        manager.configure(configuration);
        kill_process(manager.pid(), Signal::HUP).unwrap();
        until(said, || manager.log().contains(said)).await;
    }
    manager.must(&["status"]);
    assert!(manager.terminate().await.success(), "and it stops in good order");
}
