//! The lab's own tests: a fault that does not bite, or does not heal, would make every scenario worthless.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use festoon_tests::clock::now;
use festoon_tests::lab::{Cloud, Delay, Echo, Host, Internet, Lab, Path, Program, Receiver, Stream, tool, wait_until};
use festoon_tests::tools::outcome::EchoReport;

const MS: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_secs(10);

struct Two {
    lab: Lab,
    net: Internet,
    cloud: Cloud,
    a: Host,
    b: Host,
}

/// Two hosts in two clouds.
fn two() -> anyhow::Result<Two> {
    let lab = Lab::new()?;
    let net = lab.internet()?;
    let cloud = net.cloud("cloud1", "192.0.2.0/24")?;
    let a = cloud.host("a")?;
    let b = net.cloud("cloud2", "198.51.100.0/24")?.host("b")?;
    Ok(Two { lab, net, cloud, a, b })
}

/// A few pings from one host to the other, over IPv4 and over IPv6: whether each is answered.
fn reaches(from: &Host, to: &Host) -> anyhow::Result<[bool; 2]> {
    let answered = |target: String| -> anyhow::Result<bool> { Ok(ping(from, &target, 3, 60)?.received > 0) };
    Ok([answered(to.v4().to_string())?, answered(to.v6().to_string())?])
}

fn ping(from: &Host, target: &str, count: u32, linger_ms: u32) -> anyhow::Result<EchoReport> {
    let (count, linger) = (format!("--count={count}"), format!("--linger-ms={linger_ms}"));
    let labtool = tool("festoon-labtool")?;
    let text = from
        .run(&labtool.to_string_lossy(), &["ping", "--target", target, "--interval-ms", "2", &count, &linger])
        .context("ping")?;
    Ok(serde_json::from_str(&text)?)
}

fn udp_echo(host: &Host, port: u16) -> anyhow::Result<(Program, SocketAddr)> {
    let at = SocketAddr::new(host.ip(), port);
    let mut echo = host.spawn(tool("festoon-labtool")?, &["udp-echo", "--listen", &at.to_string()])?;
    echo.wait_for_log(SOON, "listening on")?;
    Ok((echo, at))
}

fn udp_reaches(from: &Host, to: SocketAddr) -> anyhow::Result<bool> {
    let labtool = tool("festoon-labtool")?;
    let args = ["udp-ping", "--to", &to.to_string(), "--count=3", "--linger-ms=60"];
    let report: EchoReport = serde_json::from_str(&from.run(&labtool.to_string_lossy(), &args)?)?;
    Ok(report.received > 0)
}

#[test]
fn hosts_reach_each_other_in_one_cloud_and_across() -> anyhow::Result<()> {
    let Two { cloud, a, b, lab: _lab, .. } = two()?;
    let c = cloud.host("c")?;
    assert_eq!((reaches(&a, &b)?, reaches(&a, &c)?), ([true; 2], [true; 2]));
    Ok(())
}

#[test]
fn a_cut_is_silent_both_ways_and_heals() -> anyhow::Result<()> {
    let Two { net, cloud, a, b, lab: _lab } = two()?;
    let c = cloud.host("c")?;
    let cut = net.cut(&a, &b)?;
    let silent = ping(&a, &b.ip().to_string(), 10, 60)?;
    assert_eq!((silent.received, silent.lost), (0, 10));
    assert!(silent.send_errors.is_empty(), "no ICMP error came back: {:?}", silent.send_errors);
    assert_eq!((reaches(&a, &b)?, reaches(&b, &a)?), ([false; 2], [false; 2]));
    assert_eq!((reaches(&a, &c)?, reaches(&c, &b)?), ([true; 2], [true; 2]), "others do not notice");
    assert!(cut.dropped()?.0 >= 10);
    cut.heal()?;
    assert_eq!(reaches(&a, &b)?, [true; 2]);
    Ok(())
}

#[test]
fn a_one_way_cut_stops_one_direction_only() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    for (from, to) in [(&a, &b), (&b, &a)] {
        let (mut echo, at) = udp_echo(to, 7)?;
        let (mut back, back_at) = udp_echo(from, 7)?;
        let cut = net.drop(&Path::one_way(from, to))?;
        assert!(!udp_reaches(from, at)? && !udp_reaches(to, back_at)?);
        cut.heal()?;
        assert!(udp_reaches(from, at)? && udp_reaches(to, back_at)?);
        echo.terminate()?;
        back.terminate()?;
        // What was sent against the cut arrived, and only its answers were dropped.
        assert_eq!((received(&mut echo)?, received(&mut back)?), (3, 6));
    }
    Ok(())
}

