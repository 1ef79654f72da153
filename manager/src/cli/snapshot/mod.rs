//! `festoon-manager snapshots`: backups of the registry.

mod file;
mod restore;
mod survivors;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use axum::http::Method;
use festoon_api::{Settings, SettingsUpdate, Snapshot};
use zeroize::Zeroizing;

use super::args::ManagerArgs;
use super::client::{api, escaped};
use super::fault::Fault;
use super::output::{Column, bytes, confirm, print_people, second};
use super::record::{ListArgs, Names, Row, Session};
use crate::snapshot::{Content, read, readable_time};
use crate::vault::RecoveryKey;
pub(super) use file::Output;

const PATH: &str = "/snapshots";
/// May have the recovery key.
const KEY_VARIABLE: &str = "FESTOON_RECOVERY_KEY";

#[derive(Debug, clap::Subcommand)]
pub(super) enum SnapshotCommand {
    /// Take a snapshot now
    Create {
        /// Where to: a new file, or - for the standard output; without it this manager keeps it with the others
        file: Option<PathBuf>,
    },
    /// List the snapshots that this manager keeps
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Copy a snapshot that this manager keeps
    Get {
        /// Its name, from `snapshots list`
        name: String,
        /// Where to: a new file, or - for the standard output
        file: PathBuf,
    },
    /// Check a snapshot from beginning to end, and say what is in it; needs no manager
    Verify {
        /// The snapshot
        file: PathBuf,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Make the first manager of a cluster that lost all of them, from a snapshot
    Restore(RestoreArgs),
    /// Make a new recovery key, and print it this once: snapshots from then on are encrypted to it
    Key,
}

#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// A file with the recovery key (AGE-SECRET-KEY-1...) on a line of its own, or - for the standard input [default: the key in
    /// FESTOON_RECOVERY_KEY]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl KeyArgs {
    /// The text with the key in it, and what to call that text.
    fn text(&self) -> anyhow::Result<(Zeroizing<String>, String)> {
        let Some(path) = &self.key else {
            let text = festoon_secrets::variable(KEY_VARIABLE);
            let missing =
                || Fault::Usage(format!("name the file with the recovery key: --key FILE, or set {KEY_VARIABLE}"));
            return Ok((text.ok_or_else(missing)?, KEY_VARIABLE.to_owned()));
        };
        let (text, name) = match path.as_os_str() == "-" {
            true => (io::read_to_string(io::stdin().lock()), "the standard input".to_owned()),
            false => (fs::read_to_string(path), path.display().to_string()),
        };
        Ok((Zeroizing::new(text.with_context(|| format!("can't read {name}"))?), name))
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The snapshot
    file: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    manager: ManagerArgs,
    /// Even if managers of the cluster still serve: they are given up, with all that was decided since the snapshot
    #[arg(long)]
    force: bool,
}

impl SnapshotCommand {
    /// Whether it needs no running manager.
    pub(super) const fn is_local(&self) -> bool {
        matches!(self, Self::Verify { .. } | Self::Restore(_))
    }
}

/// What needs no running manager.
pub(super) async fn run_here(root: &Path, command: SnapshotCommand) -> anyhow::Result<()> {
    match command {
        SnapshotCommand::Verify { file, key } => verify(&file, &key),
        SnapshotCommand::Restore(args) => restore::run(root, args).await,
        _ => Ok(()),
    }
}

pub(super) async fn run(session: Session, command: SnapshotCommand) -> anyhow::Result<()> {
    // A large registry and a slow disk take their time.
    let session = Session { client: session.client.patient(), ..session };
    match command {
        SnapshotCommand::Create { file: Some(file) } => download(&session, "/snapshot", &file).await,
        SnapshotCommand::Create { file: None } => {
            let snapshot: Snapshot = session.client.send(Method::POST, &api(PATH), &()).await?;
            session.output.show(&snapshot, || format!("{}\n", snapshot.name))
        }
        SnapshotCommand::List { list } => session.list_whole::<Snapshot>(PATH, &list).await,
        SnapshotCommand::Get { name, file } => download(&session, &format!("{PATH}/{}", escaped(&name)), &file).await,
        SnapshotCommand::Key => new_key(&session).await,
        SnapshotCommand::Verify { .. } | SnapshotCommand::Restore(_) => Ok(()),
    }
}

async fn download(session: &Session, path: &str, file: &Path) -> anyhow::Result<()> {
    let mut output = Output::create(file)?;
    session.client.download(&api(path), &mut output).await?;
    output.finish()
}

impl Row for Snapshot {
    const COLUMNS: &'static [Column] =
        &[Column::always("SNAPSHOT"), Column::if_room(1, "TAKEN"), Column::always("SIZE")];
    const EMPTY: &'static str = "This manager has no snapshots: `festoon-manager snapshots create` takes one.";

    fn row(&self, _: &Names) -> Vec<String> {
        vec![self.name.clone(), second(self.created), bytes(self.bytes)]
    }
}

/// The secret half is made here and nowhere kept.
async fn new_key(session: &Session) -> anyhow::Result<()> {
    confirm("snapshots from now on are to be read with a new key alone", session.is_sure)?;
    let settings: Settings = session.client.get(&api("/settings")).await?;
    let key = RecoveryKey::generate();
    // Shown before it is used: a key that nobody has seen would be lost.
    tell_key(&key).context("the new key can't be shown, so nothing was changed")?;
    let update = SettingsUpdate {
        recovery_recipient: Some(key.recipient()),
        recovery_verifying_key: Some(key.signing_key().verifying_key().to_string()),
        ..SettingsUpdate::default()
    };
    let changed = session.client.change::<Settings>("/settings", settings.version, &update).await;
    changed.context("keep the key of before too: it is not certain that the one above is in use").map(drop)
}

fn tell_key(key: &RecoveryKey) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "# The recovery key of this cluster, shown this once and kept nowhere. Keep it away from the managers."
    )?;
    writeln!(out, "# Snapshots from now on are read with it, and those of before with the key of before.")?;
    writeln!(out, "{}", &*key.to_secret_text())?;
    out.flush()
}

fn verify(file: &Path, key: &KeyArgs) -> anyhow::Result<()> {
    let (content, _) = open(file, key)?;
    content.check_secrets().context("the secrets in it can't be read")?;
    let Content { header, state, .. } = content;
    let managers: Vec<_> = state.managers().map(|manager| manager.name.as_str()).collect();
    print_people(&format!("{} is whole and can be restored.", file.display()))?;
    print_people(&format!(
        "cluster {}, at version {} in epoch {}",
        header.cluster,
        state.version().0,
        state.epoch().number
    ))?;
    print_people(&format!(
        "taken by {} at {}, with Festoon {}",
        header.manager,
        readable_time(header.created),
        header.program
    ))?;
    print_people(&format!(
        "{} networks, {} endpoints, managers: {}",
        state.networks().count(),
        state.endpoints().count(),
        managers.join(", ")
    ))?;
    Ok(())
}

/// What is in a snapshot, and the key that reads it.
fn open(file: &Path, key: &KeyArgs) -> anyhow::Result<(Content, RecoveryKey)> {
    let (text, name) = key.text()?;
    let key = RecoveryKey::from_secret_text(&text).with_context(|| {
        format!("{name} holds no recovery key: it has one on a line that begins with AGE-SECRET-KEY-1")
    })?;
    let bytes = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
    let content = read(&bytes, &key).with_context(|| file.display().to_string())?;
    Ok((content, key))
}
