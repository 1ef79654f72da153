//! `festoon-manager init`: a new cluster.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use festoon_control::registry::{
    AddNetwork, Bootstrap, Command, FORMAT, ManagerRole, ManagerSpec, PutSecret, SetKeyring, State, apply,
};
use festoon_proto::map::MapVersion;
use festoon_proto::{ClusterId, EpochId, Fingerprint, ManagerId, PublicKey};

use super::args::InitArgs;
use crate::accounts::{Secret, set_up_text};
use crate::cluster::{self, Threads};
use crate::data_dir::{DataDir, Identity};
use crate::pki::{Authority, Credentials, SigningRequest, TlsKey};
use crate::vault::{DataKey, RecoveryKey, Vault, VaultError, add_authority, recovery_recipient, trusted_pem};

pub(super) async fn run(root: &Path, args: InitArgs) -> anyhow::Result<()> {
    let data = DataDir::prepare(root)?;
    let cluster = ClusterId(rand::random());
    let (seal_key, https) = (data.seal_key_or_new()?.public_key(), args.manager.https());
    let signing_key = data.signing_key_or_new()?;
    let spec = ManagerSpec {
        name: args.manager.name,
        role: ManagerRole::Full,
        public_key: data.private_key_or_new()?.public_key(),
        seal_key: Some(seal_key),
        signing_key: signing_key.verifying_key(),
        tls_key: Fingerprint([0; 32]),
        underlay: args.manager.underlay,
        https: https.clone(),
        priority: args.manager.priority,
        format: FORMAT,
    };
    let tls = TlsKey::generate()?;
    let request = SigningRequest::from_pem(&tls.signing_request(&signing_key, &[])?)?;
    let spec = ManagerSpec { tls_key: request.key_fingerprint(), ..spec };
    let mut commands = vec![
        Command::Bootstrap(Bootstrap { cluster, manager: spec }),
        Command::AddNetwork(AddNetwork { name: args.network, prefixes: args.prefix, mtu: args.mtu }),
    ];
    // Applied before anything is written, so that a wrong prefix leaves nothing behind.
    let manager = first_manager(&check(&commands)?)?;
    let (authority, recovery) = (Authority::generate(cluster)?, RecoveryKey::generate());
    commands.extend(first_secrets(manager, seal_key, &authority, &recovery)?);
    let set_up = Secret::generate();
    commands.push(Command::SetRecoveryKey(recovery.signing_key().verifying_key()));
    commands.push(Command::SetSetUpSecret(set_up.hash()));
    let state = check(&commands)?;
    let chain = Vault::load(&data, manager)?.certify(&state, manager, request, cluster::unix_now())?;
    Credentials::create(&data, &trusted_pem(&state), &tls, &chain)?;
    let https_port = https.first().context("a manager has an HTTPS listener")?.port();
    let identity = Identity {
        cluster,
        manager,
        incarnation: 0,
        epoch: EpochId::FIRST,
        fenced_by: None,
        has_registry: false,
        https_port,
    };
    if let Some(roster) = state.roster() {
        cluster::write_roster(&data, &roster)?;
    }
    found(&data, &identity, commands).await?;
    // Shown before the cluster counts: a key that nobody has seen would be lost.
    tell(&recovery, &set_up, (cluster, manager), root)
        .context("the recovery key can't be shown, so no cluster is made")?;
    Ok(data.write_identity(&identity)?)
}

/// The state after these commands, if all are accepted.
fn check(commands: &[Command]) -> anyhow::Result<State> {
    let apply = |state: State, (index, command)| apply(&state, index, command).map(|(next, _)| next);
    Ok((1..).zip(commands).try_fold(State::default(), apply)?)
}

fn first_manager(state: &State) -> anyhow::Result<ManagerId> {
    state.managers().next().map(|manager| manager.id).context("a bootstrap makes no manager")
}

/// The data key, the CA and what snapshots are encrypted to, in the order in which each needs the one before.
fn first_secrets(
    manager: ManagerId,
    seal_key: PublicKey,
    authority: &Authority,
    recovery: &RecoveryKey,
) -> Result<[Command; 3], VaultError> {
    let data_key = DataKey::generate(1);
    let copies = vec![(manager, data_key.seal_to(seal_key)?.sealed)];
    let keyring = SetKeyring { based_on: MapVersion(0), number: data_key.number(), copies, secrets: Vec::new() };
    let name = recovery_recipient();
    let secret = data_key.encrypt(&name, recovery.recipient().as_bytes())?;
    Ok([
        Command::SetKeyring(keyring),
        Command::AddAuthority(add_authority(authority, &data_key)?),
        Command::PutSecret(PutSecret { name, secret }),
    ])
}

fn tell(
    recovery: &RecoveryKey,
    set_up: &Secret,
    (cluster, manager): (ClusterId, ManagerId),
    root: &Path,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "Cluster {cluster} is made; this is its manager {manager}.\n")?;
    writeln!(out, "The recovery key of this cluster, shown this once and kept nowhere:\n")?;
    writeln!(out, "    {}\n", &*recovery.to_secret_text())?;
    writeln!(
        out,
        "Write it down and keep it away from the managers. Snapshots are encrypted to it: without it none can be"
    )?;
    writeln!(
        out,
        "restored, and whoever has it and a snapshot has the whole cluster. It is also needed to promote a witness.\n"
    )?;
    writeln!(
        out,
        "The set-up secret, shown this once. It makes the first owner, from any machine (`festoon-manager login --set-up`):\n"
    )?;
    writeln!(out, "    {}\n", &*set_up_text(set_up))?;
    writeln!(out, "Next: festoon-manager serve --data-dir {}", root.display())?;
    out.flush()
}

/// Makes a registry whose first commands are these.
async fn found(data: &DataDir, identity: &Identity, commands: impl IntoIterator<Item = Command>) -> anyhow::Result<()> {
    // Of an interrupted `init`, or of a manager that was.
    data.put_registry_aside("before-init")?;
    data.put_records_aside("before-init")?;
    let parts = cluster::build(data, identity, &Credentials::load(data)?, Threads::of_caller()).await?;
    parts.cluster.found().await?;
    for command in commands {
        parts.cluster.propose(command).await?;
    }
    parts.cluster.shutdown().await;
    Ok(())
}
