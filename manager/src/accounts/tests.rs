//! Logging in, over a real registry.

use festoon_control::registry::{
    AddUser, Author, Command, CreateApiToken, LocalUser, NewTotp, Outcome, SecretName, State, UnixMs, UpdateUser, Who,
};
use festoon_proto::access::{Grant, Role, Scope};
use festoon_proto::{ClusterId, EpochId, ManagerId, UserId};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::testing::FROM;
use super::totp::{TotpSecret, recovery_hash};
use super::*;
use crate::cluster::{self, Cluster, ProposeError, Threads, unix_now};
use crate::data_dir::{DataDir, Identity, SIGNING_KEY};
use crate::pki::{Credentials, SigningRequest, TlsKey};
use crate::vault::tests::{founding, then, vault};
use crate::vault::trusted_pem;

const NOW: UnixMs = UnixMs(1_795_242_158_000);
const PASSWORD: &str = "correct horse battery";

/// A cluster of one, as `init` makes it.
struct World {
    accounts: Accounts,
    cluster: Cluster,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::prepare(directory.path()).unwrap();
        let (commands, _) = founding();
        let state = commands.iter().fold(State::default(), |state, command| then(&state, command));
        let (me, key) = (ManagerId(1), TlsKey::generate().unwrap());
        let signer = festoon_proto::SigningKey::from_seed([1; 32]);
        let request = SigningRequest::from_pem(&key.signing_request(&signer, &[]).unwrap()).unwrap();
        let chain = vault(1).certify(&state, me, request, unix_now()).unwrap();
        Credentials::create(&data, &trusted_pem(&state), &key, &chain).unwrap();
        data.write(SIGNING_KEY, &signer.to_secret_base64()).unwrap();
        let identity = Identity {
            cluster: ClusterId([1; 16]),
            manager: me,
            incarnation: 0,
            epoch: EpochId::FIRST,
            fenced_by: None,
            has_registry: false,
            https_port: 8443,
        };
        let (credentials, threads) = (Credentials::load(&data).unwrap(), Threads::of_caller());
        let parts = cluster::build(&data, &identity, &credentials, threads).await.unwrap();
        parts.cluster.found().await.unwrap();
        for command in commands {
            parts.cluster.propose(command).await.unwrap();
        }
        let accounts = Accounts::new(parts.cluster.clone(), vault(1));
        Self { accounts, cluster: parts.cluster, _directory: directory }
    }

    /// With user u1, called ann.
    async fn with_user() -> Self {
        let world = Self::new().await;
        let password = Some(world.accounts.passwords.hash(secret(PASSWORD)).await.unwrap());
        let grant = Grant { role: Role::Viewer, networks: Scope::All };
        let add = AddUser { name: "ann".to_owned(), grant, password, identity: None, now: NOW };
        world.cluster.propose(Command::AddUser(add)).await.unwrap();
        world
    }

    async fn try_as(
        &self,
        name: &str,
        password: &str,
        code: Option<&str>,
        now: UnixMs,
    ) -> Result<LoggedIn, LogInError> {
        let (name, password, code) = (name.to_owned(), secret(password), code.map(secret));
        self.accounts.log_in(Attempt { name, password, code, from: FROM, agent: "test".to_owned() }, now).await
    }

    async fn set_up(&self, secret_shown: &Secret) -> Result<UserId, SetUpError> {
        let owner = FirstOwner {
            secret: secret_shown.clone(),
            name: "root".to_owned(),
            password: secret(PASSWORD),
            from: FROM,
        };
        self.accounts.set_up(owner, NOW).await
    }
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

