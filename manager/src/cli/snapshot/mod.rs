//! `festoon-manager snapshot`: backups of the registry.

mod file;
mod restore;
mod survivors;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use axum::http::Method;
use zeroize::Zeroizing;

use super::args::ManagerArgs;
use super::client::Client;
use super::output::{self, Column, Table, bytes};
use crate::local::{RECOVERY_KEY, RecoveryKeyRequest, SNAPSHOT, SNAPSHOTS};
use crate::snapshot::{Content, Entry, read, readable_time};
use crate::vault::RecoveryKey;
pub(super) use file::Output;

#[derive(Debug, clap::Subcommand)]
pub(super) enum SnapshotCommand {
    /// Take a snapshot now
    Create {
        /// Where to: a new file, or - for the standard output; without it this manager keeps it with the others
        file: Option<PathBuf>,
    },
    /// List the snapshots that this manager keeps
    List,
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
    /// A file with the recovery key (AGE-SECRET-KEY-1...) on a line of its own
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
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

pub(super) async fn run(root: &Path, command: SnapshotCommand, out: output::Output) -> anyhow::Result<()> {
    // A large registry and a slow disk take their time.
    let client = Client::local(root).patient();
    match command {
        SnapshotCommand::Create { file: Some(file) } => download(&client, SNAPSHOT, &file).await,
        SnapshotCommand::Create { file: None } => {
            let entry: Entry = client.send(Method::POST, SNAPSHOTS, &()).await?;
            out.show(&entry, || format!("{}\n", entry.name))
        }
        SnapshotCommand::List => list(&client, out).await,
        SnapshotCommand::Get { name, file } => {
            // Anything else can't be a name, and could not be a path of the request.
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
            {
                bail!("{name:?} is no name of a snapshot: see `festoon-manager snapshots list`");
            }
            download(&client, &format!("{SNAPSHOTS}/{name}"), &file).await
        }
        SnapshotCommand::Verify { file, key } => verify(&file, &key),
        SnapshotCommand::Restore(args) => restore::run(root, args).await,
        SnapshotCommand::Key => new_key(&client).await,
    }
}

async fn download(client: &Client, path: &str, file: &Path) -> anyhow::Result<()> {
    let mut output = Output::create(file)?;
    client.download(path, &mut output).await?;
    output.finish()
}

async fn list(client: &Client, out: output::Output) -> anyhow::Result<()> {
    let all: Vec<Entry> = client.get(SNAPSHOTS).await?;
    let columns = ["SNAPSHOT", "TAKEN", "SIZE"].map(Column::always);
    let row = |entry: &Entry| vec![entry.name.clone(), readable_time(entry.created), bytes(entry.bytes)];
    let empty = "This manager keeps no snapshots yet: `festoon-manager snapshots create` takes one.";
    out.table(&all, || Table::new(&columns, empty).rows(all.iter().map(row)))
}

/// The secret half is made here and nowhere kept.
async fn new_key(client: &Client) -> anyhow::Result<()> {
    let key = RecoveryKey::generate();
    let request = RecoveryKeyRequest { recipient: key.recipient() };
    // Shown before it is used: a key that nobody has seen would be lost.
    tell_key(&key).context("the new key can't be shown, so nothing was changed")?;
    let changed = client.send::<()>(Method::PUT, RECOVERY_KEY, &request).await;
    changed.context("keep the key of before too: it is not certain that the one above is in use")
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
    let content = open(file, key)?;
    content.check_secrets().context("the secrets in it can't be read")?;
    let Content { header, state, .. } = content;
    let managers: Vec<_> = state.managers().map(|manager| manager.name.as_str()).collect();
    println!("{} is whole and can be restored.", file.display());
    println!("cluster {}, at version {} in epoch {}", header.cluster, state.version().0, state.epoch().number);
    println!("taken by {} at {}, with Festoon {}", header.manager, readable_time(header.created), header.program);
    println!(
        "{} networks, {} endpoints, managers: {}",
        state.networks().count(),
        state.endpoints().count(),
        managers.join(", ")
    );
    Ok(())
}

/// What is in a snapshot.
fn open(file: &Path, key: &KeyArgs) -> anyhow::Result<Content> {
    let path = &key.key;
    let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let text = Zeroizing::new(text);
    let key = RecoveryKey::from_secret_text(&text).with_context(|| {
        format!("{} holds no recovery key: it has one on a line that begins with AGE-SECRET-KEY-1", path.display())
    })?;
    let bytes = fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
    read(&bytes, &key).with_context(|| file.display().to_string())
}
