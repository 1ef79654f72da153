//! What `festoon ping`, `netcheck`, `status` and `debug bundle` tell on networks that are broken in one way or another.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use festoon_tests::lab::{Host, Lab, Path, tool, wait_until};
use festoon_tests::overlay::{Agent, Family, Overlay, Spec, wait_until_slowly};
use serde_json::Value;

use crate::{SOON, agent, wait_all_reach, wait_reaches};

/// What commands end with: see `festoon --help`.
const GOOD: i32 = 0;
const FAILED: i32 = 1;
const NOT_RUNNING: i32 = 3;
const NO_GOOD: i32 = 4;

/// Runs `festoon` for an agent; the exit code, and all that it prints.
fn festoon(agent: &Agent, args: &[&str]) -> anyhow::Result<(i32, String)> {
    let state_dir = format!("--state-dir={}", agent.state_dir().display());
    let program = tool("festoon")?.to_string_lossy().into_owned();
    let mut all = vec!["-c", "\"$@\" 2>&1; echo \"exit $?\"", "sh", &program, &state_dir];
    all.extend(args);
    let said = agent.host.run("sh", &all)?;
    let (said, code) = said.trim_end().rsplit_once("exit ").context("no exit code")?;
    Ok((code.parse()?, said.to_owned()))
}

fn json(agent: &Agent, args: &[&str]) -> anyhow::Result<(i32, Value)> {
    let (code, said) = festoon(agent, &[args, &["-o", "json"]].concat())?;
    Ok((code, serde_json::from_str(&said).with_context(|| format!("{args:?} ended with {code} and said {said}"))?))
}

/// What `festoon netcheck` finds: its exit code is checked against its warnings.
fn netcheck(agent: &Agent) -> anyhow::Result<Value> {
    let (code, report) = json(agent, &["netcheck"])?;
    assert_eq!(code, if codes(&report).is_empty() { GOOD } else { NO_GOOD }, "{report:#}");
    Ok(report)
}

/// The warnings: each one's word, and the manager it is about.
fn codes(report: &Value) -> Vec<(String, Option<u64>)> {
    let warnings = report["warnings"].as_array().cloned().unwrap_or_default();
    warnings.iter().map(|it| (it["code"].as_str().unwrap_or_default().to_owned(), it["manager"].as_u64())).collect()
}

fn observed(report: &Value, family: &str) -> Vec<SocketAddr> {
    serde_json::from_value(report[family]["observed"].clone()).unwrap_or_default()
}

fn path_mtu(report: &Value, manager: usize) -> Value {
    report["managers"][manager]["udp"]["path_mtu"].clone()
}

#[test]
fn on_a_good_network_nothing_is_wrong_with_the_agent_or_without() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec::default())?;
        let a = agent(&overlay, "a")?;
        let report = netcheck(a)?;
        assert_eq!(codes(&report), [], "{report:#}");
        assert_eq!(observed(&report, "ipv4"), [SocketAddr::new(a.host.ip(), a.status()?.listen_port)]);
        let seen = a.status()?.managers.iter().map(|uplink| uplink.observed).collect::<Vec<_>>();
        assert_eq!(seen, [Some(observed(&report, "ipv4")[0]); 2]);
        check_good(&report);
        let (code, table) = festoon(a, &["netcheck"])?;
        assert!(code == GOOD && table.contains("nothing is wrong") && table.contains("no NAT"), "{table}");

        overlay.agents[0].down()?;
        let a = agent(&overlay, "a")?;
        let report = netcheck(a)?;
        assert_eq!(codes(&report), [("agent_not_running".to_owned(), None)], "{report:#}");
        check_good(&report);
        // It measures, and is carried by nobody.
        assert!(overlay.managers.iter().all(|it| it.status().is_ok_and(|status| status.carrier("a").is_none())));
        overlay.agents[0].up()?;
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)
    })
}

