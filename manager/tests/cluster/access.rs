//! Who may use which route: every route of the API, with every kind of caller that may not, and with every one that may.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Manager, eventually};
use crate::web::{PASSWORD, Shows, Web};

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing.
    Nothing,
    /// This role, in some network. What it shows of others is looked at by [`SECRET_NAMES`].
    Somewhere(Role),
    /// This role, in the first network.
    InFirst(Role),
    /// This role, in all networks.
    Everywhere(Role),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Viewer,
    Operator,
    Admin,
    Owner,
}

use Need::{Everywhere, InFirst, Nothing, Somewhere};
use Role::{Admin, Operator, Owner, Viewer};

/// Of the first network and of other accounts: nobody who is for the second one alone sees them.
const SECRET_NAMES: [&str; 4] = ["first-network", "first-endpoint", "first-token", "bystander"];

/// How a caller that may not use a route is told so.
const DENIED: [&str; 14] = [
    "not-logged-in",
    "bad-api-token",
    "api-token-expired",
    "session-ended",
    "account-disabled",
    "wrong-host",
    "wrong-origin",
    "csrf",
    "not-allowed",
    "confirmation-needed",
    "token-not-sensitive",
    "network-unknown",
    "endpoint-unknown",
    "user-unknown",
];
/// The same, of what this world has one of each.
const DENIED_TOO: [&str; 2] = ["join-token-unknown", "api-token-unknown"];

/// A request that is refused for another reason, or does no harm, if the caller may make it.
struct Row {
    need: Need,
    method: Method,
    route: &'static str,
    body: Option<Value>,
    /// Whether it gives power over the whole cluster: a session has to be confirmed for it.
    is_sensitive: bool,
}

fn row(need: Need, method: Method, route: &'static str, body: Value) -> Row {
    Row { need, method, route, body: Some(body).filter(|body| !body.is_null()), is_sensitive: false }
}

fn sensitive(need: Need, method: Method, route: &'static str, body: Value) -> Row {
    Row { is_sensitive: true, ..row(need, method, route, body) }
}

