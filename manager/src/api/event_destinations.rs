//! Destinations of events, and what they did not take.

mod view;

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use festoon_api::{
    DeadLetter, DeadLetterRedeliver, EventDestination, EventDestinationCreate, EventDestinationCreated,
    EventDestinationId, EventDestinationKind, EventDestinationTest, EventDestinationUpdate, Page, SecretRotate,
    SecretRotated, SecretText, Time,
};
use festoon_control::registry::{
    AddEventDestination, ChangeError, Command, Deed, EncryptedSecret, EventDestination as Record, Outcome, PutSecret,
    RedeliverDeadLetters, SecretName, State, Subject, Target, Unchanged, UnixMs, UpdateEventDestination,
};
use festoon_events::delivery::SigningSecret;
use festoon_events::{Kind, UnknownKind};
use festoon_proto::access::Scope;

use super::caller::{behind, unknown};
use super::change::Wanted;
use super::headers::{ETag, IfMatch, Key};
use super::list::Paging;
use super::query::{ApiPath, ApiQuery};
use super::{Api, Caller};
use crate::cluster::ProposeError;
use crate::deliver::{BadDestination, check_target};
use crate::https::{ApiJson, Refused};

/// The longest that two secrets are good together.
const MAX_OVERLAP_S: u64 = 30 * 24 * 3600;

type RecordId = festoon_proto::EventDestinationId;

/// All destinations of events, by id.
#[utoipa::path(get, path = "/event-destinations", tag = "event destinations", params(Paging),
    responses((status = 200, body = Page<EventDestination>)))]
pub(super) async fn list(
    Shared(api): Shared<Api>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<Page<EventDestination>>, Refused> {
    let state = api.cluster.snapshot();
    let after = paging.after()?.map(|EventDestinationId(after)| after);
    let rest = state.event_destinations_after(after).map(view::event_destination);
    Ok(Json(paging.page(rest, |destination| destination.id)?))
}

/// Adds a destination. It gets what happens from now on. The secret of a webhook is in the answer, this once.
#[utoipa::path(post, path = "/event-destinations", tag = "event destinations", request_body = EventDestinationCreate,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = EventDestinationCreated, headers(("ETag" = String)))))]
pub(super) async fn create(
    Shared(api): Shared<Api>,
    caller: Caller,
    key: Key,
    ApiJson(request): ApiJson<EventDestinationCreate>,
) -> Result<impl IntoResponse, Refused> {
    let state = api.cluster.snapshot();
    let key = key.of(&caller, &state, &without_password(&request));
    let (secret, shown) = secret_of(&request)?;
    let name = SecretName(format!("destination-{:032x}", rand::random::<u128>()));
    let encrypted = api.vault.encrypt(&state, &name, secret.as_bytes())?;
    let cursor = api.events.end().await?.to_string();
    let command = add(request, PutSecret { name: name.clone(), secret: encrypted }, (cursor, api.cluster.now()))?;
    let wanted = Wanted::new(&caller, Command::AddEventDestination(command.into())).key(key);
    let Outcome::EventDestination(id) = api.change(wanted).await? else { return Err(Refused::internal()) };
    let state = api.cluster.snapshot();
    let record = one(&state, id).map_err(|_| behind("event destination", id))?;
    if record.secret != name {
        let text = "this request was answered before, and the secret can't be had again: rotate it";
        return Err(Refused::new(StatusCode::CONFLICT, "secret-gone", text));
    }
    let created = EventDestinationCreated { event_destination: view::event_destination(record), secret: shown };
    Ok((StatusCode::CREATED, ETag(record.changed), Json(created)))
}

/// A destination, and how the delivery to it goes.
#[utoipa::path(get, path = "/event-destinations/{event_destination}", tag = "event destinations",
    params(("event_destination" = EventDestinationId, Path)),
    responses((status = 200, body = EventDestination, headers(("ETag" = String)))))]
pub(super) async fn show(
    Shared(api): Shared<Api>,
    ApiPath(EventDestinationId(id)): ApiPath<EventDestinationId>,
) -> Result<impl IntoResponse, Refused> {
    whole(&api, id).await
}

