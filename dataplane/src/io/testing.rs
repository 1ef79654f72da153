//! What the tests of the shell share: patience, a runtime, and network namespaces of their own.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::timeout;

use super::port::{Received, UnderlayPort as _};
use super::udp::UdpPort;
use crate::UnderlayPath;

/// How long anything is waited for. Far longer than it takes, so that only a real loss fails a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const MARK: &str = "FESTOON_TEST_NAMESPACE";

/// Runs a test on a runtime like the driver's.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Runs the test that is called `name` in a network namespace of its own, in which `setup` was run before: this program
/// starts itself again there. Without root, a user namespace gives the right to.
pub(crate) fn in_namespace(name: &str, setup: &[&str], test: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        setup.iter().for_each(|line| command(line));
        return test();
    }
    let program = std::env::current_exe().unwrap();
    let unshare = ["--net", "--map-root-user"];
    if !Command::new("unshare").args(unshare).arg("true").status().is_ok_and(|status| status.success()) {
        panic!("{name} needs a network namespace: run as root, or allow unprivileged user namespaces");
    }
    let again = [program.to_str().unwrap(), "--exact", name, "--nocapture"];
    let output = Command::new("unshare").args(unshare).args(again).env(MARK, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    print!("{said}");
}

/// Runs a command line without quotes in it, which must succeed.
pub(crate) fn command(line: &str) {
    let mut words = line.split_whitespace();
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{line}");
}

/// Datagrams and errors, until `enough` says so.
pub(crate) async fn receive_until(
    port: &mut UdpPort,
    mut enough: impl FnMut(&[(UnderlayPath, Vec<u8>)], &[SocketAddr]) -> bool,
) -> (Vec<(UnderlayPath, Vec<u8>)>, Vec<SocketAddr>) {
    let (mut datagrams, mut unreachable) = (Vec::new(), Vec::new());
    let receive = async {
        while !enough(&datagrams, &unreachable) {
            port.readable().await.unwrap();
            port.receive(|received| match received {
                Received::Datagrams { path, bytes, stride } => {
                    datagrams.extend(bytes.chunks(stride).map(|datagram| (path, datagram.to_vec())));
                }
                Received::Unreachable(address) => unreachable.push(address),
            })
            .unwrap();
        }
    };
    timeout(PATIENCE, receive).await.expect("nothing more arrives");
    (datagrams, unreachable)
}
