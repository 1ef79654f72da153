//! The audit log: an entry for every change, chained by hashes, so that one that was removed or altered shows.
//!
//! Entries are made where changes are carried out, so every manager makes the same. The state keeps only the end of the
//! chain; who carries changes out stores the entries.

mod anchors;
mod entry;
mod view;

use festoon_proto::ManagerId;

use super::change::Author;
use super::state::{State, Timer};
use super::{Command, Deed, Outcome, Refusal, Subject, UnixMs};

pub use anchors::{Anchor, AnchorError, Fit, anchors_in, verify_against};
pub use entry::{Entry, Hash, Head, NoHash, VerifyError, verify};

/// Where a change comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// Who wants it.
    pub(super) by: Author,
    /// When that was.
    pub(super) at: UnixMs,
    /// The manager that stands for it.
    pub(super) voucher: Option<ManagerId>,
}

/// Carries a command out, and writes of it. Nothing is written of a command that is refused, or that changes nothing.
pub(super) fn observed(
    state: &mut State,
    origin: Origin,
    command: &Command,
    entries: &mut Vec<Entry>,
    apply: impl FnOnce(&mut State, &Command) -> Result<Outcome, Refusal>,
) -> Result<Outcome, Refusal> {
    let known = subject_of(state, command);
    let (before, name) = seen(state, known);
    let outcome = apply(state, command)?;
    let subject = known.or_else(|| made(&outcome));
    let (after, new_name) = seen(state, subject);
    let is_quiet = matches!(command, Command::Expire(_) | Command::NoteDelivery(_));
    let is_vague =
        subject.is_none_or(is_vague) || matches!(command, Command::RedeliverDeadLetters(_) | Command::Note(_));
    let is_written = !is_quiet && (before != after || is_vague);
    if is_written {
        let what = entry::What { action: action(command), subject, name: new_name.or(name), before, after };
        entries.push(entry::write(state, origin, what));
    }
    Ok(outcome)
}

/// Forgets what is past, and writes of what an admin would miss.
pub(super) fn of_expiry(state: &mut State, now: UnixMs, entries: &mut Vec<Entry>) {
    while let Some((at, timer)) = state.next_due(now) {
        let subject = match timer {
            Timer::Endpoint(id) => Some(Subject::Endpoint(id)),
            _ => None,
        };
        let (before, name) = seen(state, subject);
        state.forget(at, timer);
        if subject.is_some() {
            let origin = Origin { by: Author::CLUSTER, at: now, voucher: None };
            let what = entry::What { action: "endpoint.expire", subject, name, before, after: None };
            entries.push(entry::write(state, origin, what));
        }
    }
}

/// What a subject looks like, and its name.
fn seen(state: &State, subject: Option<Subject>) -> (Option<String>, Option<String>) {
    let Some(subject) = subject else { return (None, None) };
    (view::of(state, subject), subject.name(state))
}

/// Whether it may have changed though it looks the same: secrets, certificates, passwords and sessions are not looked at.
const fn is_vague(subject: Subject) -> bool {
    matches!(subject, Subject::Cluster | Subject::User(_))
}

/// What a command is about, if it is there already.
fn subject_of(state: &State, command: &Command) -> Option<Subject> {
    Some(match command {
        Command::UpdateNetwork(command) => Subject::Network(command.network),
        Command::RemoveNetwork(id) => Subject::Network(*id),
        Command::RemoveToken(id) => Subject::JoinToken(*id),
        Command::UpdateEndpoint(command) => Subject::Endpoint(command.endpoint),
        Command::OfferRoutes(command) => Subject::Endpoint(command.endpoint),
        Command::RemoveEndpoint(command) => Subject::Endpoint(command.endpoint),
        Command::RotateEndpointKey(command) => Subject::Endpoint(command.endpoint),
        Command::UpdateManager(command) => Subject::Manager(command.manager),
        Command::RenewManager(command) => Subject::Manager(command.manager),
        Command::RotateManagerKey(command) => Subject::Manager(command.manager),
        Command::RotateSealKey(command) => Subject::Manager(command.manager),
        Command::AnnounceProgram(command) => Subject::Manager(command.manager),
        Command::RemoveManager(id) => Subject::Manager(*id),
        Command::UpdateUser(command) => Subject::User(command.user),
        Command::RemoveUser(id) | Command::LogOutAll(id) => Subject::User(*id),
        Command::LogIn(command) => Subject::User(command.user),
        Command::ConfirmSession(command) => Subject::User(state.session(command.session)?.user),
        Command::LogOut(id) => Subject::User(state.session(*id)?.user),
        Command::RemoveApiToken(id) => Subject::ApiToken(*id),
        Command::UpdateEventDestination(command) => Subject::EventDestination(command.destination),
        Command::RedeliverDeadLetters(command) => Subject::EventDestination(command.destination),
        Command::RemoveEventDestination(id) => Subject::EventDestination(*id),
        Command::Note(deed) => deed.subject(),
        Command::SetSetUpSecret(_)
        | Command::SetKeyring(_)
        | Command::PutSecret(_)
        | Command::RemoveSecret(_)
        | Command::AddAuthority(_)
        | Command::PromoteAuthority(_)
        | Command::RetireAuthority(_)
        | Command::BeginEpoch(_)
        | Command::SetRecoveryKey(_) => Subject::Cluster,
        Command::JoinEndpoint(command) => match state.node(&command.public_key)? {
            super::state::Node::Endpoint(id) => Subject::Endpoint(id),
            super::state::Node::Manager(_) => return None,
        },
        _ => return None,
    })
}