/// Changes a destination.
#[utoipa::path(patch, path = "/event-destinations/{event_destination}", tag = "event destinations",
    request_body = EventDestinationUpdate,
    params(("event_destination" = EventDestinationId, Path), ("If-Match" = String, Header)),
    responses((status = 200, body = EventDestination, headers(("ETag" = String)))))]
pub(super) async fn update(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(EventDestinationId(id)): ApiPath<EventDestinationId>,
    if_match: IfMatch,
    ApiJson(request): ApiJson<EventDestinationUpdate>,
) -> Result<impl IntoResponse, Refused> {
    let state = api.cluster.snapshot();
    let record = one(&state, id)?;
    let only_if = Some(seen(if_match, record)?);
    let secret =
        request.password.as_ref().map(|password| encrypt(&api, &state, record, password.as_secret().as_bytes()));
    let command = UpdateEventDestination { secret: secret.transpose()?, ..update_of(record, request)? };
    api.change(Wanted::new(&caller, Command::UpdateEventDestination(command.into())).only_if(only_if)).await?;
    whole(&api, id).await
}

/// Removes a destination, with its secret and its dead letters.
#[utoipa::path(delete, path = "/event-destinations/{event_destination}", tag = "event destinations",
    params(("event_destination" = EventDestinationId, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204)))]
pub(super) async fn remove(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(EventDestinationId(id)): ApiPath<EventDestinationId>,
    if_match: IfMatch,
) -> Result<StatusCode, Refused> {
    let only_if = if_match.optional(Subject::EventDestination(id));
    api.change(Wanted::new(&caller, Command::RemoveEventDestination(id)).only_if(only_if)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a webhook a new secret. It is in the answer, this once. For a while both sign.
#[utoipa::path(post, path = "/event-destinations/{event_destination}/rotate-secret", tag = "event destinations",
    request_body = SecretRotate,
    params(("event_destination" = EventDestinationId, Path), ("If-Match" = String, Header)),
    responses((status = 200, body = SecretRotated, headers(("ETag" = String)))))]
pub(super) async fn rotate_secret(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(EventDestinationId(id)): ApiPath<EventDestinationId>,
    if_match: IfMatch,
    ApiJson(SecretRotate { overlap_s }): ApiJson<SecretRotate>,
) -> Result<impl IntoResponse, Refused> {
    if overlap_s > MAX_OVERLAP_S {
        let text = "two secrets of a webhook are good together for at most 2592000 seconds";
        return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-overlap", text));
    }
    let state = api.cluster.snapshot();
    let record = one(&state, id)?;
    let only_if = Some(seen(if_match, record)?);
    if !matches!(record.target, Target::Webhook { .. }) {
        let text = "only webhooks have a secret that is made here: change the password of a broker instead";
        return Err(Refused::new(StatusCode::CONFLICT, "not-a-webhook", text));
    }
    let secret = SigningSecret::from_bytes(rand::random()).to_secret_string();
    let former = api.vault.read(&state, &record.secret)?;
    let former = std::str::from_utf8(&former).unwrap_or_default().split(' ').next().unwrap_or_default();
    let both = zeroize::Zeroizing::new(format!("{} {former}", *secret));
    let until = api.cluster.now().after(overlap_s * 1000);
    let command = UpdateEventDestination {
        secret: Some(encrypt(&api, &state, record, both.as_bytes())?),
        former_secret_until: Some(until),
        ..UpdateEventDestination::none(id)
    };
    api.change(Wanted::new(&caller, Command::UpdateEventDestination(command.into())).only_if(only_if)).await?;
    let changed = one(&api.cluster.snapshot(), id)?.changed;
    let rotated = SecretRotated { secret: String::clone(&secret), former_secret_until: Time(until.0) };
    Ok((ETag(changed), Json(rotated)))
}

/// Sends a `webhook.test` at once, from the manager that is asked, and says what became of it.
#[utoipa::path(post, path = "/event-destinations/{event_destination}/test", tag = "event destinations",
    params(("event_destination" = EventDestinationId, Path)), responses((status = 200, body = EventDestinationTest)))]
