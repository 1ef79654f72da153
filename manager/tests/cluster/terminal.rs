//! The command line as a person at a terminal uses it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::cli::Desk;
use crate::harness::{Manager, PROGRAM, until};
use crate::web::PASSWORD;

/// A terminal with a program on it.
pub(crate) struct Terminal {
    keyboard: File,
    line: File,
    shown: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    pub(crate) fn new(desk: &Desk, arguments: &[&str]) -> Self {
        Self::with_errors(None, desk, arguments)
    }

    /// One on which the standard error goes to a file, if that is given.
    fn with_errors(errors: Option<File>, desk: &Desk, arguments: &[&str]) -> Self {
        let keyboard = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let path = ptsname(&keyboard, Vec::new()).unwrap();
        let line = File::from(rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
        let end = || line.try_clone().unwrap();
        // So that keys are signals: the terminal of a session is the one that its leader has.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(PROGRAM).args(arguments);
        let errors = errors.unwrap_or_else(end);
        let child = desk.equip(&mut command).stdin(end()).stdout(end()).stderr(errors).spawn().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut screen, all) = (keyboard.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                all.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { keyboard, line, shown, child }
    }

    pub(crate) fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    pub(crate) async fn shows(&self, text: &str) {
        until(&format!("{text:?} is shown"), || self.shown().contains(text)).await;
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    fn is_sent(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it shows what is typed, and takes keys for signals.
    fn is_as_usual(&self) -> bool {
        tcgetattr(&self.line).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ISIG)
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- on the terminal:\n{}", self.shown());
        }
    }
}

#[tokio::test]
async fn a_terminal_is_as_it_was_after_a_hidden_prompt() {
    let nobody = ["login", "https://127.0.0.1:1", "--user", "ann", "--ca-fingerprint", &"0".repeat(64)];
    for (typed, signal, code) in
        [("secret\n", None, Some(6)), ("\x03", Some(Signal::INT.as_raw()), None), ("sec\x03", Some(2), None)]
    {
        let mut terminal = Terminal::new(&Desk::new(Vec::new()), &nobody);
        terminal.shows("Password: ").await;
        assert!(!terminal.is_as_usual());
        terminal.types(typed);
        let status = terminal.ended().await;
        assert_eq!((status.signal(), status.code()), (signal, code), "{typed:?}");
        assert!(terminal.is_as_usual(), "{typed:?}");
        assert!(!terminal.shown().contains("sec"), "{}", terminal.shown());
    }
}

#[tokio::test]
async fn a_program_that_is_ended_at_a_hidden_prompt_leaves_the_terminal_as_it_was() {
    let nobody = ["login", "https://127.0.0.1:1", "--set-up", "--ca-fingerprint", &"0".repeat(64)];
    for signal in [Signal::INT, Signal::HUP, Signal::QUIT, Signal::TERM] {
        let mut terminal = Terminal::new(&Desk::new(Vec::new()), &nobody);
        terminal.shows("Set-up secret: ").await;
        assert!(!terminal.is_as_usual());
        terminal.types("hunter");
        terminal.is_sent(signal);
        assert_eq!(terminal.ended().await.signal(), Some(signal.as_raw()));
        assert!(terminal.is_as_usual(), "{signal:?}");
        assert!(!terminal.shown().contains("hunter"), "{}", terminal.shown());
    }
    // At an open question after a hidden one.
    for signal in [None, Some(Signal::INT), Some(Signal::TERM)] {
        let mut terminal = Terminal::new(&Desk::new(Vec::new()), &nobody);
        terminal.shows("Set-up secret: ").await;
        terminal.types("hunter\n");
        terminal.shows("Name of the first owner: ").await;
        assert!(terminal.is_as_usual());
        match signal {
            Some(signal) => terminal.is_sent(signal),
            None => terminal.types("\x03"),
        }
        assert_eq!(terminal.ended().await.signal(), Some(signal.unwrap_or(Signal::INT).as_raw()));
        assert!(terminal.is_as_usual(), "{signal:?}");
    }
}

#[tokio::test]
async fn a_password_is_not_shown_and_asked_for_twice_wherever_messages_go() {
    let manager = Manager::init("m1").started().await;
    let log = manager.file("errors");
    let errors = Some(File::create(&log).unwrap());
    let mut terminal = Terminal::with_errors(errors, &Desk::at(&manager), &["users", "add", "ann", "--role", "admin"]);
    terminal.shows("New password").await;
    terminal.types(&format!("{PASSWORD}\n"));
    terminal.shows("The same again: ").await;
    terminal.types("another one\n");
    assert_eq!(terminal.ended().await.code(), Some(1));
    assert!(!terminal.shown().contains(PASSWORD) && !terminal.shown().contains("another one"), "{}", terminal.shown());
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains("are not the same") && !said.contains("New password"), "{said}");
    assert!(terminal.is_as_usual());
}

#[tokio::test]
async fn a_password_from_the_standard_input_needs_a_name_on_the_command_line() {
    let mut terminal = Terminal::new(&Desk::new(Vec::new()), &["login", "https://127.0.0.1:1", "--password-stdin"]);
    assert_eq!(terminal.ended().await.code(), Some(2));
    terminal.shows("--user <NAME>").await;
}

#[tokio::test]
async fn what_destroys_is_done_once_a_person_says_yes() {
    let manager = Manager::init("m1").started().await;
    let desk = Desk::at(&manager);
    desk.must(&["endpoints", "add", "laptop"]);
    for (answer, code, said) in [
        ("\n", 1, "nothing was changed"),
        ("n\n", 1, "nothing was changed"),
        ("\x04", 1, "nothing was changed"),
        ("y\n", 0, "laptop (e1) is removed"),
    ] {
        let mut terminal = Terminal::new(&desk, &["endpoints", "remove", "laptop"]);
        terminal.shows("Continue? [y/N] ").await;
        terminal.types(answer);
        assert_eq!(terminal.ended().await.code(), Some(code), "{answer:?}");
        terminal.shows(said).await;
    }
}