#[tokio::test]
async fn a_password_opens_a_session_that_a_request_can_show() {
    let world = World::with_user().await;
    assert!(matches!(world.try_as("ann", "wrong", None, NOW).await, Err(LogInError::Wrong)));
    assert!(matches!(world.try_as("bob", PASSWORD, None, NOW).await, Err(LogInError::Wrong)));
    let logged_in = world.try_as("ann", PASSWORD, None, NOW).await.unwrap();
    let set = cookie::set(&logged_in.session, logged_in.lasts_s).unwrap();
    let pair = set.to_str().unwrap().split(';').next().unwrap();
    let headers = testing::headers(&[("cookie", pair)]);
    let call = Call { method: &axum::http::Method::GET, headers: &headers, from: FROM };
    let caller = authenticate(&world.cluster.snapshot(), &Names::default(), call, NOW).unwrap();
    assert_eq!((caller.user(), caller.session()), (Some(UserId(1)), Some(logged_in.session.id)));
    let disabled = UpdateUser { is_enabled: Some(false), ..UpdateUser::of(UserId(1)) };
    world.cluster.propose(Command::UpdateUser(disabled)).await.unwrap();
    assert_eq!(authenticate(&world.cluster.snapshot(), &Names::default(), call, NOW), Err(Denied::NoSession));
    assert!(matches!(world.try_as("ann", PASSWORD, None, NOW).await, Err(LogInError::Wrong)));
}

#[tokio::test]
async fn a_second_factor_is_asked_for_and_every_code_is_good_once() {
    let world = World::with_user().await;
    let factor = TotpSecret::generate();
    let name = SecretName::of_totp(UserId(1));
    let encrypted = vault(1).encrypt(&world.cluster.snapshot(), &name, factor.secret_bytes()).unwrap();
    let totp = NewTotp { secret: encrypted, step: 0, recovery: vec![recovery_hash("aaaa-bbbb")] };
    let update = UpdateUser { totp: Some(Some(totp)), ..UpdateUser::of(UserId(1)) };
    world.cluster.propose(Command::UpdateUser(update)).await.unwrap();
    let code = factor.code_at(NOW);
    assert!(matches!(world.try_as("ann", PASSWORD, None, NOW).await, Err(LogInError::CodeNeeded)));
    assert!(matches!(world.try_as("ann", "wrong", Some(&code), NOW).await, Err(LogInError::Wrong)));
    world.try_as("ann", PASSWORD, Some(&code), NOW).await.unwrap();
    assert!(matches!(world.try_as("ann", PASSWORD, Some(&code), NOW).await, Err(LogInError::Wrong)));
    world.try_as("ann", PASSWORD, Some("AAAA BBBB"), NOW).await.unwrap();
    assert!(matches!(world.try_as("ann", PASSWORD, Some("aaaabbbb"), NOW).await, Err(LogInError::Wrong)));
}

#[tokio::test]
async fn whoever_guesses_is_told_to_wait_and_whoever_is_in_is_not() {
    let world = World::with_user().await;
    for _ in 0..10 {
        assert!(matches!(world.try_as("ann", "wrong", None, NOW).await, Err(LogInError::Wrong)));
    }
    // The right password does not help now: or a guess would.
    let Err(LogInError::TooMany(wait)) = world.try_as("ann", PASSWORD, None, NOW).await else { unreachable!() };
    let later = NOW.after(u64::try_from(wait.retry_after.as_millis()).unwrap());
    world.try_as("ann", PASSWORD, None, later).await.unwrap();
    for _ in 0..12 {
        assert!(matches!(world.try_as("ann", "wrong", None, later).await, Err(LogInError::Wrong)));
    }
    let last = world.try_as("ann", PASSWORD, None, later).await.unwrap();
    world.cluster.propose(Command::LogOutAll(last.user)).await.unwrap();
    for _ in 0..12 {
        assert!(matches!(world.try_as("ann", "wrong", None, later).await, Err(LogInError::Wrong)));
    }
    world.try_as("ann", PASSWORD, None, later).await.unwrap();
}

#[tokio::test]
async fn the_first_owner_is_made_once() {
    let world = World::new().await;
    let kind = |result: Result<UserId, SetUpError>| match result {
        Err(SetUpError::Propose(ProposeError::Refused(refusal))) => refusal.kind(),
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(world.set_up(&Secret::generate()).await), "set-up-secret");
    let by = Caller::local(ManagerId(1), LocalUser::new(0, "root")).author;
    let first = world.accounts.new_set_up_secret(by).await.unwrap();
    let second = world.accounts.new_set_up_secret(by).await.unwrap();
    assert_eq!(kind(world.set_up(&first).await), "set-up-secret", "it was replaced");
    assert_eq!(world.set_up(&second).await.unwrap(), UserId(1));
    assert_eq!(kind(world.set_up(&second).await), "set-up-already");
    world.try_as("root", PASSWORD, None, NOW).await.unwrap();
    assert!(world.accounts.new_set_up_secret(by).await.is_err());
}