fn wait_connected(host: &Host) -> anyhow::Result<Duration> {
    wait_until(SOON, "the connection", || host.run("ss", &["-Htn"]).is_ok_and(|out| out.contains(":5001")))
}

fn received(echo: &mut Program) -> anyhow::Result<u64> {
    echo.wait(SOON)?;
    let log = echo.log();
    let report: serde_json::Value = serde_json::from_str(log.lines().last().context("no report")?)?;
    report["received"].as_u64().context("no count")
}

#[test]
fn a_host_can_be_cut_off_from_everyone() -> anyhow::Result<()> {
    let Two { net, cloud, a, b, lab: _lab } = two()?;
    let c = cloud.host("c")?;
    for path in [Path::around(&a), Path::out_of(&a), Path::into(&a)] {
        let cut = net.drop(&path)?;
        assert_eq!((reaches(&a, &b)?, reaches(&a, &c)?, reaches(&b, &c)?), ([false; 2], [false; 2], [true; 2]));
        cut.heal()?;
        assert_eq!(reaches(&a, &b)?, [true; 2]);
    }
    Ok(())
}

#[test]
fn a_dropped_guard_heals() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    drop(net.cut(&a, &b)?);
    drop(net.slow(&a, 1)?);
    drop(net.delay(&Path::between(&a, &b), Delay::of(MS * 200))?);
    assert_eq!(reaches(&a, &b)?, [true; 2]);
    Ok(())
}

#[test]
fn loss_takes_about_its_share() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    let lossy = net.lose(&Path::one_way(&a, &b), 20.0)?;
    let report = ping(&a, &b.ip().to_string(), 500, 100)?;
    // 100 expected, standard deviation 9.
    assert!((50..=150).contains(&report.lost), "lost {} of 500", report.lost);
    assert_eq!(lossy.dropped()?.0, report.lost);
    lossy.heal()?;
    assert_eq!(ping(&a, &b.ip().to_string(), 50, 200)?.lost, 0);
    Ok(())
}

#[test]
fn a_lost_packet_is_a_packet_not_a_large_segment() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    let lossy = net.lose(&Path::everywhere(), 1.0)?;
    let receiver = Receiver::start(&b, SocketAddr::new(b.ip(), 5001))?;
    let sent = Stream::flood(&a, receiver.at(), MS * 300)?.wait(SOON)?;
    assert!(sent.kept && sent.bytes_lost == 0, "{sent:?}");
    let (packets, bytes) = lossy.dropped()?;
    assert!(packets > 0 && bytes <= packets * 1500, "{bytes} bytes in {packets} packets");
    Ok(())
}

#[test]
fn one_udp_port_can_be_blocked() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    let (_one, blocked) = udp_echo(&b, 51820)?;
    let (_two, open) = udp_echo(&b, 51821)?;
    let block = net.block_udp(&Path::around(&b), 51820)?;
    assert!(!udp_reaches(&a, blocked)? && udp_reaches(&a, open)?);
    assert_eq!(reaches(&a, &b)?, [true; 2]);
    block.heal()?;
    assert!(udp_reaches(&a, blocked)?);
    Ok(())
}

#[test]
fn a_rate_limit_holds_both_ways_and_heals() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    let slow = net.slow(&a, 20)?;
    let rate = |from: &Host, to: &Host, port: u16| -> anyhow::Result<f64> {
        let receiver = Receiver::start(to, SocketAddr::new(to.ip(), port))?;
        let sent = Stream::flood(from, receiver.at(), MS * 400)?.wait(SOON)?;
        Ok(sent.receiver.context("no report")?.mbit_per_s)
    };
    let (up, down) = (rate(&a, &b, 5001)?, rate(&b, &a, 5001)?);
    assert!((8.0..=26.0).contains(&up) && (8.0..=26.0).contains(&down), "{up} up, {down} down");
    slow.heal()?;
    let free = rate(&a, &b, 5002)?;
    assert!(free > 100.0, "{free}");
    Ok(())
}