fn check_good(report: &Value) {
    assert_eq!(report["ipv4"]["nat"], "none", "{report:#}");
    let managers = report["managers"].as_array().cloned().unwrap_or_default();
    assert_eq!(managers.len(), 2, "{report:#}");
    for manager in &managers {
        let udp = &manager["udp"];
        assert!(udp["answered"] == 5 && udp["rtt_us"].as_u64().is_some_and(|rtt| rtt > 0), "{manager:#}");
        assert_eq!(udp["path_mtu"], serde_json::json!({"bytes": 1500, "or_more": true}), "{manager:#}");
        let https = &manager["https"][0];
        assert_eq!(https["outcome"], "answered", "{manager:#}");
        assert!(https["clock_ahead_s"].as_i64().is_some_and(|ahead| ahead.abs() <= 1), "{manager:#}");
        assert!(https["certificate_left_s"].as_i64().is_some_and(|left| left > 80 * 86_400), "{manager:#}");
    }
}

#[test]
fn a_nat_is_seen_and_how_it_maps() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { agents: &[], ..Spec::default() })?;
        let homes = [overlay.clouds[0].nat("home1", "10.0.0.0/24")?, overlay.clouds[1].nat("home2", "10.0.0.0/24")?];
        homes[1].map_at_random()?;
        overlay.add_agent("a", &homes[0].host("a")?)?;
        overlay.add_agent("b", &homes[1].host("b")?)?;
        overlay.wait_until_ready()?;
        for (name, home, nat, mappings) in
            [("a", &homes[0], "endpoint_independent", 1), ("b", &homes[1], "address_dependent", 2)]
        {
            let report = netcheck(agent(&overlay, name)?)?;
            let outside = home.nat_box().context("a NAT box")?.ip();
            assert_eq!((codes(&report), &report["ipv4"]["nat"]), (vec![], &Value::from(nat)), "{report:#}");
            let observed = observed(&report, "ipv4");
            assert!(observed.len() == mappings && observed.iter().all(|seen| seen.ip() == outside), "{report:#}");
        }
        Ok(())
    })
}

#[test]
fn blocked_udp_is_told_apart_from_a_manager_that_is_down() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { agents: &["a"], ..Spec::default() })?;
        let host = overlay.agents[0].host.clone();
        let manager = overlay.managers[1].host.clone();
        let block = overlay.net.block_udp(&Path::around(&host), 51820)?;
        let report = netcheck(&overlay.agents[0])?;
        assert_eq!(codes(&report), [("udp_blocked".to_owned(), None)], "{report:#}");
        block.heal()?;
        let block = overlay.net.block_udp(&Path::between(&host, &manager), 51820)?;
        let id = u64::from(overlay.managers[1].id);
        wait_until_slowly(SOON, "the first manager to answer", || {
            Ok(codes(&netcheck(&overlay.agents[0])?) == [("manager_udp".to_owned(), Some(id))])
        })?;
        block.heal()?;
        overlay.managers[1].program()?.kill()?;
        let report = netcheck(&overlay.agents[0])?;
        let down = ["manager_udp", "https_blocked"].map(|code| (code.to_owned(), Some(id)));
        assert_eq!(codes(&report), down, "{report:#}");
        assert!(report["warnings"][0]["text"].as_str().is_some_and(|text| text.contains("it is down")), "{report:#}");
        Ok(())
    })
}

