//! A cluster that lost all its managers for good.

use std::fs;

use festoon_tests::lab::Lab;
use festoon_tests::overlay::{Introduction, Manager, Overlay, Spec};

use crate::wait_all_reach;

#[test]
fn agents_find_a_restored_manager_by_themselves() -> anyhow::Result<()> {
    Lab::run(|lab| {
        let mut overlay = Overlay::start(lab, &Spec::default())?;
        let (key, file) = (lab.dir().join("recovery.key"), lab.dir().join("backup.age"));
        fs::write(&key, overlay.new_recovery_key()?)?;
        overlay.managers[1].run(&["snapshots", "create", &file.to_string_lossy()])?;
        // The registry of the snapshot does not know this one's key.
        overlay.agents[0].run(&["rotate-key"])?;
        let addresses = |overlay: &Overlay<'_>| {
            overlay.agents.iter().map(|agent| Ok(agent.status()?.addresses)).collect::<anyhow::Result<Vec<_>>>()
        };
        let before = addresses(&overlay)?;
        for manager in &mut overlay.managers {
            manager.program()?.kill()?;
            fs::remove_dir_all(manager.data_dir())?;
        }
        // A new machine with the address of the second, under another name.
        let host = overlay.managers[1].host.clone();
        let me = Introduction { name: "phoenix".to_owned(), underlay: host.v4().into(), priority: 100 };
        let restored = Manager::restore(&host, lab.dir().join("phoenix"), &me, &file, &key)?;
        overlay.managers = vec![restored];
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)?;
        assert_eq!(addresses(&overlay)?, before);
        // And one more joins, as to any cluster.
        overlay.add_manager(100)?;
        overlay.wait_until_ready()?;
        wait_all_reach(&overlay)
    })
}