pub(super) async fn test(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(EventDestinationId(id)): ApiPath<EventDestinationId>,
) -> Result<Json<EventDestinationTest>, Refused> {
    let state = api.cluster.snapshot();
    let tried = api.deliveries.try_out(one(&state, id)?).await?;
    api.note(&caller, Deed::TryOut(id)).await;
    Ok(Json(EventDestinationTest { delivered: tried.is_delivered, id: tried.id, text: tried.text }))
}

/// Events that a destination did not take and that were given up, by number.
#[utoipa::path(get, path = "/event-destinations/{event_destination}/dead-letters", tag = "event destinations",
    params(("event_destination" = EventDestinationId, Path), Paging),
    responses((status = 200, body = Page<DeadLetter>)))]
pub(super) async fn dead_letters(
    Shared(api): Shared<Api>,
    ApiPath(EventDestinationId(id)): ApiPath<EventDestinationId>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<Page<DeadLetter>>, Refused> {
    let state = api.cluster.snapshot();
    one(&state, id)?;
    let after: Option<u64> = paging.after()?;
    let all = state.progress(id).into_iter().flat_map(|progress| progress.letters());
    let rest = all.filter(|letter| after.is_none_or(|after| letter.number > after)).map(view::dead_letter);
    Ok(Json(paging.page(rest, |letter| letter.number)?))
}

/// Has dead letters sent again, some or all.
#[utoipa::path(post, path = "/event-destinations/{event_destination}/dead-letters/redeliver",
    tag = "event destinations", request_body = DeadLetterRedeliver,
    params(("event_destination" = EventDestinationId, Path)), responses((status = 204)))]