/// What a command made.
fn made(outcome: &Outcome) -> Option<Subject> {
    match outcome {
        Outcome::Network(id) => Some(Subject::Network(*id)),
        Outcome::Endpoint(id) => Some(Subject::Endpoint(*id)),
        Outcome::Manager(id) => Some(Subject::Manager(*id)),
        Outcome::JoinToken(id) => Some(Subject::JoinToken(*id)),
        Outcome::User(id) => Some(Subject::User(*id)),
        Outcome::ApiToken(id) => Some(Subject::ApiToken(*id)),
        Outcome::EventDestination(id) => Some(Subject::EventDestination(*id)),
        // Of its user.
        Outcome::Session(_) | Outcome::Done | Outcome::Batch(_) => None,
    }
}

/// What a command is called in the audit log. These words are for good.
const fn action(command: &Command) -> &'static str {
    match command {
        Command::Bootstrap(_) => "cluster.init",
        Command::AddNetwork(_) => "network.add",
        Command::UpdateNetwork(_) => "network.update",
        Command::RemoveNetwork(_) => "network.remove",
        Command::CreateToken(_) => "join-token.create",
        Command::RemoveToken(_) => "join-token.remove",
        Command::JoinEndpoint(_) => "endpoint.join",
        Command::AddClient(_) => "endpoint.add",
        Command::UpdateEndpoint(_) => "endpoint.update",
        Command::OfferRoutes(_) => "endpoint.offer-routes",
        Command::RemoveEndpoint(_) => "endpoint.remove",
        Command::RotateEndpointKey(_) => "endpoint.rotate-key",
        Command::JoinManager(_) => "manager.join",
        Command::UpdateManager(_) => "manager.update",
        Command::RenewManager(_) => "manager.renew",
        Command::RotateManagerKey(_) => "manager.rotate-key",
        Command::RotateSealKey(_) => "manager.rotate-seal-key",
        Command::RemoveManager(_) => "manager.remove",
        Command::SetKeyring(_) => "cluster.rotate-data-key",
        Command::PutSecret(_) => "secret.put",
        Command::RemoveSecret(_) => "secret.remove",
        Command::AddAuthority(_) => "ca.add",
        Command::PromoteAuthority(_) => "ca.promote",
        Command::RetireAuthority(_) => "ca.retire",
        Command::BeginEpoch(_) => "cluster.begin-epoch",
        Command::SetRecoveryKey(_) => "cluster.set-recovery-key",
        Command::AnnounceProgram(_) => "manager.announce-program",
        Command::SetSetUpSecret(_) => "cluster.set-up-secret",
        Command::SetUp(_) => "user.set-up",
        Command::AddUser(_) => "user.add",
        Command::UpdateUser(_) => "user.update",
        Command::RemoveUser(_) => "user.remove",
        Command::CreateApiToken(_) => "api-token.create",
        Command::RemoveApiToken(_) => "api-token.remove",
        Command::LogIn(_) => "user.log-in",
        Command::ConfirmSession(_) => "user.confirm",
        Command::LogOut(_) => "user.log-out",
        Command::LogOutAll(_) => "user.log-out-all",
        Command::Expire(_) => "cluster.expire",
        Command::Batch(_) => "batch",
        Command::AddEventDestination(_) => "event-destination.add",
        Command::UpdateEventDestination(_) => "event-destination.update",
        Command::RemoveEventDestination(_) => "event-destination.remove",
        Command::NoteDelivery(_) => "event-destination.note",
        Command::RedeliverDeadLetters(_) => "event-destination.redeliver",
        Command::Note(Deed::Disconnect(_)) => "endpoint.disconnect",
        Command::Note(Deed::TryOut(_)) => "event-destination.test",
        Command::Note(Deed::TakeSnapshot) => "snapshot.take",
        Command::Note(Deed::DownloadSnapshot) => "snapshot.download",
    }
}
