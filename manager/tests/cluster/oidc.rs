//! Logging in at a real identity provider: npm's `oidc-provider`, run on this machine.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::cli::{Desk, fingerprint};
use crate::harness::{Manager, free_port, problem};
use crate::terminal::Terminal;
use crate::web::{PASSWORD, Shows, Web};

const SECRET: &str = "canary-client-secret-of-the-provider";

/// The provider, running.
struct Provider {
    issuer: String,
    process: Child,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Provider {
    fn start(callback: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/oidc");
        let installed = Command::new("./install").current_dir(&directory).status();
        assert!(installed.is_ok_and(|status| status.success()), "this test needs npm: see tests/install-needs");
        let port = free_port();
        let mut node = Command::new("node");
        node.arg("provider.mjs").arg(port.to_string()).args([callback, SECRET]).current_dir(directory);
        let mut process = node.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the provider does not start");
        Self { issuer: format!("http://127.0.0.1:{port}"), process }
    }
}

/// A browser at the provider: it keeps cookies and follows no redirect by itself.
struct Browser {
    client: reqwest::Client,
    cookies: Vec<(String, String)>,
}

impl Browser {
    fn new() -> Self {
        // The client wants one, though it speaks no TLS here. Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        Self { client, cookies: Vec::new() }
    }

    async fn send(&mut self, method: Method, url: &str, form: Option<&str>) -> Response {
        let all: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = self.client.request(method, url).header("cookie", all.join("; "));
        if let Some(form) = form {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        }
        let response = request.send().await.unwrap();
        for set in response.headers().get_all("set-cookie") {
            let (name, value) = set.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(kept, _)| kept != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        response
    }

    #[expect(clippy::panic, reason = "clippy takes the helpers of an integration test for a program")]
    /// Goes to `url`, logs in as `name`, allows all, and gives where the provider sends it then.
    async fn log_in(&mut self, url: &str, name: &str, callback: &str) -> String {
        let mut at = url.to_owned();
        for _ in 0..12 {
            let response = self.send(Method::GET, &at, None).await;
            let response = match response.status().is_redirection() {
                true => response,
                // A page that asks for something.
                false => {
                    let prompt = if response.text().await.unwrap().contains("name=\"login\"") {
                        format!("prompt=login&login={name}&password=x")
                    } else {
                        "prompt=consent".to_owned()
                    };
                    self.send(Method::POST, &at, Some(&prompt)).await
                }
            };
            let to = response.headers()["location"].to_str().unwrap();
            if to.starts_with(callback) {
                return to.to_owned();
            }
            let origin = url.split("/auth").next().unwrap();
            at = if to.starts_with('/') { format!("{origin}{to}") } else { to.to_owned() };
        }
        panic!("the provider never comes back")
    }
}

fn cookies(response: &Response) -> Vec<String> {
    let all = response.headers().get_all("set-cookie").iter();
    all.map(|set| set.to_str().unwrap().split(';').next().unwrap().to_owned()).collect()
}

/// Begins a login, and gives where to go and the cookie.
async fn begin(web: &Web) -> (String, String) {
    begin_at(web, "/session/oidc").await
}

async fn begin_at(web: &Web, path: &str) -> (String, String) {
    let begun = web.send(Method::GET, path, None).await;
    let set = begun.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert_eq!(begun.status(), StatusCode::SEE_OTHER);
    assert!(set.starts_with("__Host-festoon-oidc=") && set.contains("Secure; HttpOnly; SameSite=Lax"), "{set}");
    (begun.headers()["location"].to_str().unwrap().to_owned(), cookies(&begun).remove(0))
}

async fn finish(web: &Web, cookie: Option<&str>, path: &str) -> Response {
    let cookie = cookie.map(str::to_owned);
    web.showing(Shows { cookie, ..Shows::default() }).send(Method::GET, path, None).await
}

#[tokio::test]
async fn only_who_was_linked_logs_in_at_a_provider_and_only_in_the_browser_that_began() {
    let manager = Manager::init("m1").started().await;
    let anybody = Web::of(&manager);
    let root = anybody.set_up(&manager).await;
    assert_eq!(anybody.refused(Method::GET, "/session/oidc", None).await, (409, "no-oidc".to_owned()));
    let base = format!("https://manager.festoon.internal:{}/api/v1", manager.https.port());
    let callback = format!("{base}/session/oidc/callback");
    let provider = Provider::start(&callback);
    let set = async |oidc: Value| {
        let patch = root.request(Method::PATCH, "/settings").header("if-match", "*");
        patch.json(&json!({"oidc": oidc})).send().await.unwrap()
    };
    let elsewhere = set(json!({"issuer": "http://id.example.com", "client_id": "festoon"})).await;
    assert_eq!(problem(elsewhere).await.kind, "bad-oidc");
    let good = ["oidc", "set", &provider.issuer, "festoon", "--client-secret"];
    let shown = Desk::at(&manager).must_with(&good, &format!("{SECRET}\n"));
    assert!(shown.contains("secret  is set"), "{shown}");
    let settings = root.get("/settings").await;
    assert_eq!(settings["oidc"]["client_secret"], true);
    assert_eq!(anybody.get("/session/ways").await, json!({"set_up": true, "oidc": true}));
    let identity = json!({"issuer": provider.issuer, "subject": "ann"});
    root.post("/users", json!({"name": "ann", "role": "viewer", "identity": identity})).await;

    let (to, cookie) = begin(&anybody).await;
    assert!(to.contains("code_challenge_method=S256") && to.contains("nonce=") && to.contains("state="), "{to}");
    let back = Browser::new().log_in(&to, "ann", &callback).await;
    let path = back.strip_prefix(&base).unwrap().to_owned();
    let other = begin(&anybody).await.1;
    for shown in [None, Some(other.as_str()), Some("__Host-festoon-oidc=x.y.z")] {
        assert_eq!(problem(finish(&anybody, shown, &path).await).await.kind, "oidc-not-begun", "{shown:?}");
    }
    let with_state = path.split('&').find(|part| part.starts_with("state=")).unwrap();
    let forged = format!("/session/oidc/callback?code=forged&{with_state}");
    assert_eq!(problem(finish(&anybody, Some(&cookie), &forged).await).await.kind, "oidc-provider");
    let denied = format!("/session/oidc/callback?error=access_denied&{with_state}");
    assert_eq!(problem(finish(&anybody, Some(&cookie), &denied).await).await.kind, "oidc-refused");

    let done = finish(&anybody, Some(&cookie), &path).await;
    assert_eq!((done.status(), &done.headers()["location"]), (StatusCode::SEE_OTHER, &"/".parse().unwrap()));
    let [session, cleared] = cookies(&done).try_into().unwrap();
    assert_eq!(cleared, "__Host-festoon-oidc=");
    let ann = anybody.showing(Shows { cookie: Some(session), ..Shows::default() });
    let me = ann.get("/session").await;
    assert_eq!((&me["name"], &me["role"]), (&json!("ann"), &json!("viewer")));
    let again = finish(&anybody, Some(&cookie), &path).await;
    assert_eq!(problem(again).await.kind, "oidc-provider", "a code is good once");

    let (to, cookie) = begin(&anybody).await;
    let back = Browser::new().log_in(&to, "eve", &callback).await;
    let unknown = problem(finish(&anybody, Some(&cookie), back.strip_prefix(&base).unwrap()).await).await;
    assert_eq!((unknown.status, unknown.kind.as_str()), (403, "identity-unknown"));
    assert!(unknown.title.contains("eve"), "{}", unknown.title);
    assert_eq!(set(Value::Null).await.status(), StatusCode::OK);
    assert_eq!(anybody.refused(Method::GET, "/session/oidc", None).await.1, "no-oidc");
    let audit = root.send(Method::GET, "/audit?format=jsonl&limit=10000", None).await.text().await.unwrap();
    for (place, text) in
        [("the log", manager.log()), ("the audit log", audit), ("an answer", shown + &settings.to_string())]
    {
        assert!(!text.contains(SECRET), "the client's secret is in {place}");
    }
}

/// Whoever logs in as ann at the provider, with its session.
async fn log_in_as_ann(anybody: &Web, browser: &mut Browser, path: &str, base: &str) -> Web {
    let (to, cookie) = begin_at(anybody, path).await;
    let back = browser.log_in(&to, "ann", &format!("{base}/session/oidc/callback")).await;
    let done = finish(anybody, Some(&cookie), back.strip_prefix(base).unwrap()).await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
    let cookie = Some(cookies(&done).remove(0));
    let ann = anybody.showing(Shows { cookie, ..Shows::default() });
    let csrf = Some(ann.get("/session").await["csrf_token"].as_str().unwrap().to_owned());
    ann.showing(Shows { csrf, ..ann.shows.clone() })
}

/// The command line of somebody with this session.
fn desk_of(manager: &Manager, session: &Shows) -> Desk {
    let (cookie, csrf) = (session.cookie.as_ref().unwrap(), session.csrf.as_ref().unwrap());
    let profile = manager.file("ann.toml");
    let text = format!(
        "current = \"ann\"\n[profiles.ann]\nservers = [\"https://{}\"]\nca = [\"{}\"]\nsession = {{ cookie = \"{cookie}\", csrf = \"{csrf}\" }}\n",
        manager.https,
        fingerprint(manager),
    );
    std::fs::write(&profile, text).unwrap();
    std::fs::set_permissions(&profile, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    Desk::new(vec![("FESTOON_CONFIG", profile.to_str().unwrap().to_owned())])
}

/// A session of a login whose provider does not say when it saw its user is one that was never confirmed.
#[tokio::test]
async fn what_gives_power_over_the_cluster_is_confirmed() {
    let manager = Manager::init("m1").started().await;
    let anybody = Web::of(&manager);
    let root = anybody.set_up(&manager).await;
    let base = format!("https://manager.festoon.internal:{}/api/v1", manager.https.port());
    let provider = Provider::start(&format!("{base}/session/oidc/callback"));
    let oidc = json!({"issuer": provider.issuer, "client_id": "festoon", "client_secret": SECRET});
    let patch = root.request(Method::PATCH, "/settings").header("if-match", "*").json(&json!({"oidc": oidc}));
    assert_eq!(patch.send().await.unwrap().status(), StatusCode::OK);
    let identity = json!({"issuer": provider.issuer, "subject": "ann"});
    root.post("/users", json!({"name": "ann", "role": "owner", "identity": identity, "password": PASSWORD})).await;

    let mut browser = Browser::new();
    let ann = log_in_as_ann(&anybody, &mut browser, "/session/oidc", &base).await;
    assert!(ann.get("/session").await["confirmed_until"].is_null());
    ann.post("/users", json!({"name": "bob", "role": "viewer", "password": PASSWORD})).await;
    ann.post("/join-tokens", json!({})).await;
    let eve = || json!({"name": "eve", "role": "owner"});
    for (method, path, body) in [
        (Method::POST, "/users", eve()),
        (Method::PATCH, "/users/u3", json!({"role": "owner"})),
        (Method::PATCH, "/users/u1", json!({"password": "another horse battery"})),
        (Method::POST, "/users/u1/totp/remove", json!({})),
        (Method::POST, "/join-tokens", json!({"kind": "manager"})),
        (Method::POST, "/api-tokens", json!({"name": "x", "role": "viewer", "sensitive": true})),
        (Method::PATCH, "/settings", json!({"recovery_recipient": "x"})),
        (Method::GET, "/snapshot", Value::Null),
        (Method::GET, "/snapshots/none.age", Value::Null),
    ] {
        let request = ann.request(method, path).header("if-match", "*").json(&body);
        let refused = problem(request.send().await.unwrap()).await;
        assert_eq!((refused.status, refused.kind.as_str()), (403, "confirmation-needed"), "{path}");
        assert!(refused.title.contains("POST /api/v1/session/confirm"), "{}", refused.title);
    }

    let desk = desk_of(&manager, &ann.shows);
    let (code, said) = desk.fails(&["tokens", "add", "--manager"]);
    assert!(code == 5 && said.contains("FESTOON_PASSWORD"), "{said}");
    let mut terminal = Terminal::new(&desk, &["tokens", "add", "--manager"]);
    terminal.shows("Your password: ").await;
    terminal.types("wrong\n");
    assert_eq!(terminal.ended().await.code(), Some(5));
    let mut terminal = Terminal::new(&desk, &["tokens", "add", "--manager"]);
    terminal.shows("Your password: ").await;
    terminal.types(&format!("{PASSWORD}\n"));
    assert!(terminal.ended().await.success());
    terminal.shows("festoon1").await;
    assert!(!terminal.shown().contains(PASSWORD));
    assert!(ann.get("/session").await["confirmed_until"].is_string());
    ann.post("/users", eve()).await;

    // The provider asks again, though the browser is logged in there.
    let again = log_in_as_ann(&anybody, &mut browser, "/session/oidc", &base).await;
    let wrong = Some(json!({"password": "wrong"}));
    assert_eq!(again.refused(Method::POST, "/session/confirm", wrong).await, (403, "wrong-password".to_owned()));
    assert_eq!(again.refused(Method::GET, "/snapshot", None).await.1, "confirmation-needed");
    let (to, _) = begin_at(&anybody, "/session/oidc?confirm=true").await;
    assert!(to.contains("prompt=login") && to.contains("max_age=0"), "{to}");
    let confirmed = log_in_as_ann(&anybody, &mut browser, "/session/oidc?confirm=true", &base).await;
    assert_eq!(confirmed.send(Method::GET, "/snapshot", None).await.status(), StatusCode::OK);
}