#[test]
fn a_narrow_cable_takes_small_packets_whole_and_large_ones_in_pieces() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    let passes = |size: u32, whole: &str| -> anyhow::Result<bool> {
        // Without the IP and ICMP headers.
        let script = format!("ping -n -M {whole} -c 1 -W 1 -s {} {} || true", size - 28, b.ip());
        Ok(a.run("sh", &["-c", &script])?.contains(" 0% packet loss"))
    };
    assert!(passes(1500, "do")?);
    let narrow = net.narrow(&b, 1400)?;
    assert_eq!((passes(1401, "do")?, passes(1400, "do")?, passes(1500, "dont")?), (false, true, true));
    narrow.heal()?;
    // What the sender has heard of the path.
    a.run("ip", &["route", "flush", "cache"])?;
    assert!(passes(1500, "do")?);
    Ok(())
}

#[test]
fn a_delay_is_applied_both_ways_and_heals() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    let delay = net.delay(&Path::between(&a, &b), Delay::of(MS * 30))?;
    for target in [a.v4().to_string(), a.v6().to_string()] {
        let report = ping(&b, &target, 50, 500)?;
        assert_eq!((report.lost, report.duplicated, report.reordered), (0, 0, 0), "{report:?}");
        assert!(report.rtt_min_ms >= 60.0 && report.rtt_avg_ms < 90.0, "{report:?}");
    }
    delay.heal()?;
    assert!(ping(&b, &a.ip().to_string(), 10, 200)?.rtt_min_ms < 20.0);
    Ok(())
}

#[test]
fn jitter_reorders_and_duplicates_appear_and_nothing_is_lost() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    let disorder = Delay { delay: MS * 5, jitter: MS * 20, duplicate_percent: 25.0, seed: 1 };
    let delay = net.delay(&Path::one_way(&a, &b), disorder)?;
    let report = ping(&a, &b.ip().to_string(), 200, 300)?;
    assert_eq!(report.lost, 0);
    assert!(report.reordered >= 20, "{} reordered", report.reordered);
    assert!((20..=90).contains(&report.duplicated), "{} duplicated", report.duplicated);
    assert!(report.rtt_min_ms >= 5.0);
    delay.heal()?;
    assert_eq!(ping(&a, &b.ip().to_string(), 20, 200)?.reordered, 0);
    Ok(())
}

#[test]
fn loss_counts_once_under_a_delay() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    let _delay = net.delay(&Path::between(&a, &b), Delay::of(MS * 2))?;
    let lossy = net.lose(&Path::between(&a, &b), 50.0)?;
    let report = ping(&a, &b.ip().to_string(), 300, 100)?;
    // Once each way leaves a quarter: 75, standard deviation 7.5. Twice each way would leave 19.
    assert!((45..=110).contains(&report.received), "{} of 300", report.received);
    drop(lossy);
    Ok(())
}

#[test]
fn a_nat_box_hides_its_hosts_and_serves_them() -> anyhow::Result<()> {
    let Two { net, cloud, b, lab: _lab, .. } = two()?;
    let home = cloud.nat("home", "10.0.0.0/24")?;
    let (c, d) = (home.host("c")?, home.host("d")?);
    let nat_box = home.nat_box().context("a NAT box")?;
    assert_eq!((reaches(&c, &b)?, reaches(&b, &c)?), ([true; 2], [false; 2]));
    let receiver = Receiver::start(&b, SocketAddr::new(b.ip(), 5001))?;
    let stream = Stream::start(&c, receiver.at(), 8.0)?;
    wait_connected(&b)?;
    let peer: SocketAddr = stream.finish()?.receiver.context("no report")?.peer.parse()?;
    assert_eq!(peer.ip(), nat_box.ip());
    // A fault between one host behind the box and one outside does not touch its neighbour.
    let cut = net.cut(&b, &c)?;
    assert_eq!((reaches(&c, &b)?, reaches(&d, &b)?), ([false; 2], [true; 2]));
    cut.heal()?;
    assert_eq!(reaches(&c, &b)?, [true; 2]);
    nat_box.change_addresses()?;
    assert_eq!(reaches(&c, &b)?, [true; 2]);
    Ok(())
}

