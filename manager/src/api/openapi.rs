//! The OpenAPI document, made from the code, and a page to browse it.

use axum::Router;
use utoipa::OpenApi as _;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr};
use utoipa_axum::router::OpenApiRouter;

use super::Api;
use crate::https::PROBLEM_JSON;

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
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.responses.responses.insert("default".to_owned(), refused());
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

/// Every refusal is a problem.
fn refused() -> RefOr<utoipa::openapi::Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description("Refused").content(PROBLEM_JSON, content).build().into()
}

/// The document and the page.
pub(super) fn routes() -> Router<Api> {
    let page = utoipa_swagger_ui::SwaggerUi::new("/api/docs").url(PATH, document());
    Router::new().merge(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_that_of_the_code() {
        let committed = include_str!("../../../docs/openapi.json");
        assert!(committed == document_text(), "run `make openapi`");
    }
}
