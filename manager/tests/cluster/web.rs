//! The API over HTTPS: as a browser uses it, and as a program does.

use std::net::SocketAddr;

use festoon_manager::pki::client_config;
use festoon_proto::address::MANAGER_TLS_NAME;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness::Manager;

pub(crate) const PASSWORD: &str = "correct horse battery";

/// What a client shows with every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shows {
    /// The cookie of a session.
    pub(crate) cookie: Option<String>,
    /// What goes with it.
    pub(crate) csrf: Option<String>,
    /// An API token.
    pub(crate) bearer: Option<String>,
    /// Another `Host` than the right one.
    pub(crate) host: Option<&'static str>,
    /// An `Origin`.
    pub(crate) origin: Option<String>,
}

impl Shows {
    pub(crate) fn bearer(secret: &str) -> Self {
        Self { bearer: Some(secret.to_owned()), ..Self::default() }
    }
}

/// A client of one manager.
#[derive(Clone)]
pub(crate) struct Web {
    client: reqwest::Client,
    at: SocketAddr,
    pub(crate) shows: Shows,
}

impl Web {
    /// One that shows nothing. It believes the cluster's CA.
    pub(crate) fn of(manager: &Manager) -> Self {
        let ca = manager.token(&["--manager"]).ca_fingerprint;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(client_config(&[ca], None).unwrap())
            .resolve(MANAGER_TLS_NAME, manager.https)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(20))
            .build()
            .unwrap();
        Self { client, at: manager.https, shows: Shows::default() }
    }

    pub(crate) fn showing(&self, shows: Shows) -> Self {
        Self { shows, ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("https://{MANAGER_TLS_NAME}:{}/api/v1{path}", self.at.port());
        let mut request = self.client.request(method, url);
        let Shows { cookie, csrf, bearer, host, origin } = &self.shows;
        for (name, value) in [
            ("cookie", cookie.clone()),
            ("x-festoon-csrf", csrf.clone()),
            ("authorization", bearer.as_ref().map(|bearer| format!("Bearer {bearer}"))),
            ("host", host.map(str::to_owned)),
            ("origin", origin.clone()),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let request = self.request(method, path);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        request.send().await.unwrap()
    }

    /// Sends what must be answered with this status, and gives the answer.
    pub(crate) async fn must(&self, method: Method, path: &str, body: Option<Value>, status: u16) -> Value {
        let response = self.send(method.clone(), path, body).await;
        let (got, text) = (response.status().as_u16(), response.text().await.unwrap());
        assert_eq!(got, status, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.must(Method::GET, path, None, 200).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.must(Method::POST, path, Some(body), 201).await
    }

    /// Sends what must be refused, and gives the status and the word of the problem.
    pub(crate) async fn refused(&self, method: Method, path: &str, body: Option<Value>) -> (u16, String) {
        let problem = crate::harness::problem(self.send(method, path, body).await).await;
        (problem.status, problem.kind)
    }

    /// The same client, logged in.
    pub(crate) async fn logged_in(&self, name: &str, password: &str, code: Option<&str>) -> Self {
        let response = self.try_log_in(name, password, code).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let whoami: Value = response.json().await.unwrap();
        let csrf = whoami["csrf_token"].as_str().unwrap().to_owned();
        self.showing(Shows { cookie: Some(cookie), csrf: Some(csrf), ..Shows::default() })
    }

    pub(crate) async fn try_log_in(&self, name: &str, password: &str, code: Option<&str>) -> Response {
        self.send(Method::POST, "/session", Some(json!({"name": name, "password": password, "code": code}))).await
    }

    /// Makes the first owner of a new cluster, called root, and logs in.
    pub(crate) async fn set_up(&self, manager: &Manager) -> Self {
        let secret = set_up_secret(manager);
        self.post("/setup", json!({"secret": secret, "name": "root", "password": PASSWORD})).await;
        self.logged_in("root", PASSWORD, None).await
    }
}

/// What `init` showed.
pub(crate) fn set_up_secret(manager: &Manager) -> String {
    manager.founding.lines().map(str::trim).find(|line| line.starts_with("festoon-setup-")).unwrap().to_owned()
}

#[tokio::test]
async fn the_page_of_the_api_is_for_those_who_are_logged_in() {
    let manager = Manager::init("m1").started().await;
    let stranger = Web::of(&manager);
    let owner = stranger.set_up(&manager).await;
    for path in ["/../docs/", "/../docs/index.html", "/../docs/swagger-ui.css"] {
        assert_eq!(stranger.send(Method::GET, path, None).await.status(), 401, "{path}");
        assert_eq!(owner.send(Method::GET, path, None).await.status(), 200, "{path}");
    }
    assert_eq!(stranger.send(Method::GET, "/openapi.json", None).await.status(), 200);
}
