//! Logging in, over a real registry.

use festoon_control::registry::{AddUser, Command, LocalUser, NewTotp, SecretName, State, UnixMs, UpdateUser};
use festoon_proto::access::{Grant, Role, Scope};
use festoon_proto::{ClusterId, EpochId, ManagerId, UserId};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::testing::FROM;
use super::totp::{TotpSecret, recovery_hash};
use super::*;
use crate::cluster::{self, Cluster, ProposeError, unix_now};
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
        let request = SigningRequest::from_pem(&key.signing_request().unwrap()).unwrap();
        let chain = vault(1).certify(&state, me, request, unix_now()).unwrap();
        Credentials::create(&data, &trusted_pem(&state), &key, &chain).unwrap();
        let key = festoon_proto::SigningKey::from_seed([1; 32]);
        data.write(SIGNING_KEY, &key.to_secret_base64()).unwrap();
        let identity = Identity {
            cluster: ClusterId([1; 16]),
            manager: me,
            incarnation: 0,
            epoch: EpochId::FIRST,
            fenced_by: None,
            has_registry: false,
            https_port: 8443,
        };
        let parts = cluster::build(&data, &identity, &Credentials::load(&data).unwrap()).await.unwrap();
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