#[test]
fn a_host_gets_new_addresses_and_moves() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    let before = (a.v4(), a.v6());
    a.change_addresses()?;
    assert!(a.v4() != before.0 && a.v6() != before.1);
    assert_eq!((reaches(&a, &b)?, reaches(&b, &a)?), ([true; 2], [true; 2]));
    assert_eq!(ping(&b, &before.0.to_string(), 2, 60)?.received, 0);
    net.cloud("cloud3", "203.0.113.0/24")?.take_in(&a)?;
    assert_eq!(a.v4().octets()[..3], [203, 0, 113]);
    assert_eq!((reaches(&a, &b)?, reaches(&b, &a)?), ([true; 2], [true; 2]));
    Ok(())
}

#[test]
fn a_ping_measures_the_gap_that_a_cut_makes() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    let mut echo = Echo::ping(&a, b.ip(), MS * 5)?;
    echo.wait_first(SOON)?;
    let cut = net.cut(&a, &b)?;
    let start = now();
    wait_until(SOON, "300 ms", || start.elapsed() >= MS * 300)?;
    cut.heal()?;
    let inside = start.elapsed();
    let healed = ping(&a, &b.ip().to_string(), 5, 200)?;
    assert_eq!(healed.lost, 0);
    let report = echo.finish()?;
    assert!(report.gap_closed && report.lost >= 30, "{report:?}");
    assert!(report.gap_ms >= 290.0 && report.gap_ms <= inside.as_secs_f64() * 1000.0 + 100.0, "{report:?}");
    assert_eq!((report.duplicated, report.sent), (0, report.received + report.lost));
    let unanswered = report.echoes.iter().filter(|echo| echo.reply_ms.is_none()).count();
    assert_eq!((report.echoes.len() as u64, unanswered as u64), (report.sent, report.lost));
    Ok(())
}

#[test]
fn a_ping_goes_on_through_send_errors() -> anyhow::Result<()> {
    let Two { cloud, a, b, lab: _lab, .. } = two()?;
    let mut echo = Echo::ping(&a, b.ip(), MS * 5)?;
    echo.wait_first(SOON)?;
    a.run("ip", &["route", "del", "default", "via", "192.0.2.1"])?;
    assert!(!reaches(&a, &b)?[0]);
    a.run("ip", &["route", "add", "default", "via", "192.0.2.1"])?;
    assert!(reaches(&a, &b)?[0]);
    let report = echo.finish()?;
    assert!(report.send_errors.keys().any(|error| error.contains("unreachable")), "{report:?} {}", cloud.name());
    assert!(report.gap_closed);
    Ok(())
}

#[test]
fn a_stream_survives_a_cut_and_proves_every_byte() -> anyhow::Result<()> {
    let Two { net, a, b, lab: _lab, .. } = two()?;
    let receiver = Receiver::start(&b, SocketAddr::new(b.v6().into(), 5001))?;
    let mut echo = Echo::ping(&a, b.ip(), MS * 5)?;
    let stream = Stream::start(&a, receiver.at(), 20.0)?;
    echo.wait_first(SOON)?;
    wait_connected(&b)?;
    let cut = net.cut(&a, &b)?;
    let start = now();
    wait_until(SOON, "200 ms", || start.elapsed() >= MS * 200)?;
    cut.heal()?;
    let sent = stream.finish()?;
    let got = sent.receiver.as_ref().context("no report")?;
    assert!(sent.kept && sent.bytes_lost == 0 && sent.bytes > 10_000, "{sent:?}");
    assert!(got.checked && got.complete && got.first_wrong.is_none() && got.digest == sent.digest, "{sent:?}");
    assert!(got.gap_ms >= 150.0, "{sent:?}");
    assert_eq!(receiver.received()?, std::slice::from_ref(got));
    Ok(())
}

#[test]
fn a_stream_whose_receiver_dies_says_so() -> anyhow::Result<()> {
    let Two { a, b, lab: _lab, .. } = two()?;
    let mut receiver = Receiver::start(&b, SocketAddr::new(b.ip(), 5001))?;
    let stream = Stream::start(&a, receiver.at(), 20.0)?;
    wait_connected(&b)?;
    receiver.program().kill()?;
    let sent = stream.finish()?;
    assert!(!sent.kept && sent.error.is_some() && sent.bytes_lost == sent.bytes, "{sent:?}");
    Ok(())
}