pub(super) async fn redeliver(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(EventDestinationId(id)): ApiPath<EventDestinationId>,
    ApiJson(DeadLetterRedeliver { letters }): ApiJson<DeadLetterRedeliver>,
) -> Result<StatusCode, Refused> {
    let command = RedeliverDeadLetters { destination: id, letters, now: api.cluster.now() };
    api.change(Wanted::new(&caller, Command::RedeliverDeadLetters(command))).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn one(state: &State, id: RecordId) -> Result<&Record, Refused> {
    state.event_destination(id).ok_or_else(|| unknown("event-destination", &id.to_string()))
}

/// With how the delivery goes.
async fn whole(api: &Api, id: RecordId) -> Result<(ETag, Json<EventDestination>), Refused> {
    let state = api.cluster.snapshot();
    let record = one(&state, id)?;
    let end = api.events.end().await?;
    let standing = api.deliveries.standing(id).await;
    let delivery = state.progress(id).map(|progress| view::delivery(progress, standing, &end));
    Ok((ETag(record.changed), Json(EventDestination { delivery, ..view::event_destination(record) })))
}

/// What a request is known by: a hash of it stays in the registry, and a password could be guessed from that.
fn without_password(request: &EventDestinationCreate) -> EventDestinationCreate {
    EventDestinationCreate { password: None, ..request.clone() }
}

/// The secret of a new destination, and what of it its maker has to know.
fn secret_of(request: &EventDestinationCreate) -> Result<(zeroize::Zeroizing<String>, Option<String>), Refused> {
    match (request.kind, &request.password) {
        (EventDestinationKind::Webhook, Some(_)) => Err(bad_target("a webhook has no password")),
        (EventDestinationKind::Webhook, None) => {
            let secret = SigningSecret::from_bytes(rand::random()).to_secret_string();
            let shown = String::clone(&secret);
            Ok((secret, Some(shown)))
        }
        (EventDestinationKind::Amqp, password) => {
            Ok((password.clone().map(SecretText::into_secret).unwrap_or_default(), None))
        }
    }
}

fn add(
    request: EventDestinationCreate,
    secret: PutSecret,
    (cursor, now): (String, UnixMs),
) -> Result<AddEventDestination, Refused> {
    let EventDestinationCreate { name, kind, url, exchange, routing_key_prefix, events, networks, enabled, .. } =
        request;
    let target = match kind {
        EventDestinationKind::Webhook if exchange.is_some() || routing_key_prefix.is_some() => {
            return Err(bad_target("a webhook has no exchange and no routing key"));
        }
        EventDestinationKind::Webhook => Target::Webhook { url },
        EventDestinationKind::Amqp => Target::Amqp {
            uri: url,
            exchange: exchange.ok_or_else(|| bad_target("name the exchange of the broker"))?,
            routing_key_prefix: routing_key_prefix.unwrap_or_default(),
        },
    };
    check_target(&target, request.allow_private_addresses)?;
    Ok(AddEventDestination {
        name,
        target,
        kinds: kinds(events)?,
        networks: scope(networks),
        is_enabled: enabled.unwrap_or(true),
        allows_private: request.allow_private_addresses,
        secret,
        cursor,
        now,
    })
}

/// That nobody changes the record as it is known here, from which the change is made. This manager may be behind, or ahead of
/// what the caller has seen.
fn seen(if_match: IfMatch, record: &Record) -> Result<Unchanged, Refused> {
    let subject = Subject::EventDestination(record.id);
    match if_match.required(subject)? {
        Some(given) if given.since != record.changed => {
            Err(ProposeError::Refused(ChangeError::Stale(subject).into()).into())
        }
        _ => Ok(Unchanged { subject, since: record.changed }),
    }
}

/// All but the secret.
fn update_of(record: &Record, request: EventDestinationUpdate) -> Result<UpdateEventDestination, Refused> {
    let target = target_of(record, &request)?;
    let allows_private = request.allow_private_addresses;
    if target.is_some() || allows_private.is_some() {
        let target = target.as_ref().unwrap_or(&record.target);
        check_target(target, allows_private.unwrap_or(record.allows_private))?;
    }
    Ok(UpdateEventDestination {
        name: request.name,
        target,
        kinds: request.events.map(kinds).transpose()?,
        networks: request.networks.map(scope),
        is_enabled: request.enabled,
        allows_private,
        ..UpdateEventDestination::none(record.id)
    })
}

/// Where it is to be, if that is to change.
fn target_of(record: &Record, request: &EventDestinationUpdate) -> Result<Option<Target>, Refused> {
    let EventDestinationUpdate { url, exchange, routing_key_prefix, password, .. } = request;
    let is_of_broker = exchange.is_some() || routing_key_prefix.is_some();
    let changes = url.is_some() || is_of_broker;
    let target = match &record.target {
        Target::Webhook { .. } if is_of_broker || password.is_some() => {
            return Err(bad_target("a webhook has no exchange, no routing key and no password"));
        }
        Target::Webhook { url: before } => Target::Webhook { url: url.as_ref().unwrap_or(before).clone() },
        Target::Amqp { uri: before, exchange: exchange_before, routing_key_prefix: prefix_before } => {
            let uri = url.as_ref().unwrap_or(before);
            if password.is_none() && !is_same_login(before, uri) {
                // Or whoever may change a destination, and not know its password, could have it sent to a place of theirs.
                return Err(bad_target("this is another broker, or another user of it: give the password again"));
            }
            Target::Amqp {
                uri: uri.clone(),
                exchange: exchange.as_ref().unwrap_or(exchange_before).clone(),
                routing_key_prefix: routing_key_prefix.as_ref().unwrap_or(prefix_before).clone(),
            }
        }
    };
    Ok(changes.then_some(target))
}

/// Whether the password for one goes to the same place, as safely, for the same user, with the other.
fn is_same_login(one: &str, other: &str) -> bool {
    let login = |uri: &str| {
        let url = reqwest::Url::parse(uri).ok()?;
        let port = url.port().unwrap_or(if url.scheme() == "amqps" { 5671 } else { 5672 });
        let host = url.host_str().map(str::to_ascii_lowercase);
        Some((url.scheme().to_owned(), url.username().to_owned(), host, port))
    };
    one == other || login(one).is_some_and(|one| login(other) == Some(one))
}

fn encrypt(api: &Api, state: &State, record: &Record, secret: &[u8]) -> Result<EncryptedSecret, Refused> {
    Ok(api.vault.encrypt(state, &record.secret, secret)?)
}

fn kinds(events: Vec<String>) -> Result<BTreeSet<String>, Refused> {
    let checked = events.into_iter().map(|kind| kind.parse::<Kind>().map(|_| kind));
    checked
        .collect::<Result<_, UnknownKind>>()
        .map_err(|error| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-kinds", &error.to_string()))
}

fn scope(networks: Vec<festoon_api::NetworkId>) -> Scope {
    match networks.is_empty() {
        true => Scope::All,
        false => Scope::Networks(networks.into_iter().map(|network| network.0).collect()),
    }
}

fn bad_target(text: &str) -> Refused {
    Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-target", text)
}

impl From<BadDestination> for Refused {
    fn from(error: BadDestination) -> Self {
        match error {
            BadDestination::Vault(error) => error.into(),
            error => bad_target(&error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::UnixMs;
    use festoon_proto::map::MapVersion;

    use super::*;

    fn record(target: Target) -> Record {
        Record {
            id: festoon_proto::EventDestinationId(1),
            name: "hook".to_owned(),
            target,
            kinds: BTreeSet::new(),
            networks: Scope::All,
            is_enabled: true,
            allows_private: false,
            secret: SecretName("secret".to_owned()),
            secret_changed: MapVersion(7),
            former_secret_until: None,
            created: UnixMs(1),
            changed: MapVersion(7),
        }
    }

    fn broker(uri: &str) -> Record {
        let uri = uri.to_owned();
        record(Target::Amqp { uri, exchange: "events".to_owned(), routing_key_prefix: "site".to_owned() })
    }

    fn at(url: &str) -> EventDestinationUpdate {
        EventDestinationUpdate { url: Some(url.to_owned()), ..EventDestinationUpdate::default() }
    }

    #[test]
    fn a_password_goes_to_another_broker_or_user_only_if_it_is_given_again() {
        let record = broker("amqps://u@b.example/v");
        for same in ["amqps://u@b.example/v", "amqps://u@b.example/other", "amqps://u@B.example:5671/v"] {
            assert!(update_of(&record, at(same)).is_ok(), "{same}");
        }
        for other in [
            "amqps://u@evil.example/v",
            "amqps://u@b.example:5673/v",
            "amqps://v@b.example/v",
            "amqps://b.example/v",
            "amqp://u@b.example:5671/v",
        ] {
            let request = EventDestinationUpdate { allow_private_addresses: Some(true), ..at(other) };
            let password = Some(SecretText::new("new".to_owned().into()));
            assert!(update_of(&record, request.clone()).is_err(), "{other}");
            assert!(update_of(&record, EventDestinationUpdate { password, ..request }).is_ok(), "{other}");
        }
    }

    #[test]
    fn where_it_is_is_sent_on_only_if_it_is_to_change() {
        let record = broker("amqps://u@b.example/v");
        let renamed = EventDestinationUpdate { name: Some("other".to_owned()), ..EventDestinationUpdate::default() };
        assert_eq!(update_of(&record, renamed).unwrap().target, None);
        let exchange = EventDestinationUpdate { exchange: Some("e".to_owned()), ..EventDestinationUpdate::default() };
        let expected = Target::Amqp {
            uri: "amqps://u@b.example/v".to_owned(),
            exchange: "e".to_owned(),
            routing_key_prefix: "site".to_owned(),
        };
        assert_eq!(update_of(&record, exchange).unwrap().target, Some(expected));
    }

    #[test]
    fn the_password_is_no_part_of_what_a_request_is_known_by() {
        let request = |password: &str| -> EventDestinationCreate {
            let request = r#"{"name": "b", "kind": "amqp", "url": "amqps://u@b", "exchange": "e", "password": ""}"#;
            let request = serde_json::from_str(request).unwrap();
            EventDestinationCreate { password: Some(SecretText::new(password.to_owned().into())), ..request }
        };
        assert_ne!(request("one"), request("other"));
        assert_eq!(without_password(&request("one")), without_password(&request("other")));
    }

    #[test]
    fn a_change_is_made_from_what_the_caller_has_seen_alone() {
        let record = broker("amqps://u@b.example/v");
        let now = Unchanged { subject: Subject::EventDestination(record.id), since: MapVersion(7) };
        assert_eq!(seen(IfMatch::Version(MapVersion(7)), &record).ok(), Some(now));
        assert_eq!(seen(IfMatch::Any, &record).ok(), Some(now));
        for other in [IfMatch::Version(MapVersion(6)), IfMatch::Version(MapVersion(8)), IfMatch::Missing] {
            assert!(seen(other, &record).is_err(), "{other:?}");
        }
    }
}
