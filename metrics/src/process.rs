//! What the kernel says of this process: the metrics that every program has under the same names.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Page;

/// Linux tells times to programs in hundredths of a second (`USER_HZ`), whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// This process.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    started: f64,
}

impl Process {
    /// Which starts now.
    #[expect(clippy::disallowed_methods, reason = "when a process started is the clock's to say")]
    pub fn started_now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: since.as_secs_f64() }
    }

    /// Writes what there is to say. What can't be read is left out.
    pub fn write(&self, page: &mut Page) {
        page.gauge("process_start_time_seconds", "When the process started, in seconds since 1970.")
            .add(&[], self.started);
        if let Some(seconds) = read("stat").as_deref().and_then(cpu_seconds) {
            page.counter("process_cpu_seconds_total", "Seconds of processor time, of user and system.")
                .add(&[], seconds);
        }
        let status = read("status").unwrap_or_default();
        let mut gauge = |name, help, value: Option<u64>| {
            if let Some(value) = value {
                page.gauge(name, help).add(&[], value);
            }
        };
        let kilobytes = |line| figure(&status, line).map(|kilobytes| kilobytes * 1024);
        gauge("process_resident_memory_bytes", "Bytes of memory in use.", kilobytes("VmRSS:"));
        gauge("process_virtual_memory_bytes", "Bytes of memory set aside.", kilobytes("VmSize:"));
        gauge("process_threads", "Threads.", figure(&status, "Threads:"));
        let open = fs::read_dir("/proc/self/fd").ok().map(|all| all.count() as u64);
        gauge("process_open_fds", "Open file descriptors.", open);
        let limits = read("limits").unwrap_or_default();
        gauge("process_max_fds", "The most file descriptors it may open.", figure(&limits, "Max open files"));
    }
}

fn read(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/self/{name}")).ok()
}

/// The fields 14 and 15 (proc_pid_stat(5)), behind a name that may have blanks and brackets in it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some((f64::from(ticks()?) + f64::from(ticks()?)) / TICKS_PER_SECOND)
}

/// The first number in the line that begins so.
fn figure(text: &str, line: &str) -> Option<u64> {
    text.lines().find_map(|all| all.strip_prefix(line))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    #[test]
    fn the_processor_time_stands_behind_the_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (a"), None);
        assert_eq!(figure("Max open files            1024       4096   files\n", "Max open files"), Some(1024));
        assert_eq!(figure("Max open files            unlimited\n", "Max open files"), None);
    }

    #[test]
    fn a_process_says_all_of_itself() {
        let mut page = Page::new(Format::Prometheus);
        Process::started_now().write(&mut page);
        let text = page.finish();
        for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"] {
            assert!(text.contains(&format!("\nprocess_{name} ")), "{name} is not in {text}");
        }
    }
}
