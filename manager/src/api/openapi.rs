//! The OpenAPI document, made from the code, and a page to browse it.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Required};
use utoipa_axum::router::OpenApiRouter;

use super::Api;
use super::access::Known;
use crate::accounts::Denied;
use crate::https::{PROBLEM_JSON, Refused};

const PATH: &str = "/api/v1/openapi.json";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Festoon", description = "All that a person or a program does to a Festoon cluster. Any manager answers."),
    components(schemas(festoon_api::Problem)),
    security(("session" = []), ("token" = []))
)]
struct Document;

/// The document: what `docs/openapi.json` has.
pub fn document() -> OpenApi {
    let routes = OpenApiRouter::<Api>::with_openapi(Document::openapi()).nest(festoon_api::BASE, super::all());
    let mut document = routes.into_openapi();
    let components = document.components.get_or_insert_default();
    let cookie = ApiKey::Cookie(ApiKeyValue::new("__Host-festoon"));
    components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    for (path, item) in &mut document.paths.paths {
        let operations = [
            ("GET", &mut item.get),
            ("POST", &mut item.post),
            ("PATCH", &mut item.patch),
            ("PUT", &mut item.put),
            ("DELETE", &mut item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            describe_conditions(operation);
            for (status, text) in refusals(method, path, operation) {
                operation.responses.responses.entry(status.to_owned()).or_insert_with(|| refused(text));
            }
        }
    }
    document
}

/// [`document`] as text, for people and for `docs/openapi.json`.
pub fn document_text() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// What `If-Match` may be, which is the same everywhere.
fn describe_conditions(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && parameter.name == "If-Match"
        {
            let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r#"^(\*|"[0-9]{1,19}")$"#));
            parameter.description = Some("The ETag of what is to be changed, or * for whatever it is.".to_owned());
            parameter.schema = Some(schema.examples([serde_json::Value::from("*")]).into());
        }
    }
}

/// With which statuses an operation may be refused, as follows from what it is.
fn refusals(method: &str, path: &str, operation: &Operation) -> Vec<(&'static str, &'static str)> {
    let is_open = operation.security.is_some();
    let parameters = || {
        operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        })
    };
    let has = |name: &str| parameters().any(|parameter| parameter.name == name);
    let has_required = |name: &str| {
        parameters().any(|parameter| parameter.name == name && matches!(parameter.required, Required::True))
    };
    let has_query = parameters().any(|parameter| parameter.parameter_in == ParameterIn::Query);
    let (is_change, has_body) = (method != "GET", operation.request_body.is_some());
    let is_about_one = path.contains('{');
    let is_oidc = path.contains("/session/oidc");
    let is_of_accounts = path.contains("/users/{user}")
        || path.ends_with("/setup")
        || path.ends_with("/session")
        || path.ends_with("/session/confirm");
    let table = [
        (
            has_query || has_body || is_about_one || has("Idempotency-Key") || has("If-Match"),
            "400",
            "It makes no sense",
        ),
        (!is_open || path.ends_with("/session"), "401", "Nobody is logged in"),
        (true, "403", "It is not allowed"),
        (is_about_one || has_query || has_body, "404", "What it is about is not there, or not for the caller"),
        (true, "408", "It took too long"),
        (is_change || is_about_one || has_query || is_oidc, "409", "Something is in the way"),
        (is_change && (has("If-Match") || is_of_accounts), "412", "It was changed meanwhile"),
        (has_body, "413", "It is too large"),
        (has_body, "415", "It is no JSON"),
        (true, "421", "The manager does not go by that name, or can't do it: ask another"),
        (is_change || has_query || is_oidc, "422", "It can't be so"),
        (is_change && has_required("If-Match"), "428", "It needs If-Match"),
        (is_change && is_of_accounts || is_oidc, "429", "There were too many tries"),
        (true, "503", "It is not possible now"),
    ];
    table.into_iter().filter(|(is_possible, ..)| *is_possible).map(|(_, status, text)| (status, text)).collect()
}

/// Every refusal is a problem.
fn refused(text: &str) -> RefOr<utoipa::openapi::Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(text).content(PROBLEM_JSON, content).build().into()
}

/// The document and the page.
pub(super) fn routes() -> Router<Api> {
    let page = utoipa_swagger_ui::SwaggerUi::new("/api/docs").url(PATH, document());
    Router::new().merge(page).layer(middleware::from_fn(guard_page))
}

/// The page is a program from this host, for those who are logged in. The document is for anybody.
async fn guard_page(request: Request, next: Next) -> Response {
    let known = request.extensions().get::<Known>().map(|Known(known)| known.clone());
    match known.unwrap_or(Err(Denied::NoCredential)) {
        Err(denied) if request.uri().path() != PATH => Refused::from(denied).into_response(),
        _ => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_needs_if_match_says_so() {
        let document = serde_json::to_value(document()).unwrap();
        let path = &document["paths"]["/api/v1/event-destinations/{event_destination}"];
        let rotate = &document["paths"]["/api/v1/event-destinations/{event_destination}/rotate-secret"]["post"];
        for operation in [rotate, &path["patch"]] {
            assert!(operation["responses"]["428"].is_object(), "{operation}");
        }
        assert!(path["delete"].is_object() && path["delete"]["responses"]["428"].is_null());
    }

    #[test]
    fn the_committed_document_is_that_of_the_code() {
        let committed = include_str!("../../../docs/openapi.json");
        assert!(committed == document_text(), "run `make openapi`");
    }
}