#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "a line for each route, and nothing else")]
fn table() -> Vec<Row> {
    let get = |need, route| row(need, Method::GET, route, Value::Null);
    let (post, put, patch, delete) = (Method::POST, Method::PUT, Method::PATCH, Method::DELETE);
    let first = || json!({"name": "first-endpoint", "network": "n1"});
    vec![
        get(Nothing, "/healthz"),
        get(Nothing, "/readyz"),
        row(Nothing, post.clone(), "/setup", json!({"secret": "x", "name": "x", "password": PASSWORD})),
        row(Nothing, post.clone(), "/session", json!({"name": "nobody", "password": PASSWORD})),
        get(Nothing, "/session/ways"),
        get(Nothing, "/session/oidc"),
        get(Nothing, "/session/oidc/callback"),
        row(Everywhere(Owner), post.clone(), "/setup/secret", Value::Null),
        get(Somewhere(Viewer), "/session"),
        row(Somewhere(Viewer), post.clone(), "/session/confirm", json!({"password": "wrong"})),
        get(Somewhere(Viewer), "/cluster"),
        get(Somewhere(Viewer), "/networks"),
        row(Everywhere(Admin), post.clone(), "/networks", json!({"name": "first-network", "prefixes": ["10.9.0.0/24"]})),
        get(InFirst(Viewer), "/networks/{network}"),
        row(InFirst(Admin), patch.clone(), "/networks/{network}", json!({})),
        row(Everywhere(Admin), delete.clone(), "/networks/{network}", Value::Null),
        get(Somewhere(Viewer), "/endpoints"),
        row(InFirst(Operator), post.clone(), "/endpoints", first()),
        row(InFirst(Operator), post.clone(), "/endpoints/batch", json!({"endpoints": [first()]})),
        get(InFirst(Viewer), "/endpoints/{endpoint}"),
        row(InFirst(Operator), patch.clone(), "/endpoints/{endpoint}", json!({})),
        row(InFirst(Admin), patch.clone(), "/endpoints/{endpoint}", json!({"approved_routes": []})),
        row(InFirst(Operator), delete.clone(), "/endpoints/{endpoint}", Value::Null),
        row(InFirst(Operator), post.clone(), "/endpoints/{endpoint}/rotate-key", Value::Null),
        row(InFirst(Operator), post.clone(), "/endpoints/{endpoint}/disconnect", Value::Null),
        get(InFirst(Viewer), "/endpoints/{endpoint}/config"),
        get(Somewhere(Viewer), "/routes"),
        get(Somewhere(Viewer), "/join-tokens"),
        row(InFirst(Operator), post.clone(), "/join-tokens", json!({"network": "n1", "tags": ["no tag"]})),
        sensitive(Everywhere(Admin), post.clone(), "/join-tokens", json!({"kind": "manager", "tags": ["no tag"]})),
        get(InFirst(Viewer), "/join-tokens/{join_token}"),
        row(InFirst(Operator), delete.clone(), "/join-tokens/{join_token}", Value::Null),
        get(Somewhere(Viewer), "/managers"),
        get(Somewhere(Viewer), "/managers/{manager}"),
        row(Everywhere(Admin), patch.clone(), "/managers/{manager}", json!({})),
        row(Everywhere(Admin), delete.clone(), "/managers/{manager}", Value::Null),
        row(Everywhere(Admin), post.clone(), "/managers/{manager}/drain", Value::Null),
        row(Everywhere(Admin), post.clone(), "/managers/{manager}/undrain", Value::Null),
        get(Somewhere(Viewer), "/events"),
        get(Everywhere(Admin), "/audit"),
        get(Everywhere(Admin), "/snapshots"),
        row(Everywhere(Admin), post.clone(), "/snapshots", Value::Null),
        sensitive(Everywhere(Admin), Method::GET, "/snapshots/{snapshot}", Value::Null),
        sensitive(Everywhere(Admin), Method::GET, "/snapshot", Value::Null),
        get(Everywhere(Admin), "/settings"),
        row(Everywhere(Owner), patch.clone(), "/settings", json!({})),
        sensitive(Everywhere(Owner), patch.clone(), "/settings", json!({"recovery_recipient": "x"})),
        get(Somewhere(Viewer), "/users"),
        row(Everywhere(Owner), post.clone(), "/users", json!({"name": "bystander", "role": "viewer"})),
        sensitive(Everywhere(Owner), post.clone(), "/users", json!({"name": "bystander", "role": "owner"})),
        get(Everywhere(Owner), "/users/{user}"),
        sensitive(Everywhere(Owner), patch.clone(), "/users/{user}", json!({"role": "owner"})),
        row(Everywhere(Owner), patch, "/users/{user}", json!({})),
        row(Everywhere(Owner), delete.clone(), "/users/{user}", Value::Null),
        row(Everywhere(Owner), put.clone(), "/users/{user}/password", json!({"current": "x", "new": PASSWORD})),
        row(Everywhere(Owner), post.clone(), "/users/{user}/totp", Value::Null),
        row(Everywhere(Owner), put, "/users/{user}/totp", json!({"secret": "x", "code": "x"})),
        row(Everywhere(Owner), post.clone(), "/users/{user}/totp/remove", json!({})),
        row(Everywhere(Owner), post.clone(), "/users/{user}/recovery-codes", json!({})),
        get(Everywhere(Owner), "/users/{user}/sessions"),
        row(Everywhere(Owner), delete.clone(), "/users/{user}/sessions", Value::Null),
        row(Everywhere(Owner), delete.clone(), "/users/{user}/sessions/{session}", Value::Null),
        get(Somewhere(Viewer), "/api-tokens"),
        row(Everywhere(Owner), post, "/api-tokens", json!({"name": "no name", "role": "viewer", "user": "u2"})),
        get(Everywhere(Owner), "/api-tokens/{api_token}"),
        row(Everywhere(Owner), delete.clone(), "/api-tokens/{api_token}", Value::Null),
        // The last one: whoever may use it has used its session up.
        row(Somewhere(Viewer), delete, "/session", Value::Null),
    ]
}

