//! Webhooks, as Standard Webhooks has them.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::UnixMs;
use festoon_events::delivery::{SigningSecret, Verdict, judge, signatures};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url, header};

use super::guard::Guard;
use super::message::Message;
use super::sender::{BadDestination, Sent};
use crate::cluster::unix_now;
use crate::trust;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// For all of it, the answer included.
const LIMIT: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read, so that the connection can be used again. The rest is nobody's business.
const MAX_ANSWER: usize = 64 * 1024;

/// The way to one receiver. It keeps its connections.
#[derive(Debug)]
pub(super) struct Webhook {
    client: Client,
    url: Url,
    guard: Guard,
    /// The secret, and the one before while that is good.
    secrets: Vec<SigningSecret>,
    former_until: UnixMs,
}

impl Webhook {
    /// To this URL. `secret` is that in the vault: the one of now, and behind a space the one before.
    pub(super) fn new(
        url: &str,
        guard: Guard,
        secret: &str,
        former_until: Option<UnixMs>,
    ) -> Result<Self, BadDestination> {
        let url = check_url(url, guard)?;
        let secrets =
            secret.split(' ').map(str::parse).collect::<Result<_, _>>().map_err(|_| BadDestination::Secret)?;
        let client = Client::builder()
            .tls_backend_preconfigured(trust::client_config(trust::authorities()).map_err(|_| BadDestination::Tls)?)
            .dns_resolver(Arc::new(guard))
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .timeout(LIMIT)
            .tcp_nodelay(true)
            .user_agent(concat!("Festoon/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| BadDestination::Tls)?;
        Ok(Self { client, url, guard, secrets, former_until: former_until.unwrap_or_default() })
    }

    pub(super) async fn send(&self, message: &Message) -> Sent {
        if let Err(forbidden) = check_host(&self.url, self.guard) {
            return Sent::failed(forbidden.to_string());
        }
        let now = unix_now();
        let good = if now < self.former_until { self.secrets.len() } else { 1 };
        let (id, timestamp) = (message.id(), now.0 / 1000);
        let secrets = self.secrets.get(..good).unwrap_or_default();
        let signature = signatures(secrets, &id, timestamp, message.body.as_bytes());
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(message.body.clone());
        match request.send().await {
            Ok(response) => taken(response, now).await,
            Err(error) => Sent::failed(why(&error)),
        }
    }
}

async fn taken(mut response: Response, now: UnixMs) -> Sent {
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let verdict = judge(status.as_u16(), retry_after, now.0);
    let mut read = 0;
    while let Ok(Some(part)) = response.chunk().await {
        read += part.len();
        if read > MAX_ANSWER {
            break;
        }
    }
    let said = format!("the receiver answered {status}");
    match verdict {
        Verdict::Taken => Sent::Taken { note: None },
        Verdict::Refused { retry_after_ms } => Sent::Failed { why: said, retry_after_ms },
        Verdict::Gone => Sent::Gone { why: said },
    }
}

/// Whether events may be sent there.
pub(super) fn check_url(url: &str, guard: Guard) -> Result<Url, BadDestination> {
    let url = Url::parse(url).map_err(|_| BadDestination::Url)?;
    match url.scheme() {
        "https" => {}
        "http" if guard.allows_private => {}
        "http" => return Err(BadDestination::Unencrypted("https")),
        _ => return Err(BadDestination::Url),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadDestination::Password);
    }
    check_host(&url, guard)?;
    Ok(url)
}

pub(super) fn check_host(url: &Url, guard: Guard) -> Result<(), BadDestination> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(BadDestination::Url)?;
    guard.check_host(host).map_err(|forbidden| BadDestination::Forbidden(forbidden.to_string()))
}

/// The innermost error: the outer ones say the URL, which may be as good as a password, and nothing else.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the receiver did not answer in time".to_owned();
    }
    let mut inner: &dyn Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
