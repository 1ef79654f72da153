//! `festoon-manager init`: a new cluster.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use festoon_control::registry::{
    AddNetwork, Bootstrap, Command, FORMAT, ManagerRole, ManagerSpec, Outcome, State, apply,
};
use festoon_proto::ClusterId;

use super::args::InitArgs;
use crate::cluster::{self, Credentials};
use crate::data_dir::{CA_CERTIFICATE, CA_KEY, DataDir, Identity, TLS_CHAIN, TLS_KEY};
use crate::pki::{Authority, SigningRequest, TlsKey};

/// The epoch a cluster begins with.
const FIRST_EPOCH: u32 = 1;

pub(super) async fn run(root: &Path, args: InitArgs) -> anyhow::Result<()> {
    let data = DataDir::prepare(root)?;
    let key = data.private_key_or_new()?;
    let https = args.manager.https();
    let spec = ManagerSpec {
        name: args.manager.name,
        role: ManagerRole::Full,
        public_key: key.public_key(),
        seal_key: None,
        underlay: args.manager.underlay,
        https: https.clone(),
        priority: args.manager.priority,
        format: FORMAT,
    };
    let cluster = ClusterId(rand::random());
    let commands = [
        Command::Bootstrap(Bootstrap { cluster, manager: spec }),
        Command::AddNetwork(AddNetwork { name: args.network, prefixes: args.prefix, mtu: args.mtu }),
    ];
    // Applied before anything is written, so that a wrong prefix leaves nothing behind.
    let Outcome::Manager(manager) = check(&commands)? else { bail!("a bootstrap makes no manager") };
    let authority = Authority::generate(cluster)?;
    let tls = TlsKey::generate()?;
    let certificate = authority.issue(SigningRequest::from_pem(&tls.signing_request()?)?, manager, &https)?;
    data.write(CA_KEY, &authority.to_secret_pem())?;
    data.write(CA_CERTIFICATE, authority.certificate_pem())?;
    data.write(TLS_KEY, &tls.to_secret_pem())?;
    data.write(TLS_CHAIN, &format!("{certificate}{}", authority.certificate_pem()))?;
    let https_port = https.first().context("a manager has an HTTPS listener")?.port();
    let identity = Identity { manager, incarnation: 0, epoch: FIRST_EPOCH, https_port };
    found(&data, &identity, commands).await?;
    data.write_identity(&identity)?;
    println!("Cluster {cluster} is made; this is its manager {manager}.");
    println!("Next: festoon-manager serve --data-dir {}", root.display());
    Ok(())
}

/// What the first command makes, if all are accepted.
fn check(commands: &[Command]) -> anyhow::Result<Outcome> {
    let (mut state, mut first) = (State::default(), None);
    for (index, command) in (1..).zip(commands) {
        let (next, outcome) = apply(&state, index, command)?;
        state = next;
        first.get_or_insert(outcome);
    }
    first.context("no command")
}

/// Makes a registry whose first commands are these.
async fn found(data: &DataDir, identity: &Identity, commands: impl IntoIterator<Item = Command>) -> anyhow::Result<()> {
    // An interrupted `init` may have left one. It belongs to no manager, for its identity was never written.
    match fs::remove_file(data.registry()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let parts = cluster::build(data, identity, &Credentials::load(data)?).await?;
    parts.cluster.found().await?;
    for command in commands {
        parts.cluster.propose(command).await?;
    }
    parts.cluster.shutdown().await;
    Ok(())
}
