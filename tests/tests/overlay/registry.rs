//! The registry loses its quorum, its disk or its place, and traffic goes on.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use festoon_tests::lab::{Echo, Lab};
use festoon_tests::overlay::{Manager, Overlay, Spec, wait_until_slowly};

use crate::{MS, SOON, refusal};

/// A small file system, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&at)?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(&at).status()?;
        anyhow::ensure!(mounted.success(), "no small disk can be mounted at {}", at.display());
        Ok(Self(at))
    }

    /// Writes a file until nothing more fits.
    fn fill(&self) -> anyhow::Result<PathBuf> {
        let file = self.0.join("somebody-elses");
        while fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &[7; 4096]))
            .is_ok()
        {}
        Ok(file)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, for a test that failed has not ended its managers yet.
        if let Err(error) = Command::new("umount").arg("--lazy").arg(&self.0).status() {
            eprintln!("{} is still mounted: {error}", self.0.display());
        }
    }
}

fn wait_voters(manager: &Manager, count: usize) -> anyhow::Result<()> {
    wait_until_slowly(SOON, &format!("{count} voters"), || {
        let registry = manager.status()?.registry;
        let voters = registry.members.iter().filter(|member| member.votes && member.is_heard).count();
        Ok(voters == count && registry.leader.is_some())
    })
}

fn add_network(manager: &Manager, number: usize) -> anyhow::Result<String> {
    let (name, prefix) = (format!("n{number}"), format!("--prefix=10.{}.{}.0/24", number / 250, number % 250));
    manager.run(&["networks", "add", &name, &prefix])
}

fn has_network(manager: &Manager, name: &str) -> anyhow::Result<bool> {
    Ok(manager.run(&["networks", "list"])?.contains(name))
}

#[test]
fn a_promotion_and_a_rejoining_disturb_no_traffic() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec { priorities: &[100, 200], ..Spec::default() })?;
        let (lost, survivor) = (0, 1);
        wait_until_slowly(SOON, "both agents with the survivor", || {
            Ok(overlay.active().is_ok_and(|it| it == survivor))
        })?;
        wait_voters(&overlay.managers[survivor], 2)?;
        overlay.managers[lost].program()?.kill()?;
        let mut ping = Echo::ping(&overlay.agents[0].host, overlay.agents[1].v4()?, 5 * MS)?;
        ping.wait_first(SOON)?;
        let said = refusal(add_network(&overlay.managers[survivor], 1))?;
        assert!(said.contains("2 of its 2 managers have to agree"), "{said}");
        overlay.managers[survivor].run(&["promote", "--yes"])?;
        add_network(&overlay.managers[survivor], 2)?;
        overlay.managers[lost].start()?;
        wait_until_slowly(SOON, "it is fenced off", || {
            Ok(overlay.managers[lost].run(&["status"])?.contains("FENCED"))
        })?;
        overlay.managers[lost].run(&["rejoin", "--yes"])?;
        wait_voters(&overlay.managers[lost], 2)?;
        assert!(has_network(&overlay.managers[lost], "n2")?);
        let pings = ping.finish()?;
        assert!(pings.sent > 0 && pings.lost == 0, "{} of {} pings were lost", pings.lost, pings.sent);
        overlay.wait_until_ready()
    })
}

#[test]
fn a_full_disk_stops_changes_and_nothing_else_until_there_is_room() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let disk = SmallDisk::mount(lab.dir().join("m1"))?;
        let overlay = Overlay::start(lab, &Spec { priorities: &[100], ..Spec::default() })?;
        let manager = &overlay.managers[0];
        let mut ping = Echo::ping(&overlay.agents[0].host, overlay.agents[1].v4()?, 5 * MS)?;
        ping.wait_first(SOON)?;
        let filler = disk.fill()?;
        let refused = (0..2000).find_map(|number| add_network(manager, number).err().map(|error| (number, error)));
        let (acknowledged, error) = refused.ok_or_else(|| anyhow::anyhow!("the disk is never full"))?;
        let said = refusal(Err(error))?;
        assert!(said.contains("can't be changed"), "{said}");
        assert!(has_network(manager, "n0")? || acknowledged == 0, "it reads on");
        fs::remove_file(filler)?;
        wait_until_slowly(4 * SOON, "changes go on without a hand on it", || Ok(add_network(manager, 2001).is_ok()))?;
        assert!((0..acknowledged).all(|number| has_network(manager, &format!("n{number}")).unwrap_or(false)));
        let pings = ping.finish()?;
        assert!(pings.sent > 0 && pings.lost == 0, "{} of {} pings were lost", pings.lost, pings.sent);
        Ok(())
    })
}
