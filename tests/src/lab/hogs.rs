//! Programs that take all the processor time they get.

use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Some of them, each on a core as far as there are cores. They end when this is dropped.
#[derive(Debug)]
pub struct Hogs(Vec<Child>);

impl Hogs {
    /// Starts so many, with the priority of any other program.
    ///
    /// # Errors
    /// When there is no shell.
    pub fn start(count: usize) -> anyhow::Result<Self> {
        let mut hogs = Self(Vec::new());
        for _ in 0..count {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            hogs.0.push(command.spawn().context("cannot start a shell")?);
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            // Only fails when it has ended.
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}
