//! `festoon-manager init`: a new cluster.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use festoon_control::registry::{
    AddNetwork, Bootstrap, Command, FORMAT, ManagerRole, ManagerSpec, Outcome, State, apply,
};
use festoon_proto::ClusterId;

use super::args::InitArgs;
use crate::cluster::{LogEntry, Store};
use crate::data_dir::{CA_CERTIFICATE, CA_KEY, DataDir, Identity, TLS_CHAIN, TLS_KEY};
use crate::pki::{Authority, SigningRequest, TlsKey};

pub(super) fn run(root: &Path, args: InitArgs) -> anyhow::Result<()> {
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
    write_log(&data, commands)?;
    data.write_identity(&Identity { manager, joined_through: Vec::new() })?;
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

fn write_log(data: &DataDir, commands: impl IntoIterator<Item = Command>) -> anyhow::Result<()> {
    // An interrupted `init` may have left one. It belongs to no manager, for its identity was never written.
    match fs::remove_file(data.registry()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let entries: Vec<_> = (1..).zip(commands).map(|(index, command)| LogEntry { index, command }).collect();
    Ok(Store::open(&data.registry())?.append(&entries)?)
}