#[test]
fn junk_of_every_size_arrives_whole() -> anyhow::Result<()> {
    let Two { a, b, lab: _lab, .. } = two()?;
    let (mut echo, at) = udp_echo(&b, 7)?;
    let labtool = tool("festoon-labtool")?;
    let args = ["udp-junk", "--to", &at.to_string(), "--sizes=0,1,1472,65507", "--count=20", "--interval-us=2000"];
    let report: serde_json::Value = serde_json::from_str(&a.run(&labtool.to_string_lossy(), &args)?)?;
    assert_eq!(report["bytes"], 5 * (1 + 1472 + 65_507));
    assert!(udp_reaches(&a, at)?, "what was sent later arrives, so all that went before has been received");
    echo.terminate()?;
    assert_eq!(received(&mut echo)?, 23);
    Ok(())
}

#[test]
fn a_program_is_its_own_process_and_takes_signals() -> anyhow::Result<()> {
    let Two { a, b, lab: _lab, .. } = two()?;
    let (mut echo, at) = udp_echo(&b, 7)?;
    let name = std::fs::read_to_string(format!("/proc/{}/comm", echo.pid()))?;
    assert!("festoon-labtool".starts_with(name.trim()), "{name}");
    echo.pause()?;
    assert!(!udp_reaches(&a, at)?);
    echo.resume()?;
    assert!(udp_reaches(&a, at)?);
    echo.kill()?;
    assert!(!echo.is_running() && !udp_reaches(&a, at)?);
    assert!(echo.terminate().is_err_and(|error| error.to_string().contains("has ended")));
    Ok(())
}

#[test]
fn failures_are_clear() -> anyhow::Result<()> {
    let Two { net, a, lab: _lab, .. } = two()?;
    let error = a.run("ip", &["link", "show", "nothing"]).expect_err("no such link").to_string();
    assert!(error.contains("ip link show nothing") && error.contains("does not exist"), "{error}");
    let error = net.cloud("bad", "192.0.2/24").expect_err("no subnet").to_string();
    assert!(error.contains("bad") && error.contains("192.0.2/24"), "{error}");
    let mut lost = a.spawn("no-such-program", &[""; 0])?;
    let error = lost.wait_for_log(SOON, "hello").expect_err("cannot start").to_string();
    assert!(error.contains("no-such-program"), "{error}");
    let error = wait_until(MS, "pigs to fly", || false).expect_err("they do not").to_string();
    assert!(error.contains("pigs to fly"), "{error}");
    Ok(())
}

#[test]
fn everything_goes_with_the_lab_even_after_a_panic() -> anyhow::Result<()> {
    let (sender, facts) = std::sync::mpsc::channel();
    let broken = std::thread::spawn(move || {
        let two = two().expect("a lab");
        let (echo, _) = udp_echo(&two.b, 7).expect("an echo");
        let stray = two.b.run("sh", &["-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]).expect("a stray process");
        let pids = [echo.pid().to_string(), stray.trim().to_owned()];
        sender.send((two.lab.namespaces(), two.lab.dir().to_owned(), pids)).expect("sent");
        std::mem::forget(echo);
        panic!("on purpose");
    });
    assert!(broken.join().is_err());
    let (namespaces, dir, pids) = facts.recv()?;
    assert_eq!(namespaces.len(), 3);
    for name in &namespaces {
        assert!(!std::path::Path::new("/run/netns").join(name).exists(), "{name} is left");
    }
    assert!(!dir.exists());
    for pid in pids {
        // Gone, or dead and not yet waited for.
        let stat = std::path::Path::new("/proc").join(pid).join("stat");
        let is_dead = || std::fs::read_to_string(&stat).map_or(true, |state| state.contains(") Z"));
        wait_until(SOON, "the end of a stray program", is_dead)?;
    }
    Ok(())
}

#[test]
fn a_kept_lab_stays_until_it_is_removed() -> anyhow::Result<()> {
    let Two { lab, a, b, net, .. } = two()?;
    let cut = net.cut(&a, &b)?;
    let (echo, at) = udp_echo(&b, 7)?;
    let dir = lab.dir().to_owned();
    let namespaces = lab.keep();
    drop((cut, echo));
    assert_eq!(reaches(&a, &b)?, [false; 2], "faults stay");
    assert!(udp_reaches(&b, at)?, "programs run");
    Lab::remove(&namespaces)?;
    assert!(a.run("true", &[""; 0]).is_err());
    Ok(std::fs::remove_dir_all(dir)?)
}