#[test]
fn a_small_mtu_is_measured_and_the_cure_is_named() -> anyhow::Result<()> {
    for (family, fitting) in [(Family::V4, 1340), (Family::V6, 1320)] {
        Lab::run(|lab| {
            let overlay = Overlay::start(lab, &Spec { family, agents: &["a"], ..Spec::default() })?;
            let a = agent(&overlay, "a")?;
            let small = overlay.net.narrow(&overlay.managers[1].host, 1400)?;
            let report = netcheck(a)?;
            assert_eq!(path_mtu(&report, 0), serde_json::json!({"bytes": 1500, "or_more": true}), "{report:#}");
            assert_eq!(path_mtu(&report, 1), serde_json::json!({"bytes": 1400, "or_more": false}), "{report:#}");
            let id = u64::from(overlay.managers[1].id);
            assert_eq!(codes(&report), [("small_mtu".to_owned(), Some(id))], "{report:#}");
            let text = report["warnings"][0]["text"].as_str().unwrap_or_default();
            assert!(text.contains(&format!("networks set default --mtu {fitting}")), "{text}");
            // What the kernel has heard of the path by then does not count.
            small.heal()?;
            assert_eq!(codes(&netcheck(a)?), []);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_ping_says_who_answers_how_fast_and_through_whom() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec { priorities: &[200, 100], ..Spec::default() })?;
        wait_all_reach(&overlay)?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        let carrier = u64::from(overlay.managers[0].id);
        let (v4, v6) = (b.v4()?.to_string(), b.v6()?.to_string());
        for (target, through) in [(&*v4, 1), (&v6, 1), ("gateway", 1), ("a", 1), ("manager", 1), ("m1", 1), ("m2", 2)] {
            let (code, report) = json(a, &["ping", target, "-c", "3", "-i", "0.05"])?;
            let summary = &report["summary"];
            assert!(code == GOOD && summary["sent"] == 3 && summary["received"] == 3, "{report:#}");
            assert!(summary["rtt_us"]["min"].as_u64() <= summary["rtt_us"]["max"].as_u64(), "{report:#}");
            let through = if through == 1 { carrier } else { u64::from(overlay.managers[1].id) };
            assert!(
                report["replies"].as_array().is_some_and(|all| all.iter().all(|it| it["via"] == through)),
                "{report:#}"
            );
        }
        let (code, table) = festoon(a, &["ping", &v4, "-c", "1"])?;
        assert!(code == GOOD && table.contains("through m1") && table.contains(" 0.0 % lost"), "{table}");
        for (target, code, text) in [
            ("172.31.99.99", NO_GOOD, "100.0 % lost"),
            ("192.0.2.1", FAILED, "not in the overlay"),
            ("no.such.name.invalid", FAILED, "no name that this host resolves"),
        ] {
            let (found, said) = festoon(a, &["ping", target, "-c", "1", "-W", "0.3"])?;
            assert!(found == code && said.contains(text), "{target}: {found} {said}");
        }
        Ok(())
    })
}

#[test]
fn a_ping_counts_what_is_lost() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let overlay = Overlay::start(lab, &Spec::default())?;
        wait_all_reach(&overlay)?;
        let (a, b) = (agent(&overlay, "a")?, agent(&overlay, "b")?);
        let _lossy = overlay.net.lose(&Path::around(&b.host), 30.0)?;
        let (code, report) = json(a, &["ping", &b.v4()?.to_string(), "-c", "60", "-i", "0.02", "-W", "0.2"])?;
        let answered = report["summary"]["received"].as_u64().context("no count")?;
        assert!(code == GOOD && report["summary"]["sent"] == 60 && (1..60).contains(&answered), "{report:#}");
        assert_eq!(report["summary"]["lost_permille"], (60 - answered) * 1000 / 60);
        let report = netcheck(b)?;
        assert!(codes(&report).iter().all(|(code, _)| code != "udp_blocked"), "{report:#}");
        Ok(())
    })
}

#[test]
fn status_is_watched_until_the_agent_stops() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { agents: &["a"], ..Spec::default() })?;
        let (host, state_dir) = (overlay.agents[0].host.clone(), overlay.agents[0].state_dir().display().to_string());
        let args =
            [format!("--state-dir={state_dir}"), "status".into(), "--watch=1s".into(), "-o".into(), "json".into()];
        let mut watch = host.spawn(tool("festoon")?, &args)?;
        wait_until(SOON, "two lines", || watch.log().lines().count() >= 2)?;
        let log = watch.log();
        let lines: Vec<Value> = log.lines().take(2).map(serde_json::from_str).collect::<Result<_, _>>()?;
        assert!(lines.iter().all(|line| line["name"] == "a"), "{log}");
        overlay.agents[0].down()?;
        assert_eq!(watch.wait(SOON)?.code(), Some(NOT_RUNNING));
        Ok(())
    })
}

const CANARY: &str = "canary-0d6f1c";