/// Whoever has this session.
fn caller_with(world: &World, logged_in: &LoggedIn) -> Caller {
    let who = Who::User { user: logged_in.user, session: logged_in.session.id };
    let grant = world.cluster.snapshot().user(logged_in.user).unwrap().grant.clone();
    Caller { author: Author { who, from: Some(FROM) }, grant }
}

impl World {
    async fn confirm(&self, caller: &Caller, password: &str, now: UnixMs) -> Result<(), ConfirmationError> {
        let shown = Shown { password: secret(password), code: None, from: FROM };
        self.accounts.confirm(caller, shown, now).await
    }
}

#[tokio::test]
async fn a_session_is_confirmed_for_ten_minutes_and_then_needs_the_password_again() {
    let world = World::with_user().await;
    let ann = caller_with(&world, &world.try_as("ann", PASSWORD, None, NOW).await.unwrap());
    let check = |now: UnixMs| ann.check_confirmed(&world.cluster.snapshot(), now);
    assert_eq!(check(NOW.after(CONFIRMED_MS - 1)), Ok(()), "the login was a confirmation");
    let later = NOW.after(CONFIRMED_MS);
    assert_eq!(check(later), Err(Unconfirmed::Session));
    assert!(matches!(world.confirm(&ann, "wrong", later).await, Err(ConfirmationError::Wrong)));
    assert_eq!(check(later), Err(Unconfirmed::Session));
    world.confirm(&ann, PASSWORD, later).await.unwrap();
    assert_eq!((check(later), check(later.after(CONFIRMED_MS))), (Ok(()), Err(Unconfirmed::Session)));

    let local = Caller::local(ManagerId(1), LocalUser::new(0, "root"));
    assert_eq!(local.check_confirmed(&world.cluster.snapshot(), later), Ok(()), "root needs no login at all");
    assert!(matches!(world.confirm(&local, PASSWORD, later).await, Err(ConfirmationError::NoSession)));
    let session = ann.session().unwrap();
    world.cluster.propose(Command::LogOut(session)).await.unwrap();
    assert_eq!(check(later), Err(Unconfirmed::Session));
    assert!(matches!(world.confirm(&ann, PASSWORD, later).await, Err(ConfirmationError::NoSession)));
}

#[tokio::test]
async fn whoever_has_a_session_does_not_guess_more_often_than_whoever_has_none() {
    let world = World::with_user().await;
    let ann = caller_with(&world, &world.try_as("ann", PASSWORD, None, NOW).await.unwrap());
    let mut wrong = 0;
    // From a host that its user logged in from before there are more tries than from elsewhere.
    while let Err(ConfirmationError::Wrong) = world.confirm(&ann, "wrong", NOW).await {
        wrong += 1;
    }
    assert_eq!(wrong, 30);
    let refused = world.confirm(&ann, PASSWORD, NOW).await;
    assert!(matches!(refused, Err(ConfirmationError::LogIn(LogInError::TooMany(_)))), "{refused:?}");
    let log_in = world.try_as("ann", PASSWORD, None, NOW).await;
    assert!(matches!(log_in, Err(LogInError::TooMany(_))), "both count together: {log_in:?}");
}

#[tokio::test]
async fn a_token_does_what_has_to_be_confirmed_only_if_it_was_made_for_that() {
    let world = World::with_user().await;
    let check = async |is_sensitive: bool| {
        let hash = Secret::generate().hash();
        let (name, user, expires) = ("ci".to_owned(), UserId(1), NOW.after(1000));
        let grant = Grant { role: Role::Viewer, networks: Scope::All };
        let token = CreateApiToken { hash, name, user, grant: grant.clone(), is_sensitive, now: NOW, expires };
        let made = world.cluster.propose(Command::CreateApiToken(token)).await.unwrap();
        let Outcome::ApiToken(token) = made else { panic!("{made:?}") };
        let program = Caller { author: Author { who: Who::ApiToken { token, user }, from: None }, grant };
        program.check_confirmed(&world.cluster.snapshot(), NOW)
    };
    assert_eq!((check(false).await, check(true).await), (Err(Unconfirmed::ApiToken), Ok(())));
}