#[rustfmt::skip]
fn event_destinations() -> Vec<Row> {
    let get = |route| row(Everywhere(Admin), Method::GET, route, Value::Null);
    let change = |method, route, body| row(Everywhere(Admin), method, route, body);
    let post = || Method::POST;
    vec![
        get("/event-destinations"),
        change(post(), "/event-destinations", json!({"name": "x", "kind": "webhook", "url": "ftp://x"})),
        get("/event-destinations/{event_destination}"),
        change(Method::PATCH, "/event-destinations/{event_destination}", json!({})),
        change(Method::DELETE, "/event-destinations/{event_destination}", Value::Null),
        change(post(), "/event-destinations/{event_destination}/rotate-secret", json!({"overlap_s": 0})),
        change(post(), "/event-destinations/{event_destination}/test", Value::Null),
        get("/event-destinations/{event_destination}/dead-letters"),
        change(post(), "/event-destinations/{event_destination}/dead-letters/redeliver", json!({})),
    ]
}

/// What of the caller is wrong, besides what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Nothing,
    NoCredential,
    Host,
    Origin,
    NoCsrf,
    NotSensitive,
}

struct Caller {
    what: &'static str,
    web: Web,
    flaw: Flaw,
    role: Role,
    /// For the second network alone.
    is_foreign: bool,
}

impl Caller {
    fn may(&self, row: &Row) -> bool {
        let has = |role| self.role >= role;
        let is_let_in = match row.need {
            Nothing => true,
            _ if self.flaw == Flaw::NoCredential => false,
            Somewhere(role) => has(role),
            InFirst(role) | Everywhere(role) => has(role) && !self.is_foreign,
        };
        is_let_in
            && match self.flaw {
                Flaw::Host | Flaw::Origin => false,
                Flaw::NoCsrf => row.method == Method::GET || row.need == Nothing,
                Flaw::NotSensitive => !row.is_sensitive,
                Flaw::Nothing | Flaw::NoCredential => true,
            }
    }
}

