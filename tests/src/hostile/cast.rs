//! All positions, in the order in which they ask: those that may do nothing first.

use std::fs;

use anyhow::Context;
use festoon_proto::{Fingerprint, SigningKey, Tie};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, SanType};

use super::position::{Position, made_up_credential};
use super::routes::Right;
use super::world::{Session, World};
use crate::lab::Lab;

use Right::{Endpoint, Full, Member, More, Viewer, ViewerOfFirst, Voter};

/// Those that attack.
pub(super) fn attackers(lab: &Lab, world: &World<'_>) -> anyhow::Result<Vec<Position>> {
    Ok([strangers(lab, world)?, managers(world)?, endpoints(world)?, accounts(world)].concat())
}

/// Those that may: what they are answered proves that the requests are right.
pub(super) fn controls(world: &World<'_>) -> anyhow::Result<Vec<Position>> {
    let manager = world.overlay.first_manager()?;
    Ok(vec![
        Position::new("a full manager").may(&[Member, Full, Voter]).with_manager(manager)?.harmless(),
        Position::new("an owner's token").may(&[Viewer, ViewerOfFirst, More]).bearing(&world.accounts.owner).harmless(),
    ])
}

fn strangers(lab: &Lab, world: &World<'_>) -> anyhow::Result<Vec<Position>> {
    let tokens = &world.tokens;
    let nobody = Position::new("nobody");
    let forger = Position::new("a forger of certificates").bearing(&made_up_credential());
    let forger = Position { identity: Some(forge(lab)?), is_forger: true, ..forger };
    Ok(vec![
        nobody,
        forger,
        Position::new("a spent token").with_token(&tokens.spent)?,
        Position::new("a spent token for managers").with_token(&tokens.spent_for_manager)?,
        Position::new("an expired token").with_token(&tokens.expired)?,
        Position::new("a removed token").with_token(&tokens.removed)?,
    ])
}

fn managers(world: &World<'_>) -> anyhow::Result<Vec<Position>> {
    let tokens = &world.tokens;
    Ok(vec![
        Position::new("a removed manager").with_manager(&world.removed)?.joined_with(&tokens.of_removed)?,
        Position::new("a removed witness").with_manager(&world.removed_witness)?,
        // It is a manager of the cluster still, and can come back. In the epoch of now it has no say.
        Position::new("a manager that is fenced off").may(&[Member, Full]).with_manager(&world.fenced)?,
        Position::new("a witness").may(&[Member, Voter]).with_manager(&world.witness)?,
    ])
}

fn endpoints(world: &World<'_>) -> anyhow::Result<Vec<Position>> {
    let copied = Position::new("the former keys of an endpoint");
    Ok(vec![
        Position::new("a removed endpoint").with_agent(&world.gone)?.joined_with(&world.tokens.of_gone)?,
        Position::new("a disabled endpoint").with_agent(&world.disabled)?,
        copied.with_agent_files(world.copied.state_dir(), &world.former_identity)?,
        Position::new("an endpoint").may(&[Endpoint]).with_agent(&world.guest)?,
    ])
}

fn accounts(world: &World<'_>) -> Vec<Position> {
    let accounts = &world.accounts;
    let browser = |name, Session { cookie, csrf }: &Session| Position::new(name).with_session(cookie, csrf);
    vec![
        Position::new("an expired API token").bearing(&accounts.expired),
        Position::new("a removed API token").bearing(&accounts.removed),
        browser("a disabled owner's session", &accounts.disabled_session),
        browser("an owner's session that ended", &accounts.ended_session),
        Position::new("a viewer of another network").may(&[Viewer]).bearing(&accounts.foreign),
        Position::new("a viewer's token").may(&[Viewer, ViewerOfFirst]).bearing(&accounts.viewer),
        browser("a viewer's session", &accounts.session).may(&[Viewer, ViewerOfFirst]),
    ]
}

/// A certificate in the name of a manager, by a CA of the forger's own.
fn forge(lab: &Lab) -> anyhow::Result<std::path::PathBuf> {
    let key = KeyPair::generate()?;
    let names = ["m1.cluster.festoon.internal".to_owned(), "manager.festoon.internal".to_owned()];
    let certificate = CertificateParams::new(names)?.self_signed(&key)?;
    let path = lab.dir().join("forged.pem");
    fs::write(&path, key.serialize_pem() + &certificate.pem()).context("can't write a certificate")?;
    Ok(path)
}

/// A request for a certificate, as a manager makes it for this key of its certificate and its signing key.
pub(super) fn signing_request(key: &KeyPair, signer: &SigningKey) -> anyhow::Result<String> {
    let tie = Tie::new(signer, Fingerprint::of(&key.subject_public_key_info()), Vec::new());
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(tie.to_uri().try_into()?)];
    Ok(params.serialize_request(key)?.pem()?)
}

/// The same, of nobody.
pub(super) fn strange_request() -> anyhow::Result<String> {
    signing_request(&KeyPair::generate()?, &SigningKey::from_seed(rand::random()))
}
