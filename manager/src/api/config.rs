//! The configuration of a stock WireGuard client, as `wg-quick` reads it, as text or as a QR code.

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use festoon_api::EndpointId;
use festoon_control::compile::endpoint_map;
use festoon_proto::PrivateKey;
use festoon_proto::map::{EndpointKind, EndpointMap};
use serde::Deserialize;

use super::query::{ApiPath, ApiQuery};
use super::{Api, Caller};
use crate::client_conf::{self, NO_KEY};
use crate::https::Refused;

/// How it is wanted.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// As text.
    #[default]
    Conf,
    /// As a picture for the WireGuard app, in SVG.
    Svg,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// As text, or as a QR code in SVG.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// The manager to use, by id or name, if not the one of the highest priority.
    manager: Option<String>,
}

/// The configuration of a client, without its private key, which only the client has.
#[utoipa::path(get, path = "/endpoints/{endpoint}/config", tag = "endpoints", params(("endpoint" = EndpointId, Path), Wish),
    responses((status = 200, content((String = "text/plain"), (String = "image/svg+xml")))))]
pub(super) async fn show(
    Shared(api): Shared<Api>,
    caller: Caller,
    ApiPath(EndpointId(id)): ApiPath<EndpointId>,
    ApiQuery(wish): ApiQuery<Wish>,
) -> Result<impl IntoResponse, Refused> {
    let state = api.cluster.snapshot();
    let endpoint = caller.endpoint(&state, id)?;
    if endpoint.kind == EndpointKind::Agent {
        let text = "an agent needs no configuration: it gets its own from the managers";
        return Err(Refused::new(StatusCode::CONFLICT, "endpoint-is-agent", text));
    }
    let disabled =
        || Refused::new(StatusCode::CONFLICT, "endpoint-disabled", "this endpoint is disabled: enable it first");
    let map = endpoint_map(&state, id).ok_or_else(disabled)?;
    let conf = to_conf(&map, None, wish.manager.as_deref())?;
    match wish.format {
        Format::Conf => Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], conf)),
        Format::Svg => Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg(&conf)?)),
    }
}

/// Secret if it has the key.
pub(super) fn to_conf(map: &EndpointMap, key: Option<&PrivateKey>, manager: Option<&str>) -> Result<String, Refused> {
    let key = key.map_or_else(|| NO_KEY.to_owned(), PrivateKey::to_secret_base64);
    client_conf::to_conf(map, &key, manager)
        .map_err(|error| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-manager", &error.to_string()))
}

/// A QR code, as a picture in SVG.
pub(super) fn svg(conf: &str) -> Result<String, Refused> {
    let code = qrcode::QrCode::new(conf).map_err(|_| Refused::internal())?;
    Ok(code.render::<qrcode::render::svg::Color<'_>>().min_dimensions(320, 320).build())
}