/// The callers, those first that are let in nowhere.
#[expect(
    clippy::too_many_lines,
    clippy::cognitive_complexity,
    reason = "a few lines for each caller, and nothing else"
)]
async fn callers(manager: &Manager, root: &Web) -> Vec<Caller> {
    let anybody = Web::of(manager);
    let add = async |name: &str, role: &str, networks: Value| {
        let networks = if networks.is_null() { json!({}) } else { json!({"networks": networks}) };
        let mut user = json!({"name": name, "role": role, "password": PASSWORD});
        user.as_object_mut().unwrap().extend(networks.as_object().unwrap().clone());
        root.post("/users", user).await;
        anybody.logged_in(name, PASSWORD, None).await
    };
    let token = async |role: &str, more: Value| {
        let mut wanted = json!({"name": "program", "role": role});
        wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = root.post("/api-tokens", wanted).await;
        (anybody.showing(Shows::bearer(made["secret"].as_str().unwrap())), made["api_token"]["id"].clone())
    };
    let bystander = root.post("/users", json!({"name": "bystander", "role": "viewer", "password": PASSWORD})).await;
    assert_eq!(bystander["id"], "u2");
    let owner = |flaw, what, web| Caller { what, web, flaw, role: Owner, is_foreign: false };
    let out = anybody.logged_in("root", PASSWORD, None).await;
    out.must(Method::DELETE, "/session", None, 204).await;
    let expired = token("owner", json!({"expires_in_s": 1})).await.0;
    eventually("it expires", async || expired.send(Method::GET, "/session", None).await.status() != 200).await;
    let (revoked, id) = token("owner", json!({})).await;
    root.must(Method::DELETE, &format!("/api-tokens/{}", id.as_str().unwrap()), None, 204).await;
    let disabled = add("disabled", "owner", Value::Null).await;
    let id = disabled.get("/session").await["user"].as_str().unwrap().to_owned();
    let patch = root.request(Method::PATCH, &format!("/users/{id}")).header("if-match", "*");
    assert_eq!(patch.json(&json!({"enabled": false})).send().await.unwrap().status(), 200);
    let shows = |change: &dyn Fn(&mut Shows)| {
        let mut shows = root.shows.clone();
        change(&mut shows);
        root.showing(shows)
    };
    let wrong = root.shows.csrf.as_ref().map(|csrf| csrf.chars().rev().collect::<String>());
    let program = token("owner", json!({"sensitive": true})).await.0;
    let usual = token("owner", json!({})).await.0;
    let programs = |change: &dyn Fn(&mut Shows)| {
        let mut shows = program.shows.clone();
        change(&mut shows);
        program.showing(shows)
    };
    let evil = || Some("https://evil.example".to_owned());
    let of_second = json!(["n2"]);
    vec![
        owner(Flaw::NoCredential, "nobody", anybody.clone()),
        owner(Flaw::NoCredential, "an expired token", expired),
        owner(Flaw::NoCredential, "a removed token", revoked),
        owner(Flaw::NoCredential, "a cookie that logged out", out),
        owner(Flaw::NoCredential, "a disabled owner", disabled),
        owner(Flaw::Host, "another host", shows(&|shows| shows.host = Some("evil.example"))),
        owner(Flaw::Host, "another host, with a token", programs(&|shows| shows.host = Some("evil.example"))),
        owner(Flaw::Origin, "another origin", shows(&|shows| shows.origin = evil())),
        owner(Flaw::Origin, "no origin in particular", shows(&|shows| shows.origin = Some("null".to_owned()))),
        owner(Flaw::Origin, "another origin, with a token", programs(&|shows| shows.origin = evil())),
        owner(Flaw::NoCsrf, "no CSRF token", shows(&|shows| shows.csrf = None)),
        owner(Flaw::NoCsrf, "a wrong CSRF token", shows(&|shows| shows.csrf.clone_from(&wrong))),
        Caller {
            what: "a foreign viewer",
            web: add("fv", "viewer", of_second.clone()).await,
            flaw: Flaw::Nothing,
            role: Viewer,
            is_foreign: true,
        },
        Caller {
            what: "a foreign admin",
            web: add("fa", "admin", of_second.clone()).await,
            flaw: Flaw::Nothing,
            role: Admin,
            is_foreign: true,
        },
        Caller {
            what: "a token for the other network",
            web: token("admin", json!({"networks": of_second})).await.0,
            flaw: Flaw::Nothing,
            role: Admin,
            is_foreign: true,
        },
        Caller {
            what: "a viewer",
            web: add("viewer", "viewer", Value::Null).await,
            flaw: Flaw::Nothing,
            role: Viewer,
            is_foreign: false,
        },
        Caller {
            what: "an owner's token for a viewer",
            web: token("viewer", json!({})).await.0,
            flaw: Flaw::Nothing,
            role: Viewer,
            is_foreign: false,
        },
        Caller {
            what: "an operator",
            web: add("operator", "operator", Value::Null).await,
            flaw: Flaw::Nothing,
            role: Operator,
            is_foreign: false,
        },
        Caller {
            what: "an admin",
            web: add("admin", "admin", Value::Null).await,
            flaw: Flaw::Nothing,
            role: Admin,
            is_foreign: false,
        },
        owner(Flaw::NotSensitive, "an owner's token that is not sensitive", usual),
        owner(Flaw::Nothing, "an owner's token", program),
        owner(Flaw::Nothing, "an owner", root.clone()),
    ]
}