#[test]
fn a_bundle_has_everything_but_secrets() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { agents: &["b"], ..Spec::default() })?;
        let token = overlay.first_manager()?.token()?;
        let host = overlay.clouds[0].host("a")?;
        overlay.agents.push(Agent::join(&host, "a", lab.dir().join("a"), &token)?);
        wait_reaches(&host, overlay.agents[0].v4()?)?;
        let mut secrets = vec![token.clone(), token[token.len() / 2..].to_owned(), CANARY.to_owned()];
        secrets.extend(identity(overlay.agents[1].state_dir())?);
        // As much log as there can be, of a key that is changed and of maps that are fetched.
        overlay.agents[1].down()?;
        plant(overlay.agents[1].state_dir())?;
        let festoon = tool("festoon")?.display().to_string();
        let state_dir = format!("--state-dir={}", overlay.agents[1].state_dir().display());
        let args =
            ["FESTOON_LOG=trace".to_owned(), format!("FESTOON_CANARY={CANARY}"), festoon, state_dir, "up".into()];
        let mut program = host.spawn("/usr/bin/env", &args)?;
        program.wait_for_log(SOON, "the agent has started")?;
        wait_reaches(&host, overlay.agents[0].v4()?)?;
        let a = &overlay.agents[1];
        a.run(&["rotate-key"])?;
        secrets.extend(identity(a.state_dir())?);
        // The map may be a new one.
        plant(a.state_dir())?;
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();

        let files = bundle(&host, a, &lab.dir().join("running"))?;
        check_files(&files, &secrets, &a.status()?.public_key);
        let log = &files.iter().find(|(name, _)| name == "log").context("no log")?.1;
        assert!(log.contains("the agent has started") && log.contains("TRACE"), "{log}");
        for (name, text) in
            [("netcheck.json", "\"agent_runs\": true"), ("host/routes-v4", "default"), ("host/sysctl", "ip_forward")]
        {
            assert!(files.iter().any(|(file, content)| file == name && content.contains(text)), "{name}");
        }
        // Without an agent there is less, but there is one.
        a.run(&["down"])?;
        let files = bundle(&host, a, &lab.dir().join("stopped"))?;
        check_files(&files, &secrets, "\"name\": \"m1\"");
        Ok(())
    })
}

/// The secrets in a state directory, in every way in which one might write them.
fn identity(state_dir: &FilePath) -> anyhow::Result<Vec<String>> {
    let identity: Value = serde_json::from_slice(&fs::read(state_dir.join("identity.json"))?)?;
    let secret: Vec<u8> = serde_json::from_value(identity["credential_secret"].clone())?;
    let key = identity["private_key"].as_str().context("no key")?.to_owned();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers = |separator: &str| secret.iter().map(u8::to_string).collect::<Vec<_>>().join(separator);
    Ok(vec![key, hex, URL_SAFE_NO_PAD.encode(&secret), numbers(","), numbers(", ")])
}

/// Puts a canary wherever a bundle that copies too much would find it.
fn plant(state_dir: &FilePath) -> anyhow::Result<()> {
    fs::write(state_dir.join("notes.txt"), CANARY)?;
    fs::write(state_dir.join(CANARY), "a file that tells by its name")?;
    let map = state_dir.join("map.json");
    let mut content: Value = serde_json::from_slice(&fs::read(&map)?)?;
    content["private_key"] = CANARY.into();
    content["managers"][0]["private_key"] = CANARY.into();
    Ok(fs::write(map, serde_json::to_vec(&content)?)?)
}

/// Makes a bundle and unpacks it: each file's name and content.
fn bundle(host: &Host, agent: &Agent, at: &FilePath) -> anyhow::Result<Vec<(String, String)>> {
    fs::create_dir(at)?;
    let file = at.join("bundle.tar.gz");
    agent.run(&["debug", "bundle", "-o", &file.to_string_lossy()])?;
    let (at, file) = (at.to_string_lossy(), file.to_string_lossy());
    host.run("tar", &["--strip-components=1", "-C", &*at, "-xzf", &*file])?;
    fs::remove_file(&*file)?;
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(&*at)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&*at)?.to_string_lossy().into_owned();
                files.push((name, String::from_utf8_lossy(&fs::read(&path)?).into_owned()));
            }
        }
    }
    Ok(files)
}

/// Nothing secret in any, something that shows that looking helps in one, and all in the index.
fn check_files(files: &[(String, String)], secrets: &[&str], sought: &str) {
    let index = files.iter().find(|(name, _)| name == "INDEX").map(|(_, content)| content.as_str()).unwrap_or_default();
    assert!(files.len() > 15 && !index.contains("left out"), "{index}");
    assert!(files.iter().any(|(_, content)| content.contains(sought)), "{sought} is nowhere");
    for (name, content) in files {
        assert!(name == "INDEX" || index.contains(&format!("{name} ")), "{name} is not in {index}");
        for secret in secrets {
            assert!(!content.contains(secret) && !name.contains(secret), "{secret} is in {name}");
        }
    }
}
