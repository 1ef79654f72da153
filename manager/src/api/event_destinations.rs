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
    SecretRotated, Time,
};
use festoon_control::registry::{
    AddEventDestination, Command, EncryptedSecret, EventDestination as Record, Outcome, PutSecret,
    RedeliverDeadLetters, SecretName, State, Subject, Target, UpdateEventDestination,
};
use festoon_events::delivery::SigningSecret;
use festoon_events::{Kind, UnknownKind};
use festoon_proto::access::Scope;

use super::caller::unknown;
use super::change::Wanted;
use super::headers::{ETag, IfMatch, Key};
use super::list::Paging;
use super::query::{ApiPath, ApiQuery};
use super::{Api, Caller};
use crate::cluster::unix_now;
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
    let key = key.of(&caller, &state, &request);
    let (secret, shown) = secret_of(&request)?;
    let name = SecretName(format!("destination-{:032x}", rand::random::<u128>()));
    let encrypted = api.vault.encrypt(&state, &name, secret.as_bytes())?;
    let cursor = api.events.end().await?.to_string();
    let command = add(request, PutSecret { name: name.clone(), secret: encrypted }, cursor)?;
    let wanted = Wanted::new(&caller, Command::AddEventDestination(command.into())).key(key);
    let Outcome::EventDestination(id) = api.change(wanted).await? else { return Err(Refused::internal()) };
    let state = api.cluster.snapshot();
    let record = one(&state, id)?;
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
    let only_if = if_match.required(Subject::EventDestination(id))?;
    let command = update_of(&api, id, request)?;
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
    let only_if = if_match.required(Subject::EventDestination(id))?;
    let state = api.cluster.snapshot();
    let record = one(&state, id)?;
    if !matches!(record.target, Target::Webhook { .. }) {
        let text = "only webhooks have a secret that is made here: change the password of a broker instead";
        return Err(Refused::new(StatusCode::CONFLICT, "not-a-webhook", text));
    }
    let secret = SigningSecret::from_bytes(rand::random()).to_secret_string();
    let former = api.vault.read(&state, &record.secret)?;
    let former = std::str::from_utf8(&former).unwrap_or_default().split(' ').next().unwrap_or_default();
    let both = zeroize::Zeroizing::new(format!("{} {former}", *secret));
    let until = unix_now().after(overlap_s * 1000);
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
    ApiPath(EventDestinationId(id)): ApiPath<EventDestinationId>,
) -> Result<Json<EventDestinationTest>, Refused> {
    let state = api.cluster.snapshot();
    let tried = api.deliveries.try_out(one(&state, id)?).await?;
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
    let command = RedeliverDeadLetters { destination: id, letters, now: unix_now() };
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

/// The secret of a new destination, and what of it its maker has to know.
fn secret_of(request: &EventDestinationCreate) -> Result<(zeroize::Zeroizing<String>, Option<String>), Refused> {
    match (request.kind, &request.password) {
        (EventDestinationKind::Webhook, Some(_)) => Err(bad_target("a webhook has no password")),
        (EventDestinationKind::Webhook, None) => {
            let secret = SigningSecret::from_bytes(rand::random()).to_secret_string();
            let shown = String::clone(&secret);
            Ok((secret, Some(shown)))
        }
        (EventDestinationKind::Amqp, password) => Ok((password.clone().unwrap_or_default().into(), None)),
    }
}

fn add(request: EventDestinationCreate, secret: PutSecret, cursor: String) -> Result<AddEventDestination, Refused> {
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
        now: unix_now(),
    })
}

fn update_of(api: &Api, id: RecordId, request: EventDestinationUpdate) -> Result<UpdateEventDestination, Refused> {
    let state = api.cluster.snapshot();
    let record = one(&state, id)?;
    let EventDestinationUpdate { name, url, exchange, routing_key_prefix, password, events, networks, enabled, .. } =
        request;
    let allows_private = request.allow_private_addresses;
    let target = match record.target.clone() {
        Target::Webhook { .. } if exchange.is_some() || routing_key_prefix.is_some() || password.is_some() => {
            return Err(bad_target("a webhook has no exchange, no routing key and no password"));
        }
        Target::Webhook { url: before } => Target::Webhook { url: url.unwrap_or(before) },
        Target::Amqp { uri, exchange: before, routing_key_prefix: prefix } => Target::Amqp {
            uri: url.unwrap_or(uri),
            exchange: exchange.unwrap_or(before),
            routing_key_prefix: routing_key_prefix.unwrap_or(prefix),
        },
    };
    check_target(&target, allows_private.unwrap_or(record.allows_private))?;
    let secret = password.map(|password| encrypt(api, &state, record, password.as_bytes())).transpose()?;
    Ok(UpdateEventDestination {
        destination: id,
        name,
        target: Some(target),
        kinds: events.map(kinds).transpose()?,
        networks: networks.map(scope),
        is_enabled: enabled,
        allows_private,
        secret,
        former_secret_until: None,
    })
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