/// One of everything in the first network, and a second one.
async fn world(root: &Web) -> Vec<(&'static str, String)> {
    root.must(Method::GET, "/networks/n1", None, 200).await;
    let rename = root.request(Method::PATCH, "/networks/n1").header("if-match", "*");
    assert_eq!(rename.json(&json!({"name": "first-network"})).send().await.unwrap().status(), 200);
    root.post("/networks", json!({"name": "second", "prefixes": ["10.2.0.0/24"]})).await;
    root.post("/endpoints", json!({"name": "first-endpoint", "network": "n1"})).await;
    let token = root.post("/join-tokens", json!({"network": "n1", "name": "first-token"})).await;
    let api_token = root.post("/api-tokens", json!({"name": "program", "role": "viewer"})).await;
    vec![
        ("{network}", "n1".to_owned()),
        ("{endpoint}", "e1".to_owned()),
        ("{manager}", "m1".to_owned()),
        ("{user}", "u2".to_owned()),
        ("{session}", "s999".to_owned()),
        ("{snapshot}", "none.age".to_owned()),
        ("{event_destination}", "d9".to_owned()),
        ("{join_token}", token["join_token"]["id"].as_str().unwrap().to_owned()),
        ("{api_token}", api_token["api_token"]["id"].as_str().unwrap().to_owned()),
    ]
}

/// The routes of the document that the manager serves.
async fn documented(web: &Web) -> BTreeSet<(String, String)> {
    let document = web.get("/openapi.json").await;
    let paths = document["paths"].as_object().unwrap().clone();
    let methods = ["get", "put", "post", "patch", "delete"];
    let of = |path: &str, item: &Value| {
        let path = path.strip_prefix("/api/v1").unwrap().to_owned();
        let there = methods.iter().filter(|method| item.get(method).is_some());
        there.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(|(path, item)| of(path, item)).collect()
}

#[tokio::test]
async fn no_route_is_used_by_who_may_not_and_each_by_who_may() {
    let manager = Manager::init("m1").started().await;
    let root = Web::of(&manager).set_up(&manager).await;
    let table: Vec<_> = event_destinations().into_iter().chain(table()).collect();
    let tested: BTreeSet<_> = table.iter().map(|row| (row.method.to_string(), row.route.to_owned())).collect();
    assert_eq!(tested, documented(&root).await, "every route of the document is in the table, and no other");
    let names = world(&root).await;
    let callers = callers(&manager, &root).await;
    let (mut cases, mut wrong) = (0, Vec::new());
    for row in &table {
        let path = names.iter().fold(row.route.to_owned(), |path, (name, value)| path.replace(name, value));
        for caller in &callers {
            // Nobody's session is over when it is another's turn. What a token has is no session.
            let request = caller.web.request(row.method.clone(), &path).header("if-match", "\"0\"");
            let request = if let Some(body) = &row.body { request.json(body) } else { request };
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let text = response.text().await.unwrap_or_default();
            let kind =
                serde_json::from_str::<Value>(&text).ok().and_then(|body| Some(body["type"].as_str()?.to_owned()));
            let is_denied = kind.as_ref().is_some_and(|kind| DENIED.iter().chain(&DENIED_TOO).any(|word| word == kind));
            cases += 1;
            let case = || format!("{} {path} by {}: {status} {kind:?}", row.method, caller.what);
            if is_denied == caller.may(row) || status >= 500 {
                wrong.push(case());
            }
            let shows = SECRET_NAMES.iter().find(|name| text.contains(*name));
            if let Some(name) = shows.filter(|_| caller.is_foreign || caller.flaw == Flaw::NoCredential) {
                wrong.push(format!("{} shows {name}", case()));
            }
        }
    }
    eprintln!("{} routes, {} callers, {cases} cases, {} wrong", table.len(), callers.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
